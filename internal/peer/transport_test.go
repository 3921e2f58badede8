package peer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var group6 = netip.MustParseAddr("ff12::9166")

func multicast(group netip.Addr, interfaces ...string) Config {
	c := Config{Group: group, SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20}
	for _, name := range interfaces {
		c.Links = append(c.Links, Link{Interface: name})
	}
	return c
}

func unicast(name, peer string) Link {
	return Link{Interface: name, Peer: netip.MustParseAddr(peer)}
}

// TestDelivery sends both ways over every kind of link.
func TestDelivery(t *testing.T) {
	listen := []netip.Addr{netip.MustParseAddr("10.9.1.1"), netip.MustParseAddr("10.9.1.2")}
	for name, c := range map[string]struct {
		a, b   Config
		source string
	}{
		"multicast v4": {multicast(DefaultGroup, "eth1"), multicast(DefaultGroup, "eth1"), "10.9.1.1"},
		"multicast v6": {multicast(group6, "eth1"), multicast(group6, "eth1"), ""},
		"unicast v4": {Config{Links: []Link{unicast("eth1", "10.9.1.2")}},
			Config{Links: []Link{unicast("eth1", "10.9.1.1")}}, "10.9.1.1"},
		"unicast v4 with listen-address and port": {
			Config{Port: 4000, Listen: listen, Links: []Link{unicast("eth1", "10.9.1.2")}},
			Config{Port: 4000, Listen: listen, Links: []Link{unicast("eth1", "10.9.1.1")}}, "10.9.1.1"},
		"unicast v6": {Config{Links: []Link{unicast("eth1", "fd09:1::2")}},
			Config{Links: []Link{unicast("eth1", "fd09:1::1")}}, "fd09:1::1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.a.ReceiveBuffer, c.b.ReceiveBuffer = 1<<20, 1<<20
			nsA, nsB := pair(t, 1)
			a, b := startNode(t, nsA, c.a), startNode(t, nsB, c.b)
			a.up()
			b.up()
			a.ask("send 100 1400 -")
			r := b.wait("100 datagrams", func(r report) bool { return r.Got[0] == 100 })
			if c.source != "" && r.From[0] != netip.MustParseAddr(c.source) {
				t.Errorf("sender %s, want %s", r.From[0], c.source)
			}
			if s := r.Stats[0]; s.BytesReceived != 140000 || s.PacketsReceived != 100 || s.ReceiveErrors != 0 {
				t.Errorf("receiver counted %+v", s)
			}
			b.ask("send 7 10 -")
			r = a.wait("7 datagrams", func(r report) bool { return r.Got[0] == 7 })
			if s := r.Stats[0]; s.PacketsSent != 100 || s.BytesSent != 140000 || s.SendErrors != 0 {
				t.Errorf("sender counted %+v", s)
			}
			if r.Got[0] != 7 {
				t.Errorf("own datagrams came back: %d", r.Got[0])
			}
		})
	}
}

// TestOnTheWire drops in the sender what is not as it must be: a TTL of 1 for multicast, and DF.
func TestOnTheWire(t *testing.T) {
	for name, group := range map[string]netip.Addr{"v4": DefaultGroup, "v6": group6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nsA, nsB := pair(t, 1)
			run(t, "ip", "netns", "exec", nsA, "nft", "add table inet f; add chain inet f out { type filter hook output priority 0; };"+
				"add rule inet f out udp dport 3780 ip ttl != 1 drop; add rule inet f out udp dport 3780 ip frag-off & 0x4000 == 0 drop;"+
				"add rule inet f out udp dport 3780 ip6 hoplimit != 1 drop")
			a, b := startNode(t, nsA, multicast(group, "eth1")), startNode(t, nsB, multicast(group, "eth1"))
			exchange(a, b)
			if s := a.ask("report").Stats[0]; s.State != stateRunning {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestOtherGroup: what another program of the host joined is not taken, although the port is the same.
func TestOtherGroup(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 1)
	run(t, "ip", "-n", nsB, "addr", "add", "225.0.0.99/32", "dev", "eth1", "autojoin")
	a := startNode(t, nsA, multicast(netip.MustParseAddr("225.0.0.99"), "eth1"))
	b := startNode(t, nsB, multicast(DefaultGroup, "eth1"))
	a.up()
	b.up()
	if s := a.ask("send 10 10 -").Stats[0]; s.PacketsSent != 10 {
		t.Fatalf("%+v", s)
	}
	time.Sleep(50 * time.Millisecond)
	if got := b.ask("report").Got[0]; got != 0 {
		t.Errorf("%d datagrams of another group", got)
	}
}

// TestTwoLinks: the same bytes over both, and over the other when one is gone.
func TestTwoLinks(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 2)
	a := startNode(t, nsA, multicast(DefaultGroup, "eth1", "eth2"))
	b := startNode(t, nsB, multicast(DefaultGroup, "eth1", "eth2"))
	a.up()
	b.up()
	a.ask("send 10 100 -")
	b.wait("10 on each link", func(r report) bool { return r.Got[0] == 10 && r.Got[1] == 10 })
	b.ip("link", "set", "eth1", "down")
	a.wait("no carrier seen", func(r report) bool { return r.Stats[0].State == stateNoCarrier && !r.Stats[0].Up })
	b.wait("down seen", func(r report) bool { return r.Stats[0].State == stateDown })
	r := a.ask("send 5 100 -")
	if r.Stats[0].SendErrors != 5 || r.Stats[1].SendErrors != 0 {
		t.Errorf("what the dead link could not carry was not counted: %+v", r.Stats)
	}
	b.wait("15 on the other", func(r report) bool { return r.Got[0] == 10 && r.Got[1] == 15 })
}

// TestSharedInterface has two peers behind one interface, and a directed datagram.
func TestSharedInterface(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 2)
	b := startNode(t, nsB, Config{Links: []Link{unicast("eth1", "10.9.1.1")}})
	a := startNode(t, nsA, Config{Links: []Link{
		unicast("eth1", "10.9.1.2"), unicast("eth1", "10.9.1.3"), unicast("eth2", "10.9.2.2")}})
	a.up()
	b.up()
	r := a.ask("send 3 10 10.9.1.2:3780")
	if r.Stats[0].PacketsSent != 3 || r.Stats[1].PacketsSent != 0 || r.Stats[2].PacketsSent != 3 {
		t.Errorf("directed datagrams went %+v", r.Stats)
	}
	b.wait("3 datagrams", func(r report) bool { return r.Got[0] == 3 })
	b.ask("send 4 10 -")
	a.wait("4 datagrams of the first peer", func(r report) bool { return r.Got[0] == 4 && r.Got[1] == 0 })
}

// TestRecovery takes the link down, deletes it and makes it again, and expects datagrams after each.
func TestRecovery(t *testing.T) {
	for name, group := range map[string]netip.Addr{"v4": DefaultGroup, "v6": group6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nsA, nsB := pair(t, 0)
			a := startNode(t, nsA, multicast(group, "eth1"))
			b := startNode(t, nsB, multicast(group, "eth1"))
			if r := a.ask("report"); r.Stats[0].State != stateNoInterface {
				t.Fatalf("state %q", r.Stats[0].State)
			}
			join(t, nsA, nsB, 1)
			exchange(a, b)

			a.ip("link", "set", "eth1", "down")
			a.wait("down", func(r report) bool { return !r.Stats[0].Up })
			address6 := []string{"addr", "replace", "fd09:1::1/64", "dev", "eth1", "nodad"}
			a.ip("link", "set", "eth1", "up")
			a.ip(address6...) // the kernel forgot it with the link
			exchange(a, b)

			a.ip("link", "del", "eth1")
			a.wait("gone", func(r report) bool { return r.Stats[0].State == stateNoInterface })
			b.wait("gone", func(r report) bool { return r.Stats[0].State == stateNoInterface })
			join(t, nsA, nsB, 1)
			exchange(a, b)

			// An IPv6 interface ends with an MTU below 1280, and every membership with it.
			a.ip("link", "set", "eth1", "mtu", "1200")
			a.wait("MTU seen", func(r report) bool { return r.Limit < 1200 })
			a.ip("link", "set", "eth1", "mtu", "1500")
			a.ip(address6...)
			exchange(a, b)

			a.asleep(b, func() { // faster than anybody looks
				a.ip("link", "del", "eth1")
				join(t, nsA, nsB, 1)
			})
			exchange(a, b)

			b.ip("link", "set", "eth1", "name", "away", "down")
			b.wait("renamed away", func(r report) bool { return r.Stats[0].State == stateNoInterface })
			b.ip("link", "set", "away", "name", "eth1", "up")
			b.ip("addr", "replace", "fd09:1::2/64", "dev", "eth1", "nodad")
			exchange(a, b)

			if n := strings.Count(a.stderr.String(), stateNoInterface); n != 2 {
				t.Errorf("%q said %d times, want once for each absence:\n%s", stateNoInterface, n, a.stderr)
			}
		})
	}
}

// exchange expects a datagram each way, soon: the kernel tells of an address before its routes are there.
func exchange(a, b *node) {
	a.t.Helper()
	a.up()
	b.up()
	for _, way := range [][2]*node{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		had := to.ask("report").Got[0]
		to.wait("one more", func(r report) bool {
			if r.Got[0] > had {
				return true
			}
			from.ask("send 1 100 -")
			return false
		})
	}
}

// TestListenAddress waits for its address, follows it, and refuses that of another interface.
func TestListenAddress(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 2)
	b := startNode(t, nsB, Config{Links: []Link{unicast("eth1", "10.9.1.7"), unicast("eth1", "10.9.1.8")}})
	a := startNode(t, nsA, Config{
		Listen: []netip.Addr{netip.MustParseAddr("10.9.1.7"), netip.MustParseAddr("10.9.1.8"), netip.MustParseAddr("10.9.2.1")},
		Links:  []Link{unicast("eth1", "10.9.1.2")}})
	r := a.wait("waiting", func(r report) bool { return strings.Contains(r.Stats[0].State, "listen-address") })
	if r.Stats[0].Up {
		t.Error("up without its address")
	}
	a.ip("addr", "add", "10.9.1.7/24", "dev", "eth1")
	a.up()
	b.up()
	a.ask("send 1 10 -")
	b.wait("a datagram from the first", func(r report) bool { return r.Got[0] == 1 })
	a.asleep(b, func() {
		a.ip("addr", "add", "10.9.1.8/24", "dev", "eth1")
		a.ip("addr", "del", "10.9.1.7/24", "dev", "eth1")
	})
	b.wait("a datagram from the second", func(r report) bool {
		a.ask("send 1 10 -")
		return r.Got[1] > 0
	})
	b.ask("send 1 10 -")
	a.wait("a datagram", func(r report) bool { return r.Got[0] == 1 })
	a.ip("addr", "flush", "dev", "eth1")
	a.wait("waiting again", func(r report) bool { return !r.Stats[0].Up })
}

// TestLossCounted: what the receive buffer cannot hold is in the counters, to the datagram.
func TestLossCounted(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 1)
	small := multicast(DefaultGroup, "eth1")
	small.ReceiveBuffer = 32 << 10
	a, b := startNode(t, nsA, multicast(DefaultGroup, "eth1")), startNode(t, nsB, small)
	a.up()
	b.up()
	const sent = 2000
	b.ask("pause")
	a.ask(fmt.Sprintf("send %d 1000 -", sent))
	b.ask("resume")
	r := b.wait("every datagram counted", func(r report) bool {
		return r.Stats[0].PacketsReceived+r.Stats[0].ReceiveErrors == sent
	})
	if r.Stats[0].ReceiveErrors == 0 {
		t.Error("nothing was lost: the test tests nothing")
	}
	a.ask("send 1 2500 -")
	if r := a.ask("report"); r.Stats[0].SendErrors != 1 {
		t.Errorf("a datagram above the MTU: %+v", r.Stats[0])
	}
}

// TestCut: a datagram longer than any of ours is counted, not delivered.
func TestCut(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 1)
	run(t, "ip", "-n", nsA, "link", "set", "eth1", "mtu", "9000")
	run(t, "ip", "-n", nsB, "link", "set", "eth1", "mtu", "9000")
	a := startNode(t, nsA, multicast(DefaultGroup, "eth1"))
	b := startNode(t, nsB, multicast(DefaultGroup, "eth1"))
	a.up()
	b.up()
	a.ask("send 1 4000 -")
	a.ask("send 1 40 -")
	r := b.wait("one delivered", func(r report) bool { return r.Got[0] == 1 })
	if s := r.Stats[0]; s.ReceiveErrors != 1 || s.BytesReceived != 40 {
		t.Errorf("cut datagram: %+v", s)
	}
}

// TestPortTaken says who may hold the port, and takes it over when it is free.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	nsA, _ := pair(t, 1)
	first := startNode(t, nsA, multicast(DefaultGroup, "eth1"))
	first.up()
	second := startNode(t, nsA, multicast(DefaultGroup, "eth1"))
	second.wait("port taken", func(r report) bool { return strings.Contains(r.Stats[0].State, "stop conntrackd") })
}

// TestStuckLink: a link that carries nearly nothing costs the other link nothing but a moment.
func TestStuckLink(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 2)
	c := multicast(DefaultGroup, "eth1", "eth2")
	c.SendBuffer = 16 << 10
	a, b := startNode(t, nsA, c), startNode(t, nsB, multicast(DefaultGroup, "eth1", "eth2"))
	a.up()
	b.up()
	run(t, "tc", "-n", nsA, "qdisc", "add", "dev", "eth1", "root", "tbf", "rate", "8kbit", "burst", "2kb", "limit", "1mb")
	r := a.ask("send 1000 1000 -") // at the link's rate they would take a quarter of an hour
	if s := r.Stats[0]; s.SendErrors < 900 || s.SendErrors+s.PacketsSent != 1000 {
		t.Errorf("the stuck link counted %+v", s)
	}
	if s := r.Stats[1]; s.PacketsSent != 1000 {
		t.Errorf("the other link counted %+v", s)
	}
	b.wait("all by the other link", func(r report) bool { return r.Got[1] == 1000 })
	run(t, "tc", "-n", nsA, "qdisc", "del", "dev", "eth1", "root")
	before := b.ask("report").Got[0]
	a.ask("send 10 1000 -")
	b.wait("the link is no longer stuck", func(r report) bool { return r.Got[0] >= before+10 })
}

// TestOwnFilter: the host's own packet filter is named, and its end is noticed.
func TestOwnFilter(t *testing.T) {
	t.Parallel()
	nsA, nsB := pair(t, 1)
	a, b := startNode(t, nsA, multicast(DefaultGroup, "eth1")), startNode(t, nsB, multicast(DefaultGroup, "eth1"))
	a.up()
	b.up()
	run(t, "ip", "netns", "exec", nsA, "nft", "add table inet f; add chain inet f out { type filter hook output priority 0; policy drop; }")
	r := a.ask("send 3 10 -")
	if s := r.Stats[0]; s.SendErrors != 3 || !strings.Contains(s.State, "packet filter") {
		t.Errorf("%+v", s)
	}
	run(t, "ip", "netns", "exec", nsA, "nft", "delete table inet f")
	if s := a.ask("send 1 10 -").Stats[0]; s.SendErrors != 3 || s.State != stateRunning {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(a.stderr.String(), "packet filter"); n != 1 {
		t.Errorf("said %d times:\n%s", n, a.stderr)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	nsA, _ := pair(t, 2)
	a := startNode(t, nsA, Config{Links: []Link{unicast("eth1", "10.9.1.2")}})
	a.up()
	r := a.ask("report")
	for _, want := range []string{"10.9.1.1", "10.9.1.2", "fd09:1::1"} {
		if !contains(r.Addresses, netip.MustParseAddr(want)) {
			t.Errorf("%s is not in %v", want, r.Addresses)
		}
	}
	if contains(r.Addresses, netip.MustParseAddr("10.9.2.1")) {
		t.Errorf("an address of another interface in %v", r.Addresses)
	}
}
