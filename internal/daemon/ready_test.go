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
	r := newReadyFile(path, filepath.Join(t.TempDir(), "forwarding"), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { r.run(); close(done) }()
	says := func(want string) {
		t.Helper()
		eventually(t, want, func() bool {
			text, _ := os.ReadFile(path)
			return string(text) == want
		})
	}
	r.put(engine.LeaveAsItIs, engine.Standby, false)
	if _, err := os.Stat(path); err == nil {
		t.Error("written before the role is known")
	}
	r.put(engine.Ready, engine.Standby, false)
	says("100\n")
	r.put(engine.LeaveAsItIs, engine.Standby, false)
	r.put(engine.NotReady, engine.Standby, false)
	says("0\n")
	for range 1000 {
		r.put(engine.Ready, engine.Standby, false)
		r.put(engine.NotReady, engine.Standby, false)
	}
	r.put(engine.Ready, engine.Standby, false)
	close(r.next)
	<-done
	says("100\n")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// A node that forwards and whom nobody follows outbids a readiness that nobody keeps up any more.
func TestReadyFileHolds(t *testing.T) {
	for _, c := range []struct {
		ready    engine.Readiness
		role     engine.Role
		followed bool
		want     string
	}{
		{engine.Ready, engine.Active, false, "200\n"},
		{engine.Ready, engine.Active, true, "100\n"},
		{engine.Ready, engine.TakingOver, false, "200\n"},
		{engine.NotReady, engine.TakingOver, false, "0\n"},
		{engine.Ready, engine.Standby, false, "100\n"},
	} {
		dir := t.TempDir()
		path, control := filepath.Join(dir, "ready"), filepath.Join(dir, "control")
		r := newReadyFile(path, forwardingPath(control), slog.New(slog.DiscardHandler))
		r.put(c.ready, c.role, c.followed)
		close(r.next)
		r.run()
		if text, _ := os.ReadFile(path); string(text) != c.want {
			t.Errorf("%s %s, followed %v: %q, want %q", c.role, c.ready, c.followed, text, c.want)
		}
	}
}

// A file that cannot be written is told once, not at every change.
func TestReadyFileThatFails(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	r := newReadyFile(filepath.Join(blocked, "ready"), filepath.Join(t.TempDir(), "forwarding"), slog.New(slog.NewTextHandler(&log, nil)))
	done := make(chan struct{})
	go func() { r.run(); close(done) }()
	for _, v := range []engine.Readiness{engine.Ready, engine.NotReady, engine.Ready} {
		r.put(v, engine.Standby, false)
		eventually(t, "the value to be taken", func() bool { return len(r.next) == 0 })
	}
	close(r.next)
	<-done
	if n := strings.Count(log.String(), "readiness file"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// A node whose daemon has ended is not ready, unless it forwards: that alone is no reason to move the addresses.
func TestNotReady(t *testing.T) {
	dir := t.TempDir()
	control, path, cfg := filepath.Join(dir, "control"), filepath.Join(dir, "ready"), filepath.Join(dir, "ctsync.conf")
	for _, c := range []struct {
		text  string
		ready engine.Readiness
		role  engine.Role
		want  string
	}{
		{plain, engine.LeaveAsItIs, engine.Standby, "0\n"}, // it ended before anything was known
		{plain, engine.Ready, engine.Standby, "0\n"},
		{plain, engine.Ready, engine.Active, "100\n"},
		{plain, engine.NotReady, engine.Standby, "0\n"},
		{plain, engine.Ready, engine.TakingOver, "100\n"},
		{plain, engine.LeaveAsItIs, engine.Active, "100\n"},
		{plain + "fly high\n", engine.Ready, engine.Standby, "0\n"}, // refused its configuration
	} {
		if err := os.WriteFile(cfg, []byte("track-file "+path+"\n"+c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newReadyFile(path, forwardingPath(control), slog.New(slog.DiscardHandler))
		r.put(c.ready, c.role, true)
		close(r.next)
		r.run() // as the daemon's end does
		if err := NotReady(cfg, control); err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(path); string(text) != c.want {
			t.Errorf("%q after %s %s: %q, want %q", c.text, c.role, c.ready, text, c.want)
		}
	}
}
