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

// readyFile is what keepalived's track_file reads: 100 when this node may take over, else 0. A missing file or
// folder reads as 0 there, so the polarity is fail-safe. It is written in a goroutine of its own, the newest
// value only.
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
}

func newReadyFile(path, mark string, log *slog.Logger) *readyFile {
	return &readyFile{path: path, mark: mark, log: log, next: make(chan stand, 1)}
}

// put asks for a value to be written; the loop calls it. As long as nothing is known the files are left as they are.
func (r *readyFile) put(ready engine.Readiness, role engine.Role) {
	v := stand{ready, role != engine.Standby}
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
		return errors.Join(os.WriteFile(r.mark, nil, 0o644), writeReady(r.path, v.ready))
	}
	return errors.Join(writeReady(r.path, v.ready), removeMark(r.mark))
}

// writeReady replaces the file at once: keepalived must never read half a number.
func writeReady(path string, v engine.Readiness) error {
	text := "0\n"
	switch {
	case path == "" || v == engine.LeaveAsItIs:
		return nil
	case v == engine.Ready:
		text = "100\n"
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
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
// do not get what begins from now on, so that nothing would be won by having keepalived move the addresses.
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
	return writeReady(cfg.TrackFile, engine.NotReady)
}
