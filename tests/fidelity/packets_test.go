package fidelity

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// Real packets: written with their own IP header by a node, in both directions, so that its kernel tracks and
// translates them as those of others, on their way to an interface that leads nowhere.

// packetRules give packets what rules can give: the client's address says which.
const packetRules = `
table inet p {
	chain zones {
		type filter hook output priority -300
		ip saddr 10.7.6.0/24 ct zone set 7
		ip saddr 10.7.7.0/24 ct original zone set 8
	}
	ct helper ftp { type "ftp" protocol tcp; }
	chain marks {
		type filter hook output priority 0
		ip saddr 10.7.5.0/24 ct mark set meta mark
		ip6 saddr 2001:db8:7:5::/64 ct mark set meta mark
		ip saddr 10.7.5.0/24 ct label set 3
		ip saddr 10.7.8.0/24 tcp dport 21 ct helper set "ftp"
	}
	chain nat_out {
		type nat hook output priority -100
		ip saddr 10.7.3.0/24 meta l4proto { tcp, udp } dnat ip to 10.9.0.80:8443
		ip6 saddr 2001:db8:7:3::/64 meta l4proto { tcp, udp } dnat ip6 to [2001:db8:9::80]:8443
	}
	chain nat_post {
		type nat hook postrouting priority 100
		ip saddr 10.7.1.0/24 meta l4proto { tcp, udp } snat ip to 198.51.100.1-198.51.100.4:20000-20100
		ip saddr 10.7.1.0/24 snat ip to 198.51.100.1
		ip saddr 10.7.2.0/24 masquerade
		ip saddr 10.7.3.0/24 ip daddr 10.9.0.80 snat ip to 10.9.0.254
		ip6 saddr 2001:db8:7:1::/64 snat ip6 to 2001:db8:3::1
		ip6 saddr 2001:db8:7:2::/64 masquerade
	}
}`

// talk is one exchange: what the client sends, and what comes back.
type talk struct {
	name     string
	l4       uint8
	client   string
	server   string
	messages [][]byte // layer 4, the first from the client and then in turns; ports are filled in
	mark     int
}

// ports are the first four bytes where the protocol has them, source and destination.
func hasPorts(l4 uint8) bool {
	switch l4 {
	case flow.TCP, flow.UDP, flow.UDPLite, flow.SCTP:
		return true
	}
	return false
}

func udp() []byte { return []byte{0x9c, 0x40, 0, 53, 0, 12, 1, 1, 1, 2, 3, 4} }

// tcp is a segment to port, with options that ask for window scaling if scale is not 0.
func tcp(port uint16, flags, scale byte) []byte {
	b := []byte{0x9c, 0x40, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], port)
	if flags&0x10 != 0 {
		b[11] = 2
	}
	if scale != 0 {
		b = append(b, 2, 4, 5, 0xb4, 4, 2, 3, 3, scale, 0, 0, 0)
		b[12] = byte(len(b)/4) << 4
	} else if flags == 0x10 {
		b[7] = 2
	}
	return b
}

func handshake(port uint16) [][]byte {
	return [][]byte{tcp(port, 0x02, 7), tcp(port, 0x12, 9), tcp(port, 0x10, 0)}
}

func echo(request, reply byte) [][]byte {
	return [][]byte{{request, 0, 0, 0, 0, 77, 0, 1}, {reply, 0, 0, 0, 0, 77, 0, 1}}
}

// sctpInit is a common header and one INIT, or INIT ACK, chunk.
func sctpInit(chunk, tag byte) []byte {
	b := []byte{0x8e, 0x3c, 0x0b, 0x59, 0, 0, 0, 0, 0, 0, 0, 0, chunk, 0, 0, 20, 0x11, 0x22, 0x33, tag, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1}
	if chunk == 2 {
		copy(b[4:8], []byte{0x11, 0x22, 0x33, 0x44})
	}
	return b
}

func talks() []talk {
	var ts []talk
	for i, nat := range []string{"no NAT", "SNAT to a range", "masquerade", "DNAT"} {
		client := func(n int) string { return fmt.Sprintf("10.7.%d.%d", i, n) }
		ts = append(ts,
			talk{"IPv4 TCP handshake", flow.TCP, client(1), "203.0.113.9", handshake(443), 0},
			talk{"IPv4 TCP SYN", flow.TCP, client(2), "203.0.113.9", handshake(443)[:1], 0},
			talk{"IPv4 UDP unreplied", flow.UDP, client(3), "203.0.113.9", [][]byte{udp()}, 0},
			talk{"IPv4 UDP replied", flow.UDP, client(4), "203.0.113.9", [][]byte{udp(), udp()}, 0})
		for j := range ts[len(ts)-4:] {
			ts[len(ts)-4+j].name += ", " + nat
		}
		if i > 2 {
			continue
		}
		ts = append(ts,
			talk{"IPv4 ICMP echo, " + nat, flow.ICMP, client(5), "203.0.113.9", echo(8, 0), 0},
			talk{"IPv4 ICMP echo of the same id, " + nat, flow.ICMP, client(6), "203.0.113.9", echo(8, 0), 0},
			talk{"IPv4 UDP-Lite, " + nat, flow.UDPLite, client(7), "203.0.113.9", [][]byte{udp(), udp()}, 0},
			talk{"IPv4 SCTP INIT, " + nat, flow.SCTP, client(8), "203.0.113.9", [][]byte{sctpInit(1, 0x44)}, 0},
			talk{"IPv4 SCTP INIT ACK, " + nat, flow.SCTP, client(9), "203.0.113.8", [][]byte{sctpInit(1, 0x44), sctpInit(2, 0x55)}, 0},
			talk{"IPv4 GRE, " + nat, flow.GRE, client(10), "203.0.113.9", [][]byte{{0, 0, 8, 0, 1, 2, 3, 4}, {0, 0, 8, 0, 1, 2, 3, 4}}, 0},
			talk{"IPv4 ESP, " + nat, flow.ESP, client(11), "203.0.113.9", [][]byte{make([]byte, 40), make([]byte, 40)}, 0},
			talk{"IPv4 AH, " + nat, flow.AH, client(12), "203.0.113.9", [][]byte{make([]byte, 40), make([]byte, 40)}, 0},
			talk{"IPv4 protocol 99, " + nat, 99, client(13), "203.0.113.9", [][]byte{make([]byte, 40), make([]byte, 40)}, 0})
	}
	ts = append(ts,
		talk{"IPv4 IGMP", 2, "10.7.0.20", "239.1.2.3", [][]byte{{0x16, 0, 0, 0, 239, 1, 2, 3}}, 0},
		talk{"IPv4 UDP with mark and label of rules", flow.UDP, "10.7.5.1", "203.0.113.9", [][]byte{udp(), udp()}, 0x55},
		talk{"IPv4 UDP in a zone of rules", flow.UDP, "10.7.6.1", "203.0.113.9", [][]byte{udp()}, 0},
		talk{"IPv4 UDP in a zone of one direction, of rules", flow.UDP, "10.7.7.1", "203.0.113.9", [][]byte{udp()}, 0},
		talk{"IPv4 TCP with a helper of rules", flow.TCP, "10.7.8.1", "203.0.113.9", handshake(21), 0})
	for i, nat := range []string{"no NAT", "SNAT", "masquerade", "DNAT"} {
		client := func(n int) string { return fmt.Sprintf("2001:db8:7:%d::%d", i, n) }
		ts = append(ts,
			talk{"IPv6 TCP handshake, " + nat, flow.TCP, client(1), "2001:db8:2::9", handshake(443), 0},
			talk{"IPv6 UDP replied, " + nat, flow.UDP, client(2), "2001:db8:2::9", [][]byte{udp(), udp()}, 0},
			talk{"IPv6 ICMP echo, " + nat, flow.ICMPv6, client(3), "2001:db8:2::9", echo(128, 129), 0},
			talk{"IPv6 SCTP INIT, " + nat, flow.SCTP, client(4), "2001:db8:2::9", [][]byte{sctpInit(1, 0x44)}, 0},
			talk{"IPv6 ESP, " + nat, flow.ESP, client(5), "2001:db8:2::9", [][]byte{make([]byte, 40)}, 0})
	}
	return ts
}

// nowhere gives n an interface that swallows what is sent to it, and addresses to masquerade with.
func (n *node) nowhere() {
	n.t.Helper()
	for _, args := range [][]string{
		{"link", "add", "nowhere", "type", "veth", "peer", "name", "down"},
		{"link", "set", "nowhere", "arp", "off"},
		{"addr", "add", "198.51.100.77/24", "dev", "nowhere"},
		{"addr", "add", "2001:db8:4::77/64", "dev", "nowhere", "nodad"},
		{"link", "set", "nowhere", "up"},
		{"route", "add", "default", "dev", "nowhere"},
		{"-6", "route", "add", "default", "dev", "nowhere"},
	} {
		run(n.t, "ip", append([]string{"-n", n.space}, args...)...)
	}
}

// send sends the i-th message of t. What comes back goes to where the kernel, of which flows are a picture,
// translated the client to.
func (n *node) send(t *talk, i int, flows []conntrack.Flow) {
	n.t.Helper()
	src, dst := netip.MustParseAddr(t.client), netip.MustParseAddr(t.server)
	body := append([]byte(nil), t.messages[i]...)
	if i%2 == 1 {
		src, dst, body = n.back(t, body, flows)
	}
	n.do(func() error { return sendRaw(src, dst, t.l4, body, t.mark) })
}

// back turns a message round, along the reply tuple that the kernel holds.
func (n *node) back(t *talk, body []byte, flows []conntrack.Flow) (src, dst netip.Addr, out []byte) {
	n.t.Helper()
	for _, f := range flows {
		if f.TupleOrig.IP.SourceAddress != netip.MustParseAddr(t.client) || f.TupleOrig.Proto.Protocol != t.l4 {
			continue
		}
		r := &f.TupleReply
		switch {
		case hasPorts(t.l4):
			binary.BigEndian.PutUint16(body, r.Proto.SourcePort)
			binary.BigEndian.PutUint16(body[2:], r.Proto.DestinationPort)
		case t.l4 == flow.ICMP || t.l4 == flow.ICMPv6:
			binary.BigEndian.PutUint16(body[4:], r.Proto.ICMPID)
		}
		return r.IP.SourceAddress, r.IP.DestinationAddress, body
	}
	n.t.Fatalf("%s: no flow of %s", t.name, t.client)
	return src, dst, nil
}

func sendRaw(src, dst netip.Addr, l4 uint8, body []byte, mark int) error {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte(dst.AsSlice()[:4])})
	packet := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, l4, 0, 0}
	if dst.Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: dst.As16()}
		packet = []byte{0x60, 0, 0, 0, 0, byte(len(body)), l4, 64}
	}
	packet = append(append(append(packet, src.AsSlice()...), dst.AsSlice()...), body...)
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
		return err
	}
	return unix.Sendto(fd, packet, 0, to)
}

// TestPackets: what packets and rules make of a flow, rather than a netlink request.
func TestPackets(t *testing.T) {
	p := newPair(t, "hot", rules+labelRule+packetRules, rules+labelRule).start()
	p.a.nowhere()
	for _, state := range []string{"cookie_wait", "cookie_echoed"} {
		p.a.run("sysctl", "-qw", "net.netfilter.nf_conntrack_sctp_timeout_"+state+"=100") // else 3 s
	}
	m := newMatrix(t, p)
	ts := talks()
	for turn := range 3 {
		flows := p.a.flows()
		for i := range ts {
			if turn < len(ts[i].messages) {
				p.a.send(&ts[i], turn, flows)
			}
		}
	}
	for _, f := range p.a.flows() {
		for i := range ts {
			if f.TupleOrig.IP.SourceAddress == netip.MustParseAddr(ts[i].client) {
				m.names[flowName(&f)] = "packets: " + ts[i].name
				ts[i].messages = nil
			}
		}
	}
	for i := range ts {
		if ts[i].messages != nil {
			t.Errorf("%s: not tracked", ts[i].name)
		}
	}
	m.same("packets", p.a, p.b)
	m.alike(p.a, p.b)
	marked := talk{"", flow.UDP, "10.7.5.1", "203.0.113.9", [][]byte{udp()}, 0}
	for _, mark := range []int{0x66, 0x77, 0} {
		marked.mark = mark
		p.a.send(&marked, 0, nil)
		m.same(fmt.Sprintf("mark %#x", mark), p.a, p.b)
	}
}
