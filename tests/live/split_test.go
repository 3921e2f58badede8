package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// Two nodes that are active at once are told, and when one of them steps back it has lost nothing, and neither has the
// other: keepalived on the one that stays says nothing at all.

// The nodes hear each other's adverts no more, then again. The sync link stays.
func TestPartition(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, usual)
	bothSynced(t, l, 10*time.Second)
	for _, r := range l.Routers() {
		inside(t, r, "nft insert rule inet filter input meta l4proto 112 drop")
	}
	awaitState(t, l.R2, "active as well", 5*time.Second, func(s status) bool { return s.Role == "active" })
	for _, r := range l.Routers() {
		await(t, r.Name+" to tell", 3*time.Second, func() bool {
			return strings.Contains(said(r, time.Time{}), "two nodes are active")
		})
	}
	time.Sleep(2 * time.Second)
	for _, r := range l.Routers() {
		handle := inside(t, r, "nft -a list chain inet filter input")
		for line := range strings.Lines(handle) {
			if strings.Contains(line, "l4proto") && strings.Contains(line, "drop # handle") {
				inside(t, r, "nft delete rule inet filter input handle "+line[strings.LastIndex(line, " ")+1:])
			}
		}
	}
	healed(t, l, traffic)
}

// The master's keepalived is stopped for a while and goes on as if nothing had been.
func TestFreeze(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, usual)
	bothSynced(t, l, 10*time.Second)
	text, err := os.ReadFile(filepath.Join(l.R1.Folder, "vrrp.pid"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R2, "active as well", 5*time.Second, func(s status) bool { return s.Role == "active" })
	time.Sleep(2 * time.Second)
	if err := traffic.Renew(); err != nil { // what begins now only r2 saw begin
		t.Fatal(err)
	}
	if err := syscall.Kill(child, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	healed(t, l, traffic)
}

// healed waits until r1 alone is active again, and asks what became of everything.
func healed(t *testing.T, l *lab.Lab, traffic *lab.Traffic) {
	t.Helper()
	if err := l.WaitMaster(l.R1, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R2, "standby again", 5*time.Second, func(s status) bool { return s.Role == "standby" })
	bothSynced(t, l, 10*time.Second)
	// Of a UDP conversation that met both nodes each has a translation of its own.
	if r := lab.Judge("after r1 was alone again", traffic.Check(6*time.Second)); r.Lost() > r.Count(lab.Moved, lab.UDP) {
		alive(t, r.Fault, r)
	}
	if err := traffic.Renew(); err != nil {
		t.Fatal(err)
	}
	try(t, traffic, l.Cycle()[2])
	try(t, traffic, l.Cycle()[3])
	if s := state(t, l.R1); s.Role != "active" {
		t.Errorf("r1 is %s", fmt.Sprint(s.Role))
	}
}
