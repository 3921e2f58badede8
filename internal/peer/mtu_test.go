package peer

import (
	"fmt"
	"strings"
	"testing"
)

// TestPayloadLimit follows the smallest MTU, and never fragments.
func TestPayloadLimit(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 2)
	a := startNode(t, nsA, multicast(DefaultGroup, "eth1", "eth2"))
	b := startNode(t, nsB, multicast(DefaultGroup, "eth1", "eth2"))
	a.up()
	b.up()
	if r := a.ask("report"); r.Limit != 1452 {
		t.Errorf("limit %d of MTU 1500, want 1452", r.Limit)
	}
	a.ip("link", "set", "eth2", "mtu", "1000")
	a.wait("limit 972", func(r report) bool { return r.Limit == 972 && r.Stats[1].MTU == 1000 })
	r := a.ask("send 1 1200 -")
	if r.Stats[0].SendErrors != 0 || r.Stats[1].SendErrors != 1 || !strings.Contains(r.Stats[1].State, "larger") {
		t.Errorf("1200 bytes over MTU 1000: %+v", r.Stats)
	}
	r = a.ask("send 1 972 -")
	if r.Stats[1].SendErrors != 1 || r.Stats[1].State != stateRunning {
		t.Errorf("972 bytes over MTU 1000: %+v", r.Stats[1])
	}
	b.wait("2 and 1", func(r report) bool { return r.Got[0] == 2 && r.Got[1] == 1 })
	a.ip("link", "set", "eth2", "mtu", "9000")
	a.wait("limit 1452", func(r report) bool { return r.Limit == 1452 })
}

// TestPathMTU: a router between the peers carries less than the interface.
func TestPathMTU(t *testing.T) {
	t.Parallel()
	nsA, router := pair(t, 1)
	nsB, _ := pair(t, 0)
	for _, ns := range []string{nsA, nsB, router} { // whose late news would make a node look at its host
		run(t, "ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
	}
	run(t, "ip", "-n", router, "link", "add", "eth9", "mtu", "1200", "type", "veth", "peer", "name", "eth1", "netns", nsB)
	run(t, "ip", "-n", router, "link", "set", "eth9", "up")
	run(t, "ip", "-n", router, "addr", "add", "10.9.9.1/24", "dev", "eth9")
	run(t, "ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	run(t, "ip", "-n", nsB, "link", "set", "eth1", "up")
	run(t, "ip", "-n", nsB, "addr", "add", "10.9.9.2/24", "dev", "eth1")
	run(t, "ip", "-n", nsB, "route", "add", "default", "via", "10.9.9.1")
	run(t, "ip", "-n", nsA, "route", "add", "default", "via", "10.9.1.2")
	a := startNode(t, nsA, Config{Links: []Link{unicast("eth1", "10.9.9.2")}})
	b := startNode(t, nsB, Config{Links: []Link{unicast("eth1", "10.9.1.1")}})
	a.up()
	b.up()
	a.wait("limit 1172", func(r report) bool {
		return a.ask(fmt.Sprintf("send 1 %d -", r.Limit)).Limit == 1172
	})
	got := b.ask("report").Got[0]
	a.ask("send 1 1172 -")
	b.wait("what fits arrives", func(r report) bool { return r.Got[0] > got })
}
