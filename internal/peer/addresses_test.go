package peer

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWatchAddresses(t *testing.T) {
	t.Parallel()
	nsA, _ := pair(t, 1)
	a := startNode(t, nsA, multicast(DefaultGroup, "eth1"))
	has := func(s string) func(report) bool {
		return func(r report) bool { return contains(r.Watched, netip.MustParseAddr(s)) }
	}
	lacks := func(s string) func(report) bool {
		return func(r report) bool { return !contains(r.Watched, netip.MustParseAddr(s)) }
	}
	a.wait("the list at the start", has("10.9.1.1"))
	a.wait("loopback", has("127.0.0.1"))
	a.ip("addr", "add", "192.0.2.1/32", "dev", "eth1")
	a.wait("a virtual address", has("192.0.2.1"))
	began := time.Now()
	a.ip("addr", "del", "192.0.2.1/32", "dev", "eth1")
	r := a.wait("its end", lacks("192.0.2.1"))
	if d := r.WatchedAt[len(r.WatchedAt)-1].Sub(began); d > 100*time.Millisecond {
		t.Errorf("told %s after the command began", d)
	}
	a.ip("link", "set", "eth1", "down")
	a.wait("addresses of a link that is down are not usable", lacks("10.9.1.1"))
	a.ip("link", "set", "eth1", "up")
	a.wait("usable again", has("10.9.1.1"))
}

// TestWatchDelay: a removal is told at once. The bound is loose for a busy machine.
func TestWatchDelay(t *testing.T) {
	t.Parallel()
	nsA, _ := pair(t, 1)
	a := startNode(t, nsA, multicast(DefaultGroup, "eth1"))
	a.up()
	delays := a.ask("flap 50").Delays
	slices.Sort(delays)
	if len(delays) != 50 || delays[25] > 30*time.Millisecond {
		t.Errorf("delays %v", delays)
	}
	t.Logf("median %s, worst %s", delays[25], delays[49])
}

// TestWatchManyAddresses adds more at once than the subscription's buffer holds notices for.
func TestWatchManyAddresses(t *testing.T) {
	t.Parallel()
	nsA, _ := pair(t, 1)
	a := startNode(t, nsA, multicast(DefaultGroup, "eth1"))
	const many = 3000
	var script strings.Builder
	for i := range many {
		fmt.Fprintf(&script, "addr add 172.16.%d.%d/32 dev eth1\n", i/250, i%250+1)
	}
	a.wait("the list at the start", func(r report) bool { return len(r.Watched) > 0 })
	a.asleep(a, func() {
		cmd := exec.Command("ip", "-n", nsA, "-batch", "-")
		cmd.Stdin = strings.NewReader(script.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	began := time.Now()
	r := a.wait("all of them", func(r report) bool { return len(r.Watched) >= many })
	a.ip("addr", "add", "192.0.2.1/32", "dev", "eth1")
	a.wait("one more, after the overrun", func(r report) bool { return contains(r.Watched, netip.MustParseAddr("192.0.2.1")) })
	t.Logf("%d deliveries, the last %s after the last change", len(r.WatchedAt), r.WatchedAt[len(r.WatchedAt)-1].Sub(began))
}
