package live

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// reconfigure replaces words in the configuration of r's daemon, which reads it again by itself.
func reconfigure(t *testing.T, r *lab.Router, old, words string) {
	t.Helper()
	path := filepath.Join(r.Folder, "ctsync.conf")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s has no %q", path, old)
	}
	write(t, path, bytes.Replace(text, []byte(old), []byte(words), 1))
}

// Young connections stay on their firewall until they are old enough, or until the setting is shorter.
func TestSyncAfter(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "sync-after 4")
	bothSynced(t, l, 10*time.Second)
	began := time.Now()
	if err := l.R1.AddFlows(300); err != nil {
		t.Fatal(err)
	}
	has := func(flows int) {
		t.Helper()
		awaitState(t, l.R2, fmt.Sprintf("%d flows", flows), 8*time.Second, func(s status) bool { return s.External.Active == flows })
	}
	if s := state(t, l.R2); s.External.Active != 0 && time.Since(began) < 4*time.Second {
		t.Errorf("%d flows at once", s.External.Active)
	}
	has(300)
	if after := time.Since(began); after < 4*time.Second {
		t.Errorf("after %v", after)
	}
	reconfigure(t, l.R1, "sync-after 4", "sync-after 3600")
	await(t, "the new setting", 5*time.Second, func() bool { return bytes.Contains([]byte(said(l.R1, began)), []byte("sync-after")) })
	if _, err := l.R1.Ask("resync"); err != nil { // what a comparison shows before its event is read has no age, and is told
		t.Fatal(err)
	}
	if err := l.R1.AddFlowsFrom(300, 100); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	has(300)
	awaitState(t, l.R1, "100 young ones", time.Second, func(s status) bool { return s.Young == 100 && s.Internal.Active == 300 })
	if out, _ := ask(t, l.R1, "status"); !strings.Contains(out, "300 flows, and 100 that are younger than sync-after\n") {
		t.Errorf("the status does not tell of those that wait:\n%s", out)
	}
	reconfigure(t, l.R1, "sync-after 3600", "sync-after 0")
	has(400)
	awaitState(t, l.R1, "none that is young", time.Second, func(s status) bool { return s.Young == 0 })
	equal(t, l, "without waiting")
}

// Who is stopped tells of the young connections first, however many they are, and over a link that loses much.
func TestStoppedWithYoungConnections(t *testing.T) {
	t.Parallel()
	flows := pick(20000, 200_000)
	room(t, flows+1000)
	l := run(t, lab.Options{}, "sync-after 3600")
	bothSynced(t, l, 10*time.Second)
	if err := l.R1.AddFlows(flows); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R1, "young ones", 20*time.Second, func(s status) bool { return s.Young == flows })
	if err := l.R2.Lose(10); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := l.R1.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %s", time.Since(began).Round(time.Millisecond))
	awaitState(t, l.R2, "all of them", 10*time.Second, func(s status) bool {
		return s.External.Active == flows && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
	})
	if n := lists(t, l.R2, "src=10.11."); n != flows {
		t.Errorf("the standby's kernel has %d connections of %d", n, flows)
	}
}

// A changed filter is a diff: only what it refuses now goes over the link, and leaves the standby's kernel after
// purge-timeout; and so does what it accepts again.
func TestChangedFilter(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "accept-protocol tcp,udp", "purge-timeout 1")
	began := received(t, l.R2)
	if err := l.R1.AddFlows(pick(5000, 50000)); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	all := received(t, l.R2) - began
	const streams = 20
	for i := range streams {
		inside(t, l.R1, fmt.Sprintf("conntrack -I -p udp -s 10.10.0.71 -d 192.0.2.7 --sport %d --dport 8 -t 600 -u SEEN_REPLY,ASSURED", 1000+i))
	}
	settled(t, l)
	change := func(old, words string, want int) {
		t.Helper()
		before := received(t, l.R2)
		for _, r := range l.Routers() {
			reconfigure(t, r, old, words)
		}
		took := await(t, fmt.Sprintf("%d streams on the standby", want), 15*time.Second, func() bool { return lists(t, l.R2, "src=10.10.0.71") == want })
		sent := received(t, l.R2) - before
		t.Logf("%s: %d bytes, heartbeats included, after %s; all had been %d bytes", words, sent, took.Round(time.Millisecond), all)
		if sent > all/10 {
			t.Errorf("%s: %d bytes for %d streams, and %d for all connections", words, sent, streams, all)
		}
	}
	change("accept-protocol tcp,udp", "accept-protocol tcp", 0)
	if n := lists(t, l.R1, "src=10.10.0.71"); n != streams {
		t.Errorf("the active node has %d streams left", n)
	}
	change("accept-protocol tcp", "accept-protocol tcp,udp", streams)
	settled(t, l)
	same(t, l, "a filter was changed")
}

// Connections are on the standby in the states that are accepted, and in no other.
func TestAcceptTCPState(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "accept-tcp-state established")
	bothSynced(t, l, 10*time.Second)
	do := func(verb, client, state string) {
		t.Helper()
		inside(t, l.R1, fmt.Sprintf("conntrack %s -p tcp -s %s -d 192.0.2.7 --sport 7 --dport 8 --state %s -t 600", verb, client, state))
	}
	standby := func(one, two int) {
		t.Helper()
		await(t, fmt.Sprintf("%d and %d", one, two), 3*time.Second, func() bool {
			return lists(t, l.R2, "src=10.10.0.71 dst=192") == one && lists(t, l.R2, "src=10.10.0.72 dst=192") == two
		})
	}
	do("-I", "10.10.0.71", "SYN_SENT")
	do("-I", "10.10.0.72", "ESTABLISHED")
	standby(0, 1)
	do("-U", "10.10.0.71", "ESTABLISHED")
	standby(1, 1)
	do("-U", "10.10.0.72", "TIME_WAIT")
	standby(1, 0)
	reconfigure(t, l.R1, "accept-tcp-state established", "accept-tcp-state all")
	standby(1, 1)
}

// What is ignored may be of IPv6, and a single address.
func TestIgnoreIPv6(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "ignore-address 2001:db8:7::/48", "ignore-address 2001:db8:8::1")
	bothSynced(t, l, 10*time.Second)
	for _, client := range []string{"2001:db8:7::1", "2001:db8:8::1", "2001:db8:8::2"} {
		inside(t, l.R1, "conntrack -I -p tcp -s "+client+" -d 2001:db8:9::7 --sport 7 --dport 8 --state ESTABLISHED -t 600")
	}
	awaitState(t, l.R2, "the one", 3*time.Second, func(s status) bool { return s.External.Active == 1 })
	if out := inside(t, l.R2, "conntrack -L -f ipv6"); !bytes.Contains([]byte(out), []byte("2001:db8:8::2")) {
		t.Errorf("the standby has %s", out)
	}
}
