package notify_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ctsync/notify"
	"ctsync/notify/notifytest"
	"ctsync/vrrp"
)

// watch is a tracker of the group VG, fed by real drivers, as a daemon would.
type watch struct {
	t         *testing.T
	tr        *vrrp.Tracker
	heard     chan vrrp.Notice
	decisions chan vrrp.Decision

	mu      sync.Mutex
	notices []string
	notes   []string
	last    time.Time // of the last decision
}

func newWatch(t *testing.T, members ...string) *watch {
	w := &watch{
		t: t, tr: vrrp.NewTracker("VG", members),
		heard: make(chan vrrp.Notice, 4096), decisions: make(chan vrrp.Decision, 4096),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.loop(ctx) }()
	t.Cleanup(func() { cancel(); <-done; w.explain() })
	return w
}

func (w *watch) explain() {
	if w.t.Failed() {
		w.t.Logf("the last notices:\n%s\nnotes:\n%s", strings.Join(w.notices[max(0, len(w.notices)-50):], "\n"), strings.Join(w.notes, "\n"))
	}
}

func (w *watch) loop(ctx context.Context) {
	began := time.Now()
	for {
		var due <-chan time.Time
		if d := w.tr.Deadline(); !d.IsZero() {
			due = time.After(time.Until(d))
		}
		select {
		case <-ctx.Done():
			return
		case n := <-w.heard:
			now := time.Now()
			w.took(fmt.Sprintf("%6d %s", now.Sub(began).Milliseconds(), show(n)), w.tr.Notice(now, n))
		case <-due:
			w.took("", w.tr.Tick(time.Now()))
		}
	}
}

func show(n vrrp.Notice) string {
	word := n.Event
	if word == "" {
		word = n.State.String()
	}
	return fmt.Sprintf("%s %s %q %s %d", n.Source, [...]string{"GROUP", "INSTANCE", "DAEMON"}[n.Kind], n.Name, word, n.Priority)
}

func (w *watch) took(notice string, d vrrp.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if notice != "" {
		w.notices = append(w.notices, notice)
	}
	if d.Disagreement != "" {
		w.notes = append(w.notes, d.Disagreement)
	}
	if d.Changed {
		w.last = time.Now()
		w.decisions <- d
	}
}

// driver is what FIFO, DBus and Liveness have in common.
type driver interface {
	Run(context.Context, func(vrrp.Notice)) error
}

// run runs the driver until the test ends, or stop is called.
func (w *watch) run(d driver) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.Run(ctx, func(n vrrp.Notice) { w.heard <- n }); err != nil {
			w.t.Errorf("%T: %v", d, err)
		}
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return stop
}

// fifo opens the FIFO and runs it.
func (w *watch) fifo(path string) (f *notify.FIFO, stop func()) {
	w.t.Helper()
	f, err := notify.OpenFIFO(path)
	if err != nil {
		w.t.Fatal(err)
	}
	f.OnError = func(err error) { w.t.Log(err) }
	end := w.run(f)
	stop = func() { end(); f.Close() }
	w.t.Cleanup(stop)
	return f, stop
}

func (w *watch) bus(b *notifytest.Bus) *notify.DBus {
	d := &notify.DBus{Address: b.Address, OnError: func(err error) { w.t.Log(err) }}
	w.run(d)
	return d
}

func (w *watch) life(k *notifytest.Keepalived) {
	w.run(&notify.Liveness{PIDFile: k.PIDFile, Poll: 20 * time.Millisecond})
}

// want waits for these decisions, "STATE source", in this order and without others between them.
func (w *watch) want(decisions ...string) {
	w.t.Helper()
	for _, want := range decisions {
		d := w.next()
		if got := d.State.String() + " " + d.Source.String(); got != want {
			w.t.Fatalf("got %s (%s), want %s", got, d.Reason, want)
		}
	}
}

// next waits for a decision.
func (w *watch) next() (d vrrp.Decision) {
	w.t.Helper()
	select {
	case d = <-w.decisions:
	case <-time.After(10 * time.Second):
		w.t.Fatal("no decision in 10 s")
	}
	return d
}

// quiet wants no decision for d.
func (w *watch) quiet(d time.Duration) {
	w.t.Helper()
	select {
	case d := <-w.decisions:
		w.t.Fatalf("got %s by %s (%s), want nothing", d.State, d.Source, d.Reason)
	case <-time.After(d):
	}
}

// hears waits for a notice that contains the text.
func (w *watch) hears(text string) {
	w.t.Helper()
	notifytest.Eventually(w.t, fmt.Sprintf("%q is heard", text), func() bool { return w.count(text) > 0 })
}

// count is how many notices contain the text.
func (w *watch) count(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(strings.Join(w.notices, "\n"), text)
}

func (w *watch) noted(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(strings.Join(w.notes, "\n"), text)
}

func fifoPath(t *testing.T) string { return filepath.Join(t.TempDir(), "notify.fifo") }
