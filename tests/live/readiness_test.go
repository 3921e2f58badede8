package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// A node that returns with an empty table, preferred by keepalived, must not take the addresses before it has every
// connection; the only node left must take them whatever it has.

// rebooted is a pair whose preferred node has lost its power under traffic and is back, empty, while the sync link
// carries nothing. further is how many connections there are besides.
func rebooted(t *testing.T, further int, kind lab.Kind) (*lab.Lab, *lab.Traffic) {
	t.Helper()
	l := run(t, lab.Options{Daemon: kind, Advert: 300 * time.Millisecond})
	if err := l.R1.AddFlows(further); err != nil {
		t.Fatal(err)
	}
	traffic := talk(t, l, small)
	bothSynced(t, l, 20*time.Second)
	try(t, traffic, l.Cycle()[0])
	syncLoses(t, l, 100)
	if err := l.PowerOn(l.R1); err != nil {
		t.Fatal(err)
	}
	return l, traffic
}

func syncLoses(t *testing.T, l *lab.Lab, percent int) {
	t.Helper()
	for _, r := range l.Routers() {
		if err := r.Lose(percent); err != nil {
			t.Fatal(err)
		}
	}
}

// waits fails the test if r1 takes the addresses within some seconds.
func waits(t *testing.T, l *lab.Lab) {
	t.Helper()
	for end := time.Now().Add(time.Duration(pick(3, 20)) * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if l.R1.Holds() {
			t.Fatalf("r1, empty and without a sync link, has taken the addresses:%s", l.R1.Keepalived.Tail(20))
		}
	}
	if !l.R2.Holds() {
		t.Error("r2 has given the addresses away")
	}
}

// returns heals the sync link and fails the test unless r1 has every connection when it has the first address.
func returns(t *testing.T, l *lab.Lab, traffic *lab.Traffic, further int) {
	t.Helper()
	syncLoses(t, l, 0)
	await(t, "r1 to take the addresses", 15*time.Second, l.R1.HoldsAny)
	if has := count(t, l.R1); has < further {
		t.Errorf("r1 took an address with %d connections of %d", has, further)
	}
	if err := l.WaitMaster(l.R1, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R1, "active", 5*time.Second, func(s status) bool { return s.Role == "active" })
	bothSynced(t, l, 10*time.Second)
	check(t, "the return of a node that was empty", traffic)
	equal(t, l, "the return of a node that was empty")
}

func TestRebootedNodeWaits(t *testing.T) {
	t.Parallel()
	further := pick(5000, 100000)
	l, traffic := rebooted(t, further, ctsync())
	waits(t, l)
	if text, err := os.ReadFile(filepath.Join(l.R1.Folder, "ready")); err == nil && strings.TrimSpace(string(text)) != "0" {
		t.Errorf("the readiness file of r1 says %s", text)
	}
	returns(t, l, traffic, further)
}

func TestOnlyNodeLeft(t *testing.T) {
	t.Parallel()
	l, traffic := rebooted(t, 0, ctsync())
	time.Sleep(time.Second)
	if err := l.PowerCut(l.R2); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := l.WaitMaster(l.R1, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	t.Logf("an empty node without a peer has the addresses after %s", time.Since(began).Round(time.Millisecond))
	awaitState(t, l.R1, "active", 3*time.Second, func(s status) bool { return s.Role == "active" })
	traffic.Stop() // all of it is lost; what begins now is not
	talk(t, l, small)
}

// A preferred node whose daemon was stopped while it forwarded keeps its readiness, and so the addresses. When a link takes
// them from it and comes back, its connections are old: the other one, which nobody follows, keeps what it has until the daemon
// is there again.
func TestStaleReadiness(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{Advert: 300 * time.Millisecond})
	traffic := talk(t, l, small)
	bothSynced(t, l, 20*time.Second)
	if err := l.R1.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	staysFor(t, l.R1, 2*time.Second)
	check(t, "the active node's daemon was stopped", traffic)
	if err := l.CutLink(l.R1, lab.WAN); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R2, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	check(t, "a link was cut then", traffic)
	if err := traffic.Renew(); err != nil { // connections that r1 does not know
		t.Fatal(err)
	}
	if err := l.JoinLink(l.R1, lab.WAN); err != nil {
		t.Fatal(err)
	}
	staysFor(t, l.R2, time.Duration(pick(4, 20))*time.Second)
	if err := l.R1.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R1, 15*time.Second); err != nil {
		t.Fatal(err)
	}
	check(t, "the daemon was started", traffic)
	equal(t, l, "the daemon was started")
}

// staysFor fails the test if a router gives an address away within a time.
func staysFor(t *testing.T, r *lab.Router, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !r.Holds() {
			t.Fatalf("%s has given the addresses away:%s", r.Name, r.Keepalived.Tail(20))
		}
	}
}

// startupScript has keepalived wait for ctsync before it begins, and follow nothing afterwards.
func startupScript() lab.Kind {
	return hook(ctsync(), func(h *lab.Hooks) {
		h.TrackFile = ""
		h.Global = []string{`startup_script "WAIT --timeout 12s"`, "startup_script_timeout 13"}
	})
}

// The same by `ctsync wait-synced` as keepalived's startup_script. It bounds the wait, so a lone node is held back
// for as long; two nodes that start together are not.
func TestStartupScript(t *testing.T) {
	t.Parallel()
	further := pick(5000, 100000)
	l, traffic := rebooted(t, further, startupScript())
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if l.R1.Holds() {
			t.Fatalf("r1 has taken the addresses:%s", l.R1.Keepalived.Tail(20))
		}
	}
	returns(t, l, traffic, further)
	if !long {
		return
	}
	try(t, traffic, l.Cycle()[0])
	if err := l.PowerOn(l.R1); err != nil {
		t.Fatal(err)
	}
	if err := l.PowerCut(l.R2); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R1, 15*time.Second); err != nil {
		t.Error(err)
	}
}
