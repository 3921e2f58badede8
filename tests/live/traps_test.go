package live

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// Connections of before the daemon emit no events where nf_conntrack_events was off: they are replicated all the same,
// and their end is found when the table is compared.
func TestSilentFlows(t *testing.T) {
	t.Parallel()
	const flows = 500
	l := prepared(t, lab.Options{Daemon: ctsync()}, func(r *lab.Router) {
		inside(t, r, "sysctl -qw net.netfilter.nf_conntrack_events=0")
		if r.Name == "r1" {
			if err := r.AddFlows(flows); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, r := range []*lab.Router{l.R2, l.R1} { // begin anew: at the start either may have been active first, and given the flows back
		r.Daemon.Kill9()
		if err := r.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	bothSynced(t, l, 10*time.Second)
	has := func(n int) {
		t.Helper()
		awaitState(t, l.R2, "the flows", 5*time.Second, func(s status) bool { return s.External.Active == n })
	}
	has(flows)
	if s := state(t, l.R1); s.Kernel.Silent != flows {
		t.Errorf("%d silent flows", s.Kernel.Silent)
	}
	inside(t, l.R1, "conntrack -F")
	time.Sleep(time.Second)
	has(flows) // nobody has said a word
	ask(t, l.R1, "resync")
	has(0)
	ask(t, l.R1, "resync") // as the timer would
	if s := state(t, l.R1); s.Kernel.Silent != 0 {
		t.Errorf("%d silent flows", s.Kernel.Silent)
	}
}

// The kernel drops events because nobody reads them for a second, with the smallest of buffers: that is counted and said,
// and both kernels are equal afterwards. The long form makes 400,000 events.
func TestOverrun(t *testing.T) {
	t.Parallel()
	flows, rounds := pick(3000, 20000), pick(4, 10)
	l := run(t, lab.Options{}, "event-listen-queue-size 0")
	bothSynced(t, l, 10*time.Second)
	if err := l.R1.AddFlows(500); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R2, "500 flows", 5*time.Second, func(s status) bool { return s.External.Active == 500 })
	daemon := l.R1.Daemon.Process().Pid()
	if err := syscall.Kill(daemon, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	inside(t, l.R1, "conntrack -F")
	for range rounds {
		if err := l.R1.AddFlows(flows); err != nil {
			t.Fatal(err)
		}
		inside(t, l.R1, "conntrack -F")
	}
	if err := l.R1.AddFlows(flows); err != nil {
		t.Fatal(err)
	}
	made := time.Since(began)
	time.Sleep(max(0, time.Second-made))
	if err := syscall.Kill(daemon, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	took := await(t, "the flows at the standby", 30*time.Second, func() bool {
		s := state(t, l.R2)
		return s.External.Active == flows && s.Code == 0
	})
	s := state(t, l.R1)
	t.Logf("%d events in %v, of which %d were read; equal after %v", (2*rounds+1)*flows, made.Round(time.Millisecond), s.Kernel.Events, took.Round(time.Millisecond))
	if s.Kernel.Overruns == 0 {
		t.Error("no overrun was counted")
	}
	equal(t, l, "after the overrun")
}

// A standby whose table is full says so, is not ready, and makes up for it when there is room.
func TestStandbysTableFull(t *testing.T) {
	l := run(t, lab.Options{Daemon: each(func(r *lab.Router) []string {
		if r.Name == "r2" {
			return []string{"ignore-address 10.11.0.0/16"} // what fills its table is its own
		}
		return nil
	})})
	bothSynced(t, l, 10*time.Second)
	max := state(t, l.R2).Kernel.TableMax
	if max > 300000 {
		t.Skipf("nf_conntrack_max is %d: not filled", max)
	}
	if err := l.R2.AddFlowsFrom(1_000_000, max*96/100); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R2, "a table that is full", 20*time.Second, func(s status) bool { return s.Kernel.TableCount > max*95/100 })
	const flows = 200
	if err := l.R1.AddFlows(flows); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R2, "degraded", 10*time.Second, func(s status) bool {
		return s.Code == 1 && strings.Contains(s.Why, "raise net.netfilter.nf_conntrack_max") && s.External.Active == flows && s.Ready != nil && !*s.Ready
	})
	if said(l.R2, time.Time{}) == "" || !strings.Contains(said(l.R2, time.Time{}), "the kernel's conntrack table is full") {
		t.Error("the journal does not say that the table is full")
	}
	inside(t, l.R2, "conntrack -F")
	took := await(t, "the flows in the standby's kernel", 40*time.Second, func() bool {
		s := state(t, l.R2)
		return s.Code == 0 && s.Ready != nil && *s.Ready && lists(t, l.R2, "src=10.11.") == flows
	})
	t.Logf("%d of %d entries; made up for %v after there was room", max*96/100, max, took.Round(time.Millisecond))
}
