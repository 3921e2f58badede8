package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"ctsync/engine"
)

// readyFile is what keepalived's track_file reads: 100 when this node may take over, else 0. A missing file or
// folder reads as 0 there, so the polarity is fail-safe. It is written in a goroutine of its own, the newest
// value only.
type readyFile struct {
	path string
	log  *slog.Logger
	next chan engine.Readiness
	last engine.Readiness // as put, by the loop
}

func newReadyFile(path string, log *slog.Logger) *readyFile {
	return &readyFile{path: path, log: log, next: make(chan engine.Readiness, 1)}
}

// put asks for a value to be written; the loop calls it.
func (r *readyFile) put(v engine.Readiness) {
	if v == r.last || v == engine.LeaveAsItIs {
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

// write replaces the file at once: keepalived must never read half a number.
func (r *readyFile) write(v engine.Readiness) error {
	if r.path == "" {
		return nil
	}
	text := "0\n"
	if v == engine.Ready {
		text = "100\n"
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	tmp := r.path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if err := os.Rename(tmp, r.path); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}
