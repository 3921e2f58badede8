package daemon

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctsync/internal/config"
	"ctsync/internal/rawio"
)

// TestRoutineWaitsForAWakeUp: it is done at the first one once it is due, once, and has one of its own only if there is no other.
func TestRoutineWaitsForAWakeUp(t *testing.T) {
	other := newFake(t, config.Cluster).loop
	other.mu.Lock()
	defer other.mu.Unlock()
	l, err := newLoop(other.engine)
	if err != nil {
		t.Fatal(err)
	}
	defer l.timer.Close()
	l.over = true // the engine is the other loop's
	const every = time.Hour
	l.routine, l.every, l.due = func() {}, every, rawio.Boottime().Add(every)
	if l.fired() {
		t.Error("before it is due")
	}
	l.due = rawio.Boottime()
	if !l.fired() || l.fired() {
		t.Error("not once when it is due")
	}
	if left := l.due.Sub(rawio.Boottime()); left > every || left < every/2 {
		t.Errorf("due again in %s", left)
	}
	l.due, l.fires = rawio.Boottime().Add(-every), time.Time{}
	if l.arm(); !l.fires.Equal(l.due.Add(every / 2)) {
		t.Errorf("fires %s after it was due", l.fires.Sub(l.due))
	}
}

// TestSystemdIsTold: that it is ready; then at each look that it lives, and what it is like if that is new.
func TestSystemdIsTold(t *testing.T) {
	f := newFake(t, config.Cluster)
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "1500000")
	f.watch = newWatch(f.Daemon)
	if f.watch.period != 500*time.Millisecond {
		t.Errorf("looks each %s for a watchdog of 1.5 s", f.watch.period)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.supervise(ctx) }()
	told := func() string {
		b := make([]byte, 1024)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if s := told(); s != "READY=1" {
		t.Errorf("first %q", s)
	}
	if s := told(); !strings.HasPrefix(s, "WATCHDOG=1\nSTATUS=standby, 0 peers") {
		t.Errorf("then %q", s)
	}
	f.watch.systemd <- struct{}{}
	if s := told(); s != "WATCHDOG=1" {
		t.Errorf("nothing new, and %q", s)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
