package kernel

import (
	"net/netip"

	"ctsync/engine/flow"
)

func addr(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

// newFlow is a flow without NAT that both sides have used.
func newFlow(l4 uint8, src string, sport uint16, dst string, dport uint16) flow.Flow {
	var f flow.Flow
	f.L3, f.L4 = flow.IPv6, l4
	if netip.MustParseAddr(src).Is4() {
		f.L3 = flow.IPv4
	}
	f.Src, f.Dst, f.SrcL4, f.DstL4 = addr(src), addr(dst), sport, dport
	f.Reply = f.Inverse()
	f.Status = flow.SeenReply | flow.Assured | flow.Confirmed
	f.Timeout = 600
	if l4 == flow.TCP {
		f.State = flow.TCPEstablished
		f.WScale = [2]uint8{7, 9}
		f.TCPFlags = [2]uint8{0x23, 0x23} // WINDOW_SCALE, SACK_PERM, MAXACK_SET
	}
	return f
}

// snat translates the source to addr and port or ICMP id.
func snat(f flow.Flow, to string, l4 uint16) flow.Flow {
	f.Reply.Dst = addr(to)
	switch f.L4 {
	case flow.ICMP, flow.ICMPv6:
		f.Reply.SrcL4 = l4
	default:
		f.Reply.DstL4 = l4
	}
	f.Status |= flow.SrcNAT | flow.SrcNATDone | flow.DstNATDone
	return f
}

// dnat translates the destination.
func dnat(f flow.Flow, to string, l4 uint16) flow.Flow {
	f.Reply.Src = addr(to)
	if f.L4 != flow.ICMP && f.L4 != flow.ICMPv6 {
		f.Reply.SrcL4 = l4
	}
	f.Status |= flow.DstNAT | flow.SrcNATDone | flow.DstNATDone
	return f
}

func with(f flow.Flow, change func(*flow.Flow)) flow.Flow {
	change(&f)
	return f
}

func withExtra(f flow.Flow, change func(*flow.Extra)) flow.Flow {
	f.Extra = new(flow.Extra)
	change(f.Extra)
	return f
}

func helperName(s string) (name [16]byte) {
	copy(name[:], s)
	return name
}

// sample is a named flow of every kind that there is.
type sample struct {
	name string
	flow flow.Flow
}

// samples do not clash with each other. The master of the child comes before it.
func samples() []sample {
	ftp := newFlow(flow.TCP, "10.0.0.9", 2100, "203.0.113.21", 21)
	return []sample{
		{"tcp", newFlow(flow.TCP, "10.0.0.1", 40000, "203.0.113.1", 443)},
		{"tcp snat port", snat(newFlow(flow.TCP, "10.0.0.1", 40001, "203.0.113.1", 443), "198.51.100.1", 50001)},
		{"tcp snat same port", snat(newFlow(flow.TCP, "10.0.0.1", 40002, "203.0.113.1", 443), "198.51.100.1", 40002)},
		{"tcp snat same address", snat(newFlow(flow.TCP, "10.0.0.1", 40003, "203.0.113.1", 443), "10.0.0.1", 50003)},
		{"tcp dnat", dnat(newFlow(flow.TCP, "192.0.2.7", 40004, "203.0.113.1", 443), "10.0.0.80", 8443)},
		{"tcp snat dnat", dnat(snat(newFlow(flow.TCP, "192.0.2.7", 40005, "203.0.113.1", 443), "10.0.0.254", 50005), "10.0.0.80", 8443)},
		{"tcp time wait", with(newFlow(flow.TCP, "10.0.0.1", 40006, "203.0.113.1", 443), func(f *flow.Flow) { f.State = flow.TCPTimeWait })},
		{"tcp no scaling", with(newFlow(flow.TCP, "10.0.0.1", 40007, "203.0.113.1", 443), func(f *flow.Flow) {
			f.WScale, f.TCPFlags = [2]uint8{}, [2]uint8{}
		})},
		{"tcp6", newFlow(flow.TCP, "2001:db8::1", 40000, "2001:db8:1::1", 443)},
		{"tcp6 snat", snat(newFlow(flow.TCP, "2001:db8::1", 40001, "2001:db8:1::1", 443), "2001:db8:2::1", 50001)},
		{"tcp6 dnat", dnat(newFlow(flow.TCP, "2001:db8::1", 40002, "2001:db8:1::1", 443), "2001:db8:3::80", 8443)},
		{"udp mark", with(newFlow(flow.UDP, "10.0.0.1", 5353, "203.0.113.53", 53), func(f *flow.Flow) { f.Mark = 0xdeadbeef })},
		{"udp snat", snat(newFlow(flow.UDP, "10.0.0.1", 5354, "203.0.113.53", 53), "198.51.100.1", 1054)},
		{"udp one way", with(newFlow(flow.UDP, "10.0.0.1", 5355, "203.0.113.53", 53), func(f *flow.Flow) { f.Status = flow.Confirmed })},
		{"udp6 snat dnat", dnat(snat(newFlow(flow.UDP, "2001:db8::1", 5353, "2001:db8:1::53", 53), "2001:db8:2::1", 1053), "2001:db8:3::53", 5300)},
		{"icmp", newFlow(flow.ICMP, "10.0.0.1", 77, "203.0.113.1", 8<<8)},
		{"icmp snat id", snat(newFlow(flow.ICMP, "10.0.0.1", 78, "203.0.113.1", 8<<8), "198.51.100.1", 1078)},
		{"icmp dnat", dnat(newFlow(flow.ICMP, "10.0.0.1", 79, "203.0.113.1", 8<<8), "10.0.0.80", 0)},
		{"icmpv6 snat", snat(newFlow(flow.ICMPv6, "2001:db8::1", 77, "2001:db8:1::1", 128<<8), "2001:db8:2::1", 77)},
		{"gre", newFlow(flow.GRE, "10.0.0.1", 1, "203.0.113.1", 2)},
		{"gre snat", snat(newFlow(flow.GRE, "10.0.0.1", 3, "203.0.113.1", 4), "198.51.100.1", 4)},
		{"gre snat key", snat(newFlow(flow.GRE, "10.0.0.1", 0, "203.0.113.1", 0x4100), "198.51.100.1", 0x4200)},
		{"gre snat key alone", snat(newFlow(flow.GRE, "10.0.0.1", 5, "203.0.113.1", 6), "10.0.0.1", 7)},
		{"gre dnat key alone", dnat(newFlow(flow.GRE, "10.0.0.1", 0, "203.0.113.1", 8), "203.0.113.1", 9)},
		{"gre snat, dnat key alone", dnat(snat(newFlow(flow.GRE, "10.0.0.1", 0, "203.0.113.1", 10), "198.51.100.1", 0), "203.0.113.1", 11)},
		{"gre6 dnat key alone", dnat(newFlow(flow.GRE, "2001:db8::1", 0, "2001:db8:1::1", 12), "2001:db8:1::1", 13)},
		{"esp snat", snat(newFlow(flow.ESP, "10.0.0.1", 0, "203.0.113.1", 0), "198.51.100.1", 0)},
		{"protocol 99", newFlow(99, "10.0.0.1", 0, "203.0.113.1", 0)},
		{"udplite", snat(newFlow(flow.UDPLite, "10.0.0.1", 9, "203.0.113.1", 9), "198.51.100.1", 1009)},
		{"sctp snat", withExtra(with(snat(newFlow(flow.SCTP, "10.0.0.1", 36412, "203.0.113.1", 36412), "198.51.100.1", 1036), func(f *flow.Flow) { f.State = 4 }),
			func(x *flow.Extra) { x.VTag = [2]uint32{0x11223344, 0x55667788} })},
		{"zone", with(newFlow(flow.TCP, "10.0.0.1", 40000, "203.0.113.1", 443), func(f *flow.Flow) { f.Zone = 5 })},
		{"zone orig", with(newFlow(flow.TCP, "10.0.0.1", 40010, "203.0.113.1", 443), func(f *flow.Flow) { f.Zone, f.ZoneDir = 6, flow.ZoneOrig })},
		{"zone reply", with(newFlow(flow.TCP, "10.0.0.1", 40011, "203.0.113.1", 443), func(f *flow.Flow) { f.Zone, f.ZoneDir = 7, flow.ZoneReply })},
		{"master ftp", withExtra(ftp, func(x *flow.Extra) { x.Helper = helperName("ftp") })},
		{"child", withExtra(with(newFlow(flow.TCP, "203.0.113.21", 20, "10.0.0.9", 2101), func(f *flow.Flow) { f.Status |= flow.Expected }),
			func(x *flow.Extra) { x.HasMaster, x.Master = true, ftp.Key })},
		{"seqadj", withExtra(snat(newFlow(flow.TCP, "10.0.0.1", 40012, "203.0.113.1", 21), "198.51.100.1", 40012), func(x *flow.Extra) {
			x.HasSeqAdj, x.SeqAdj = true, [2]flow.SeqAdj{{Pos: 1000, Before: 0, After: 3}, {Pos: 7, Before: 8, After: 0xfffffffe}}
		})},
		{"synproxy", withExtra(newFlow(flow.TCP, "10.0.0.1", 40013, "203.0.113.1", 443), func(x *flow.Extra) {
			x.HasSynProxy, x.SynProxy = true, flow.SynProxy{ISN: 1, ITS: 2, TSOff: 3}
		})},
		{"labels", withExtra(newFlow(flow.TCP, "10.0.0.1", 40014, "203.0.113.1", 443), func(x *flow.Extra) { x.Labels = [16]byte{0: 2, 15: 0x80} })},
		{"fixed timeout", with(newFlow(flow.UDP, "10.0.0.1", 5356, "203.0.113.53", 53), func(f *flow.Flow) { f.Status |= flow.FixedTime })},
	}
}
