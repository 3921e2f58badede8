package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// Addresses of the lab. The public ones are those of RFC 5737 and RFC 3849.
var (
	LANVIP        = netip.MustParseAddr("10.10.0.1")
	WANVIP        = netip.MustParseAddr("198.51.100.1")
	ClientAddress = netip.MustParseAddr("10.10.0.10")
	ServerAddress = netip.MustParseAddr("198.51.100.10")

	LANVIP6        = netip.MustParseAddr("fd00:10::1")
	WANVIP6        = netip.MustParseAddr("2001:db8:51::1")
	ClientAddress6 = netip.MustParseAddr("fd00:10::10")
	ServerAddress6 = netip.MustParseAddr("2001:db8:51::10")
)

// Interfaces of a router.
const (
	WAN   = "wan0"
	LAN   = "lan0"
	Sync  = "sync0"
	Sync1 = "sync1"
)

// roles end the names of a lab's namespaces.
var roles = []string{"r1", "r2", "client", "server", "switches"}

func (l *Lab) makeNamespaces() error {
	opened := map[string]*Namespace{}
	for _, role := range roles {
		if out, err := exec.Command("ip", "netns", "add", l.name+role).CombinedOutput(); err != nil {
			return fmt.Errorf("lab: ip netns add %s%s: %w: %s", l.name, role, err, out)
		}
		n, err := openNamespace(l.name + role)
		if err != nil {
			return err
		}
		opened[role] = n
		switch role {
		case "r1":
			l.R1.Namespace = n
		case "r2":
			l.R2.Namespace = n
		case "client":
			l.Client = n
		case "server":
			l.Server = n
		case "switches":
			l.Switches = n
		}
	}
	return nil
}

// WANAddress and LANAddress are the node's own addresses with their prefixes; SyncAddress is the one on the
// direct link of that number.
func (r *Router) WANAddress() netip.Prefix {
	if r.lab.options.NAT == Masquerade {
		return netip.MustParsePrefix(fmt.Sprintf("10.88.0.%d/24", r.number()+1))
	}
	return netip.MustParsePrefix(fmt.Sprintf("198.51.100.%d/24", r.number()+1))
}

func (r *Router) LANAddress() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("10.10.0.%d/24", r.number()+1))
}

func (r *Router) SyncAddress(link int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("172.16.%d.%d/24", link, r.number()))
}

// WANAddress6 and LANAddress6 are the node's own with Options.IPv6.
func (r *Router) WANAddress6() netip.Prefix {
	if r.lab.options.NAT == Masquerade {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:88::%d/64", r.number()+1))
	}
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:51::%d/64", r.number()+1))
}

func (r *Router) LANAddress6() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("fd00:10::%d/64", r.number()+1))
}

func (r *Router) number() int { return int(r.Name[1] - '0') }

// Syncs are the router's sync links.
func (r *Router) Syncs() []string {
	if r.lab.options.SecondSync {
		return []string{Sync, Sync1}
	}
	return []string{Sync}
}

// makeLinks lays the cables: every interface ends in a port on a switch. A sync link is a direct cable for the
// routers: a switch that has their two ports and no others.
func (l *Lab) makeLinks() error {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, bridge := range append([]string{"br-wan", "br-lan"}, l.syncBridges()...) {
		say("link add %s type bridge forward_delay 0 mcast_snooping 0", bridge)
		say("link set %s up", bridge)
	}
	cable := func(bridge, port, namespace, inside string) {
		say("link add %s type veth peer name %s netns %s", port, inside, namespace)
		say("link set %s master %s up", port, bridge)
	}
	cable("br-lan", "client", l.Client.Name, "eth0")
	cable("br-wan", "server", l.Server.Name, "eth0")
	for _, r := range l.Routers() {
		cable("br-wan", r.port(WAN), r.Namespace.Name, WAN)
		cable("br-lan", r.port(LAN), r.Namespace.Name, LAN)
	}
	for _, r := range l.Routers() {
		for _, sync := range r.Syncs() {
			cable("br-"+sync, r.port(sync), r.Namespace.Name, sync)
		}
	}
	if _, err := l.Switches.RunInput(b.String(), "ip", "-batch", "-"); err != nil {
		return err
	}
	for _, r := range l.Routers() {
		if err := r.addresses(); err != nil {
			return err
		}
	}
	return l.makeHosts()
}

func (l *Lab) syncBridges() []string {
	var bridges []string
	for _, sync := range l.R1.Syncs() {
		bridges = append(bridges, "br-"+sync)
	}
	return bridges
}

// port is the switch's end of the cable to an interface of the router.
func (r *Router) port(link string) string { return r.Name + "-" + link }

func (r *Router) addresses() error {
	for i, sync := range r.Syncs() {
		if err := r.address(sync, r.SyncAddress(i)); err != nil {
			return err
		}
	}
	if err := r.address(WAN, r.WANAddress()); err != nil {
		return err
	}
	if err := r.address(LAN, r.LANAddress()); err != nil || !r.lab.options.IPv6 {
		return err
	}
	for link, prefix := range map[string]netip.Prefix{WAN: r.WANAddress6(), LAN: r.LANAddress6()} {
		if err := errors.Join(r.address(link, prefix), r.askNeighboursSoon(link)); err != nil {
			return err
		}
	}
	return nil
}

// askNeighboursSoon has the kernel ask for an IPv6 neighbour again after 100 ms, not after a second. It asks with the virtual
// address as its own a moment before it takes packets to that address for itself (the route follows the address by a work
// queue), and what is answered in between goes nowhere: a router that forwards at once lost a second now and then.
func (r *Router) askNeighboursSoon(link string) error {
	return r.sysctl("net/ipv6/neigh/"+link+"/retrans_time_ms", "100")
}

func (l *Lab) makeHosts() error {
	if err := l.Client.address("eth0", netip.PrefixFrom(ClientAddress, 24)); err != nil {
		return err
	}
	if err := l.Server.address("eth0", netip.PrefixFrom(ServerAddress, 24)); err != nil {
		return err
	}
	if _, err := l.Client.Run("ip", "route", "add", "default", "via", LANVIP.String()); err != nil {
		return err
	}
	if err := l.makeHosts6(); err != nil {
		return err
	}
	for _, n := range []*Namespace{l.Client, l.Server} {
		// A neighbour entry that is younger than locktime (1 s) ignores a gratuitous ARP: two faults within a
		// second would measure this, not the routers.
		if err := n.sysctl("net/ipv4/neigh/eth0/locktime", "0"); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) makeHosts6() error {
	if !l.options.IPv6 {
		return nil
	}
	if err := l.Client.address("eth0", netip.PrefixFrom(ClientAddress6, 64)); err != nil {
		return err
	}
	if err := l.Server.address("eth0", netip.PrefixFrom(ServerAddress6, 64)); err != nil {
		return err
	}
	_, err := l.Client.Run("ip", "-6", "route", "add", "default", "via", LANVIP6.String())
	return err
}

// address sets an interface up with an address, which is usable at once.
func (n *Namespace) address(link string, prefix netip.Prefix) error {
	if err := n.sysctl("net/ipv6/conf/"+link+"/accept_dad", "0"); err != nil {
		return err
	}
	_, err := n.RunInput(fmt.Sprintf("link set lo up\nlink set %[1]s up\naddress add %[2]s dev %[1]s\n", link, prefix), "ip", "-batch", "-")
	return err
}
