// Package flow is one connection tracking entry in the kernel's own terms, and what can happen to it.
//
// Every type here is plain data: no pointers but Flow.Extra, no clock, no I/O. The names follow
// include/uapi/linux/netfilter/nf_conntrack_common.h and nfnetlink_conntrack.h.
package flow

import (
	"fmt"
	"net/netip"
)

// Layer-3 families, as AF_INET and AF_INET6 on Linux (include/linux/socket.h).
const (
	IPv4 uint8 = 2
	IPv6 uint8 = 10
)

// Layer-4 protocol numbers (IANA) that have a key or a state of their own.
const (
	ICMP    uint8 = 1
	TCP     uint8 = 6
	UDP     uint8 = 17
	DCCP    uint8 = 33
	GRE     uint8 = 47
	ESP     uint8 = 50
	AH      uint8 = 51
	ICMPv6  uint8 = 58
	SCTP    uint8 = 132
	UDPLite uint8 = 136
)

// Addr is a layer-3 address in network byte order: IPv4 in the first four bytes, the rest zero. The
// family is the flow's L3. (netip.Addr holds a pointer; a table of millions of flows must not.)
type Addr [16]byte

// AddrFrom converts a, which may be IPv4, IPv4-mapped or IPv6; zone names are dropped.
func AddrFrom(a netip.Addr) (addr Addr) {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		copy(addr[:], b[:])
		return addr
	}
	return a.As16()
}

// Host is an address with its family: 10.0.0.1 and a00:1:: are the same Addr.
type Host struct {
	Addr
	L3 uint8
}

// HostFrom converts a, as AddrFrom does.
func HostFrom(a netip.Addr) Host {
	if a.Unmap().Is4() {
		return Host{AddrFrom(a), IPv4}
	}
	return Host{AddrFrom(a), IPv6}
}

// Netip converts back; l3 is IPv4 or IPv6.
func (a Addr) Netip(l3 uint8) netip.Addr {
	if l3 == IPv4 {
		return netip.AddrFrom4([4]byte(a[:4]))
	}
	return netip.AddrFrom16(a)
}

// Tuple is one direction of a flow. SrcL4 and DstL4 are in host byte order and hold
//   - ports for TCP, UDP, UDP-Lite, SCTP and DCCP,
//   - keys for GRE,
//   - for ICMP and ICMPv6 the id in SrcL4 and type<<8|code in DstL4, as in the kernel's
//     union nf_conntrack_man_proto and dst.u.icmp,
//   - zero for every other protocol.
type Tuple struct {
	Src, Dst     Addr
	SrcL4, DstL4 uint16
}

// Zone directions (NF_CT_ZONE_DIR_*).
const (
	ZoneBoth  uint8 = 0
	ZoneOrig  uint8 = 1
	ZoneReply uint8 = 2
)

// Key identifies a flow: the original tuple, the protocols and the zone beside it.
type Key struct {
	Tuple
	Zone    uint16
	ZoneDir uint8
	L3      uint8
	L4      uint8
	Kind    uint8
}

// Kinds of entries.
const (
	KindFlow   uint8 = 0
	KindExpect uint8 = 1 // an expectation: a flow that a helper announced; its tuple is what the mask leaves of it
)

// Status bits (enum ip_conntrack_status).
const (
	Expected   uint32 = 1 << 0
	SeenReply  uint32 = 1 << 1
	Assured    uint32 = 1 << 2
	Confirmed  uint32 = 1 << 3
	SrcNAT     uint32 = 1 << 4
	DstNAT     uint32 = 1 << 5
	SeqAdjust  uint32 = 1 << 6
	SrcNATDone uint32 = 1 << 7
	DstNATDone uint32 = 1 << 8
	Dying      uint32 = 1 << 9
	FixedTime  uint32 = 1 << 10
	Helper     uint32 = 1 << 13
	Offload    uint32 = 1 << 14
	HWOffload  uint32 = 1 << 15
)

// NATStatus are the bits that a translation sets.
const NATStatus = SrcNAT | DstNAT | SrcNATDone | DstNATDone

// SettableStatus are the bits that a create or an update may carry: what the kernel sets by itself, or
// refuses with EBUSY (IPS_UNCHANGEABLE_MASK), is left out. Confirmed must be added.
const SettableStatus = SeenReply | Assured | FixedTime

// TCP conntrack states (enum tcp_conntrack, include/uapi/linux/netfilter/nf_conntrack_tcp.h).
const (
	TCPNone        uint8 = 0
	TCPSynSent     uint8 = 1
	TCPSynRecv     uint8 = 2
	TCPEstablished uint8 = 3
	TCPFinWait     uint8 = 4
	TCPCloseWait   uint8 = 5
	TCPLastAck     uint8 = 6
	TCPTimeWait    uint8 = 7
	TCPClose       uint8 = 8
	TCPSynSent2    uint8 = 9
)

// Closed says that both ends of the TCP connection with key k and value v have closed it, or one has reset it.
func Closed(k *Key, v *Value) bool {
	return k.L4 == TCP && k.Kind == KindFlow && (v.State == TCPLastAck || v.State == TCPTimeWait || v.State == TCPClose)
}

// TCP flags (IP_CT_TCP_FLAG_*). TCPFlagsKept are those that may be written into another kernel: MAXACK_SET
// (0x20) would make it refuse the resets of half of all connections (measured).
const (
	TCPFlagWindowScale uint8 = 0x01
	TCPFlagSackPerm    uint8 = 0x02
	TCPFlagCloseInit   uint8 = 0x04
	TCPFlagBeLiberal   uint8 = 0x08
	TCPFlagsKept             = TCPFlagWindowScale | TCPFlagSackPerm | TCPFlagBeLiberal
)

// Value is what a flow has besides its key and what is rare.
type Value struct {
	Reply    Tuple    // the reply direction as the kernel holds it, so with NAT in it
	Status   uint32   // status bits, unfiltered
	Timeout  uint32   // seconds left as of the event or dump
	Mark     uint32   // 0: none
	State    uint8    // TCP, SCTP or DCCP state, 0 if the protocol has none
	WScale   [2]uint8 // TCP window scale, original and reply
	TCPFlags [2]uint8 // TCP flags, original and reply, unfiltered
}

// Extra is what most flows lack. The zero value of a field means that the flow does not have it.
type Extra struct {
	Labels   [16]byte  // CTA_LABELS
	Helper   [16]byte  // helper name (NF_CT_HELPER_NAME_LEN), NUL-padded
	Master   Key       // valid if HasMaster
	SeqAdj   [2]SeqAdj // valid if HasSeqAdj, original and reply
	SynProxy SynProxy  // valid if HasSynProxy
	VTag     [2]uint32 // SCTP verification tags, original and reply
	HasMaster,
	HasSeqAdj,
	HasSynProxy bool
	Expect        Expect // valid if the key's Kind is KindExpect, with Master, and Helper the master's
	LabelsCleared bool   // it had labels: a copy that has them must lose them
}

// Expect is what an expectation has besides tuple, timeout and master (struct nf_conntrack_expect). Two of them
// whose tuples meet under their masks clash in the kernel, so that the tuple names one.
type Expect struct {
	MaskSrc Addr   // of the source address; the destination is always meant whole
	MaskL4  uint16 // of the source's layer-4 part
	NATL4   uint16 // what the source is translated back to, with NATAddr
	NATAddr Addr
	Class   uint32
	Flags   uint32   // NF_CT_EXPECT_*
	Fn      [24]byte // what makes the flow follow its master, NUL-padded
	NATDir  uint8    // the direction of the flow that is translated
	HasNAT  bool
}

// Flags of an expectation (NF_CT_EXPECT_*): it stays when a connection has met it, until its time is over; it meets
// none yet; it is of a helper in user space.
const (
	ExpectPermanent uint32 = 1
	ExpectInactive  uint32 = 2
	ExpectUserspace uint32 = 4
)

// SeqAdj is a sequence adjustment of one direction (struct nf_ct_seqadj).
type SeqAdj struct{ Pos, Before, After uint32 }

// SynProxy is the state of a SYN proxy (struct nf_conn_synproxy).
type SynProxy struct{ ISN, ITS, TSOff uint32 }

// Flow is one conntrack entry. ID is the kernel's CTA_ID (host byte order, 0 unknown): it names the entry
// to show and to delete just that one, and says nothing about re-use of a tuple.
type Flow struct {
	Key
	Value
	ID    uint32
	Extra *Extra // nil for the common flow
}

// Inverse is the tuple of the other direction without any NAT (nf_ct_invert_tuple).
func (k *Key) Inverse() Tuple {
	t := k.Tuple
	r := Tuple{Src: t.Dst, Dst: t.Src, SrcL4: t.DstL4, DstL4: t.SrcL4}
	switch k.L4 {
	case ICMP, ICMPv6:
		r.SrcL4 = t.SrcL4
		r.DstL4 = uint16(icmpInverse(k.L4, uint8(t.DstL4>>8)))<<8 | t.DstL4&0xff
	}
	return r
}

// icmpInverse is the type that answers typ, or typ itself for what has no answer (invmap of
// nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c).
func icmpInverse(l4, typ uint8) uint8 {
	if l4 == ICMPv6 {
		switch typ {
		case 128:
			return 129
		case 129:
			return 128
		case 139:
			return 140
		case 140:
			return 139
		}
		return typ
	}
	switch typ {
	case 8:
		return 0
	case 0:
		return 8
	case 13:
		return 14
	case 14:
		return 13
	case 15:
		return 16
	case 16:
		return 15
	case 17:
		return 18
	case 18:
		return 17
	}
	return typ
}

// SourceNAT says whether the source was translated, and to what (address and layer-4 key).
func (f *Flow) SourceNAT() (addr Addr, l4 uint16, ok bool) { return SourceNAT(&f.Key, &f.Value) }

// SourceNAT of a key and its value: the reply direction does not lead back to the original source.
func SourceNAT(k *Key, v *Value) (addr Addr, l4 uint16, ok bool) {
	l4 = v.Reply.DstL4
	if k.L4 == ICMP || k.L4 == ICMPv6 {
		l4 = v.Reply.SrcL4 // the id, which is the same in both directions
	}
	return v.Reply.Dst, l4, l4 != k.SrcL4 || v.Reply.Dst != k.Src
}

// DestNAT says whether the destination was translated, and to what.
func (f *Flow) DestNAT() (addr Addr, l4 uint16, ok bool) { return DestNAT(&f.Key, &f.Value) }

// DestNAT of a key and its value: the reply does not come from the original destination.
func DestNAT(k *Key, v *Value) (addr Addr, l4 uint16, ok bool) {
	if k.L4 == ICMP || k.L4 == ICMPv6 {
		return v.Reply.Src, 0, v.Reply.Src != k.Dst
	}
	return v.Reply.Src, v.Reply.SrcL4, v.Reply.SrcL4 != k.DstL4 || v.Reply.Src != k.Dst
}

// String is for people: protocol and the original direction.
func (k Key) String() string {
	return fmt.Sprintf("%d %s:%d>%s:%d zone %d", k.L4, k.Src.Netip(k.L3), k.SrcL4, k.Dst.Netip(k.L3), k.DstL4, k.Zone)
}
