package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ctsync/engine"
)

// The file says 100 only for a node that is ready, is made with its folder, and holds the newest value at the end.
func TestReadyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "ready")
	r := newReadyFile(path, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { r.run(); close(done) }()
	says := func(want string) {
		t.Helper()
		eventually(t, want, func() bool {
			text, _ := os.ReadFile(path)
			return string(text) == want
		})
	}
	r.put(engine.LeaveAsItIs)
	if _, err := os.Stat(path); err == nil {
		t.Error("written before the role is known")
	}
	r.put(engine.Ready)
	says("100\n")
	r.put(engine.LeaveAsItIs)
	r.put(engine.NotReady)
	says("0\n")
	for range 1000 {
		r.put(engine.Ready)
		r.put(engine.NotReady)
	}
	r.put(engine.Ready)
	close(r.next)
	<-done
	says("100\n")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// A file that cannot be written is told once, not at every change.
func TestReadyFileThatFails(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	r := newReadyFile(filepath.Join(blocked, "ready"), slog.New(slog.NewTextHandler(&log, nil)))
	done := make(chan struct{})
	go func() { r.run(); close(done) }()
	for _, v := range []engine.Readiness{engine.Ready, engine.NotReady, engine.Ready} {
		r.put(v)
		eventually(t, "the value to be taken", func() bool { return len(r.next) == 0 })
	}
	close(r.next)
	<-done
	if n := strings.Count(log.String(), "readiness file"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}
