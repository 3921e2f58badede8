package flow

// Timeouts are how many seconds the kernel keeps a flow of each state after its last packet: what the
// nf_conntrack_*_timeout* sysctls of net.netfilter say. A 0 is not known. Rules with a timeout policy of their own
// give their flows others.
type Timeouts struct {
	TCP            [16]uint32 // by state (enum tcp_conntrack, and so on)
	UDP, UDPStream uint32     // UDP-Lite has UDP's
	SCTP           [16]uint32 // by state
	DCCP           [16]uint32 // by state
	GRE, GREStream uint32
	ICMP, ICMPv6   uint32
	Generic        uint32

	// Tidied is how much later the entry is gone at the latest.
	Tidied uint32
}

// DefaultTimeouts are those of a kernel that nobody has told anything (net/netfilter/nf_conntrack_proto_*.c of Linux 6.12).
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCP: [16]uint32{
			TCPSynSent: 120, TCPSynRecv: 60, TCPEstablished: 432000, TCPFinWait: 120, TCPCloseWait: 60,
			TCPLastAck: 30, TCPTimeWait: 120, TCPClose: 10, TCPSynSent2: 120,
		},
		UDP: 30, UDPStream: 120,
		// closed, cookie wait, cookie echoed, established, shutdown sent, received, acknowledged, heartbeat sent
		SCTP: [16]uint32{0, 10, 3, 3, 210, 3, 3, 3, 30},
		// request, respond, part open, open, close request, closing, time wait
		DCCP: [16]uint32{0, 240, 480, 480, 43200, 64, 64, 240},
		GRE:  30, GREStream: 180, ICMP: 30, ICMPv6: 30, Generic: 600,
		Tidied: 90, // GC_SCAN_INTERVAL_MAX is 60 s (net/netfilter/nf_conntrack_core.c)
	}
}

// Of is the timeout that a packet would give the flow with key k and value v now.
func (t *Timeouts) Of(k *Key, v *Value) uint32 {
	switch k.L4 {
	case TCP:
		return t.TCP[v.State&15]
	case UDP, UDPLite:
		return stream(v, t.UDP, t.UDPStream)
	case SCTP:
		return t.SCTP[v.State&15]
	case DCCP:
		return t.DCCP[v.State&15]
	case GRE:
		return stream(v, t.GRE, t.GREStream)
	case ICMP:
		return t.ICMP
	case ICMPv6:
		return t.ICMPv6
	}
	return t.Generic
}

// stream: the kernel calls a flow assured once packets have gone both ways for a while, and keeps it for longer.
func stream(v *Value, short, long uint32) uint32 {
	if v.Status&Assured != 0 {
		return long
	}
	return short
}
