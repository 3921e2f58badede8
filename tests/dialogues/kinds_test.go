package dialogues

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// translation is what the firewalls do to a flow. The server's address chooses it, or for what begins on the WAN
// the port.
type translation uint8

const (
	snat     translation = iota
	plain                // none
	prefix               // of the source, address by address
	dnat                 // begins on the WAN
	both                 // the same, and the source becomes the LAN's virtual address
	prefixIn             // begins on the WAN, of the destination, address by address
	hairpin              // begins on the LAN, at the WAN's virtual address, and comes back into the LAN
	zoneOut              // as snat, with a zone of the original direction
	zoned                // as snat, with a zone of both directions
)

// servers is the last part of the server's address by translation.
var servers = [...]byte{snat: 10, plain: 11, prefix: 12, dnat: 10, both: 10, prefixIn: 10, hairpin: 10, zoneOut: 13, zoned: 14}

// kind is one kind of flow under test.
type kind struct {
	name    string
	nat     translation
	ipv6    bool
	port    uint16 // of a protocol that has ports
	open    func(*flows, *kind) (channel, error)
	from    byte // the last part of the LAN host's address, if it is another
	generic bool // lives on the generic timeout
	late    bool // says nothing until the end
	once    bool // is over when it has spoken once
}

// flows are all kinds in one lab.
type flows struct {
	*talkers
	near, far [2]host       // by family: the LAN's host and the WAN's
	mapped    [2]netip.Addr // the LAN host's after prefix NAT
	channels  map[*kind]channel
}

// Timeouts of protocols that the kernel knows nothing about, in seconds: usual, and while they are outlived.
const (
	genericUsual = 60
	genericShort = 3
)

// TestKinds has a flow of every kind live through two takeovers and two failbacks, with rules that let nothing
// begin anew: what a takeover loses stays lost.
func TestKinds(t *testing.T) {
	t.Parallel()
	warm := []string{"standby warm"} // where the kernel has nothing unless the daemon is told
	all := []struct {
		name   string
		o      lab.Options
		lines  []string
		orders bool // a cluster manager's commands drive
	}{
		{name: "snat"},
		{name: "warm", lines: warm},
		{name: "warm by commands", lines: warm, orders: true},
		{name: "warm by scripts", lines: warm, o: lab.Options{Drivers: lab.Drivers{Script: true}}},
		{name: "warm by D-Bus", lines: warm, o: lab.Options{Drivers: lab.Drivers{DBus: true}}},
		{name: "masquerade", o: lab.Options{NAT: lab.Masquerade}},
		{name: "masquerade, warm", lines: warm, o: lab.Options{NAT: lab.Masquerade}},
	}
	if os.Getenv("LONG") == "" {
		all = all[:3]
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.IPv6 = true
			if c.orders {
				live(t, runOrdered(t, c.o, c.lines...), move)
				return
			}
			c.o.Daemon = lab.Ctsync(c.lines...)
			live(t, lab.Run(t, c.o), nil)
		})
	}
}

// live runs all kinds; order is who tells the daemons of their roles, if it is not keepalived.
func live(t *testing.T, l *lab.Lab, order func(*lab.Router) error) {
	fs := &flows{talkers: &talkers{t: t, lab: l, wrong: map[string][]string{}, order: order}}
	fs.hosts()
	fs.load(true)
	fs.open()
	fs.load(false)
	fs.generic(genericUsual)
	fs.takeover(l.R2, l.R1.StopKeepalived)
	fs.talk("first takeover", false)
	fs.takeover(l.R1, l.R1.StartKeepalived)
	fs.talk("first failback", false)
	fs.outlive()
	fs.takeover(l.R2, l.R1.StopKeepalived)
	fs.talk("second takeover", false)
	fs.takeover(l.R1, l.R1.StartKeepalived)
	fs.talk("second failback", true)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for _, w := range fs.wrong[k.name] {
				t.Error(w)
			}
		})
	}
}

// open begins a flow of every kind.
func (fs *flows) open() {
	fs.t.Helper()
	fs.channels = map[*kind]channel{}
	for _, k := range kinds {
		ch, err := k.open(fs, k)
		if err != nil {
			fs.t.Fatalf("%s: %v", k.name, err)
		}
		fs.t.Cleanup(func() { ch.Close() })
		fs.channels[k] = ch
		if k.once {
			continue
		}
		if err := ch.talk(); err != nil {
			fs.t.Fatalf("%s: before anything: %v", k.name, err)
		}
	}
}

// talk has every flow speak in which nothing went wrong so far, at the last stage also those that are late.
func (fs *flows) talk(stage string, last bool) {
	began := time.Now()
	fs.talkOf(stage, func(k *kind) bool { return last || !k.late })
	fs.t.Logf("%s: %s", stage, time.Since(began).Round(time.Millisecond))
}

// talkOf is talk for those that are meant.
func (fs *flows) talkOf(stage string, meant func(*kind) bool) {
	for _, k := range kinds {
		if fs.wrong[k.name] != nil || !meant(k) || fs.channels[k] == nil {
			continue
		}
		if err := fs.channels[k].talk(); err != nil {
			fs.wrong[k.name] = append(fs.wrong[k.name], fmt.Sprintf("%s: %v", stage, err))
		}
		if k.once {
			delete(fs.channels, k)
		}
	}
}

// generic sets the generic timeout.
func (fs *flows) generic(seconds int) {
	fs.t.Helper()
	for _, r := range fs.lab.Routers() {
		if _, err := r.Run("sysctl", "-qw", fmt.Sprintf("net.netfilter.nf_conntrack_generic_timeout=%d", seconds)); err != nil {
			fs.t.Fatal(err)
		}
	}
}

// outlive has the flows that live on the generic timeout speak for three times its length.
func (fs *flows) outlive() {
	fs.generic(genericShort)
	for end := time.Now().Add(3 * genericShort * time.Second); time.Now().Before(end); time.Sleep(genericShort * time.Second / 10) {
		fs.talkOf("meanwhile", func(k *kind) bool { return k.generic })
	}
	fs.generic(genericUsual)
	fs.talkOf("meanwhile", func(k *kind) bool { return k.generic })
}

// secondClient is another host of the LAN, in the namespace of the first.
var secondClient = netip.MustParseAddr("10.10.0.11")

// hosts gives the hosts the addresses that choose a translation, and routes.
func (fs *flows) hosts() {
	fs.t.Helper()
	l := fs.lab
	fs.near = [2]host{{l.Client, lab.ClientAddress, lab.WANVIP}, {l.Client, lab.ClientAddress6, lab.WANVIP6}}
	fs.far = [2]host{{l.Server, lab.ServerAddress, lab.ServerAddress}, {l.Server, lab.ServerAddress6, lab.ServerAddress6}}
	fs.mapped = [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:99::10")}
	text := fmt.Sprintf(`address add 198.51.100.11/24 dev eth0
address add 198.51.100.12/24 dev eth0
address add 198.51.100.13/24 dev eth0
address add 198.51.100.14/24 dev eth0
address add 2001:db8:51::11/64 dev eth0 nodad
address add 2001:db8:51::12/64 dev eth0 nodad
route add 10.10.0.0/24 via %[1]s
route add 203.0.113.0/24 via %[1]s
-6 route add fd00:10::/64 via %[2]s
-6 route add 2001:db8:99::/64 via %[2]s
`, lab.WANVIP, lab.WANVIP6)
	if _, err := l.Client.Run("ip", "address", "add", secondClient.String()+"/24", "dev", "eth0"); err != nil {
		fs.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if _, err := l.Server.Run("ip", strings.Fields(line)...); err != nil {
			fs.t.Fatal(err)
		}
	}
	for _, h := range []*lab.Namespace{l.Client, l.Server} { // refusals come as often as they are asked for
		if _, err := h.Run("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"); err != nil {
			fs.t.Fatal(err)
		}
	}
}

// load gives the firewalls their rules: with begin what may begin, and then nothing may.
func (fs *flows) load(begin bool) {
	fs.t.Helper()
	text := "insert rule inet filter forward ct state new counter drop\n"
	if begin {
		text = fmt.Sprintf(`
insert rule inet filter forward ct status dnat ct state new accept
insert rule inet filter forward iifname lan0 oifname wan0 ct state new meta l4proto { 47, 50, 51, 253 } accept
insert rule ip nat postrouting ip daddr 198.51.100.11 accept
insert rule ip nat postrouting ip daddr 198.51.100.12 snat ip prefix to ip saddr map { 10.10.0.0/24 : 203.0.113.0/24 }
insert rule ip nat postrouting oifname lan0 ct status dnat th dport { 4005, 4006, 4015 } snat to %s
insert rule ip6 nat postrouting ip6 daddr 2001:db8:51::11 accept
insert rule ip6 nat postrouting ip6 daddr 2001:db8:51::12 snat ip6 prefix to ip6 saddr map { fd00:10::/64 : 2001:db8:99::/64 }
table inet kinds {
	chain zones {
		type filter hook prerouting priority raw;
		iifname lan0 ip daddr 198.51.100.13 ct original zone set 5
		ip daddr 198.51.100.14 ct zone set 6
		ip saddr 198.51.100.14 ct zone set 6
	}
	chain pre {
		type nat hook prerouting priority dstnat;
		iifname wan0 ip daddr %s meta l4proto { tcp, udp } th dport 4000-4099 dnat ip to %s
		iifname wan0 ip6 daddr %s meta l4proto { tcp, udp } th dport 4000-4099 dnat ip6 to %s
		iifname wan0 dnat ip prefix to ip daddr map { 203.0.113.0/24 : 10.10.0.0/24 }
		iifname wan0 dnat ip6 prefix to ip6 daddr map { 2001:db8:99::/64 : fd00:10::/64 }
		iifname lan0 ip daddr %s meta l4proto { tcp, udp } th dport 4006 dnat ip to %s
	}
}
`, lab.LANVIP, lab.WANVIP, lab.ClientAddress, lab.WANVIP6, lab.ClientAddress6, lab.WANVIP, secondClient)
	}
	for _, r := range fs.lab.Routers() {
		if _, err := r.RunInput(text, "nft", "-f", "-"); err != nil {
			fs.t.Fatal(err)
		}
	}
}

// ends are who begins a flow of a kind and who answers; each sees the other by the address seen.
func (fs *flows) ends(k *kind) (caller, callee host) {
	family := 0
	if k.ipv6 {
		family = 1
	}
	caller, callee = fs.near[family], fs.far[family]
	if k.from != 0 {
		caller.addr = netip.AddrFrom4([4]byte{10, 10, 0, k.from})
	}
	b := callee.addr.AsSlice()
	b[len(b)-1] = servers[k.nat]
	if k.ipv6 {
		b[len(b)-1] = servers[k.nat]/10<<4 | servers[k.nat]%10
	}
	callee.addr, _ = netip.AddrFromSlice(b)
	callee.seen = callee.addr
	switch k.nat {
	case plain:
		caller.seen = caller.addr
	case prefix:
		caller.seen = fs.mapped[family]
	case dnat, both:
		caller, callee = callee, caller
	case prefixIn:
		caller.seen = fs.mapped[family]
		caller, callee = callee, caller
	case hairpin:
		callee = host{caller.Namespace, secondClient, caller.seen}
		caller.seen = lab.LANVIP
	}
	return caller, callee
}
