package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"ctsync/engine"
	"ctsync/internal/config"
)

// readyFile is what keepalived's track_file adds to the priority. A missing file or folder reads as 0 there, so the
// polarity is fail-safe.
//
//	0    this node lacks flows: another one leads, if there is one
//	100  it has every flow, or forwards them
//	200  it forwards them, and no peer has all of them: nobody takes over from it by being preferred
//
// The last one is for a node whose file still says 100 though nobody keeps it up: its daemon was stopped while it forwarded, or it
// stood still as a whole. When it has lost the addresses since and comes back, its connections are old.
//
// The file is written in a goroutine of its own, the newest value only.
//
// Beside the control socket is the mark of a node that forwards, for NotReady.
type readyFile struct {
	path, mark string
	log        *slog.Logger
	next       chan stand
	last       stand // as put, by the loop
}

// stand is what the files say.
type stand struct {
	ready    engine.Readiness
	forwards bool
	alone    bool // it forwards, and no peer has everything
}

// text is what the readiness file says.
func (s stand) text() string {
	switch {
	case s.ready != engine.Ready:
		return "0\n"
	case s.alone:
		return "200\n"
	}
	return "100\n"
}

func newReadyFile(path, mark string, log *slog.Logger) *readyFile {
	return &readyFile{path: path, mark: mark, log: log, next: make(chan stand, 1)}
}

// put asks for a value to be written; the loop calls it. followed says that a peer has every flow. As long as nothing is known the
// files are left as they are.
func (r *readyFile) put(ready engine.Readiness, role engine.Role, followed bool) {
	forwards := role != engine.Standby
	v := stand{ready, forwards, forwards && !followed}
	if ready == engine.LeaveAsItIs {
		v.ready = r.last.ready
	}
	if v == r.last || (ready == engine.LeaveAsItIs && !v.forwards) {
		return
	}
	r.last = v
	select {
	case <-r.next: // superseded
	default:
	}
	r.next <- v
}

// run writes until next is closed.
func (r *readyFile) run() {
	failing := false
	for v := range r.next {
		err := r.write(v)
		if err != nil && !failing {
			r.log.Error("readiness file", "error", err)
		}
		failing = err != nil
	}
}

// write writes both; the mark is there before the readiness is, and goes after it.
func (r *readyFile) write(v stand) error {
	if v.forwards {
		return errors.Join(os.WriteFile(r.mark, nil, 0o644), writeReady(r.path, v))
	}
	return errors.Join(writeReady(r.path, v), removeMark(r.mark))
}

// writeReady replaces the file at once: keepalived must never read half a number.
func writeReady(path string, v stand) error {
	if path == "" || v.ready == engine.LeaveAsItIs {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(v.text()), 0o644); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}

// forwardingPath is the mark of the daemon with this control socket.
func forwardingPath(control string) string { return control + ".forwarding" }

func removeMark(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}

// NotReady writes the readiness of a node whose daemon is not there any more: it crashed, was killed over a hang, or was refused
// its configuration, and its copies age. A node that forwarded is left as it is: its kernel has every connection and the others
// do not get what begins from now on, so that nothing would be won by having keepalived move the addresses. When it loses them, the
// one that has them then does not give them back before this node's daemon is there again (readyFile).
func NotReady(configPath, controlPath string) error {
	cfg, _, err := config.Load(configPath)
	if err != nil {
		cfg = config.Default()
	}
	if controlPath == "" {
		controlPath = cfg.Control
	}
	if _, err := os.Stat(forwardingPath(controlPath)); err == nil {
		return nil
	}
	return writeReady(cfg.TrackFile, stand{ready: engine.NotReady})
}
