package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// Message types: NFNL_SUBSYS_CTNETLINK<<8 | enum cntl_msg_types.
const (
	msgNew    = unix.NFNL_SUBSYS_CTNETLINK << 8
	msgGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	msgDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
)

// Sizes of struct nlmsghdr, of struct nfgenmsg, and of both.
const (
	netlinkHeader = 16
	nfgenHeader   = 4
	headers       = netlinkHeader + nfgenHeader
)

// maxMessage is more than the longest message of appendOp takes, everything rare in it.
const maxMessage = 1024

// appendHeader appends both headers; finish sets the length when the message that began at is whole.
func appendHeader(b []byte, typ, flags uint16, seq uint32, family uint8) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0) // nlmsg_pid: the kernel's
	return append(b, family, unix.NFNETLINK_V0, 0, 0)
}

func finish(b []byte, at int) []byte {
	binary.NativeEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

// appendOp appends the message for op: sequence number seq, flags besides those that the operation needs.
func appendOp(b []byte, seq uint32, flags uint16, op *flow.Op) []byte {
	at, f := len(b), &op.Flow
	if f.Kind == flow.KindExpect {
		return finish(appendExpectOp(b, seq, flags, op), at)
	}
	switch op.Kind {
	case flow.OpCreate:
		b = appendHeader(b, msgNew, flags|unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, f.L3)
		b = appendCreate(b, f)
	case flow.OpUpdate:
		b = appendHeader(b, msgNew, flags, seq, f.L3)
		b = appendUpdate(b, f)
	case flow.OpDelete:
		// A delete without a tuple would flush the whole table.
		b = appendHeader(b, msgDelete, flags, seq, f.L3)
		b = appendOrig(b, f)
		if f.ID != 0 {
			b = put32(b, ctaID, f.ID)
		}
	case flow.OpGet:
		b = appendHeader(b, msgGet, flags, seq, f.L3)
		b = appendOrig(b, f)
	case flow.OpGetReply:
		b = appendHeader(b, msgGet, flags, seq, f.L3)
		b = appendReply(b, f, &f.Reply)
	}
	return finish(b, at)
}

// appendCreate: NAT goes in as CTA_NAT_SRC and CTA_NAT_DST over a reply tuple without NAT. Over a reply
// tuple that has the NAT already the kernel would find nothing to change, and translate no packet.
func appendCreate(b []byte, f *flow.Flow) []byte {
	reply := f.Inverse()
	if f.L4 == flow.GRE {
		reply = untranslatedGRE(f)
	}
	b = appendOrigOnly(b, f)
	b = appendTuple(b, ctaTupleReply, &f.Key, &reply, zoneOf(f, flow.ZoneReply))
	b = appendZone(b, f)
	status := f.Status&flow.SettableStatus | flow.Confirmed
	if f.L4 == flow.GRE {
		// The kernel keeps GRE's timeouts in the entry and sets them for one that a packet makes: the first packet
		// of any other would give it a timeout of 0, and with that its end (nf_conntrack_proto_gre.c).
		status |= flow.FixedTime
	}
	b = put32(b, ctaStatus, status)
	b = put32(b, ctaTimeout, max(f.Timeout, 1)) // with 0 it would be gone at once
	if f.Mark != 0 {
		b = put32(b, ctaMark, f.Mark)
	}
	b = appendTranslation(b, f)
	b = appendProtoInfo(b, f)
	return appendExtra(b, f)
}

// appendTranslation asks for what is translated, and of a flow whose source alone is, for the destination to become what it
// is. Not told so, the kernel searches its table for another flow with the reply tuple of which nothing is translated yet
// (get_unique_tuple in nf_nat_core.c), to no avail: it changes no destination's port. That is a tenth of what a creation costs.
func appendTranslation(b []byte, f *flow.Flow) []byte {
	source, sourceL4, fromSource := f.SourceNAT()
	dest, destL4, toDest := f.DestNAT()
	if fromSource {
		b = appendNAT(b, ctaNATSrc, f, source, sourceL4, translatesSource(f.L4))
	}
	if !toDest && fromSource && translatesDest(f.L4) && f.L4 != flow.GRE {
		dest, destL4, toDest = f.Dst, f.DstL4, true
	}
	if toDest {
		b = appendNAT(b, ctaNATDst, f, dest, destL4, translatesDest(f.L4))
	}
	return b
}

// untranslatedGRE is the reply tuple to translate the addresses of. The kernel cannot be told to translate the key of a
// flow that has no master yet, which a create gives it last (ctnetlink_create_conntrack), but takes what the
// reply tuple says. It translates packets only if it has translated something itself: where that is the key alone, the
// address is none, and is translated to what it was.
func untranslatedGRE(f *flow.Flow) flow.Tuple {
	plain := f.Inverse()
	reply := plain
	reply.SrcL4, reply.DstL4 = f.Reply.SrcL4, f.Reply.DstL4
	if f.Reply.Src == plain.Src && f.Reply.SrcL4 != plain.SrcL4 {
		reply.Src = flow.Addr{}
	}
	if f.Reply.Dst == plain.Dst && f.Reply.DstL4 != plain.DstL4 {
		reply.Dst = flow.Addr{}
	}
	return reply
}

// appendUpdate leaves out what the kernel refuses to change: NAT, master, helper.
func appendUpdate(b []byte, f *flow.Flow) []byte {
	b = appendOrig(b, f)
	// The kernel sets Expected with the master; to say otherwise is EBUSY.
	b = put32(b, ctaStatus, f.Status&(flow.SettableStatus|flow.Expected)|flow.Confirmed)
	if f.Status&flow.FixedTime == 0 { // else EPERM
		b = put32(b, ctaTimeout, max(f.Timeout, 1))
	}
	b = put32(b, ctaMark, f.Mark)
	b = appendProtoInfo(b, f)
	return appendChangeable(b, f)
}

// appendOrig names the flow: original tuple and zone.
func appendOrig(b []byte, f *flow.Flow) []byte { return appendZone(appendOrigOnly(b, f), f) }

func appendOrigOnly(b []byte, f *flow.Flow) []byte {
	return appendTuple(b, ctaTupleOrig, &f.Key, &f.Tuple, zoneOf(f, flow.ZoneOrig))
}

func appendReply(b []byte, f *flow.Flow, reply *flow.Tuple) []byte {
	return appendZone(appendTuple(b, ctaTupleReply, &f.Key, reply, zoneOf(f, flow.ZoneReply)), f)
}

// appendZone appends a zone of both directions; one of a single direction is in that direction's tuple.
func appendZone(b []byte, f *flow.Flow) []byte {
	if f.Zone == 0 || f.ZoneDir != flow.ZoneBoth {
		return b
	}
	return put16(b, ctaZone, f.Zone)
}

// zoneOf is the zone to write into the tuple of direction dir, 0 for none.
func zoneOf(f *flow.Flow, dir uint8) uint16 {
	if f.ZoneDir != dir {
		return 0
	}
	return f.Zone
}

func appendTuple(b []byte, typ uint16, k *flow.Key, t *flow.Tuple, zone uint16) []byte {
	at := len(b)
	b = begin(b, typ)
	b = appendIP(b, k.L3, t)
	b = appendProto(b, k, t)
	if zone != 0 {
		b = put16(b, ctaTupleZone, zone)
	}
	return end(b, at)
}

func appendIP(b []byte, l3 uint8, t *flow.Tuple) []byte {
	at := len(b)
	b = begin(b, ctaTupleIP)
	if l3 == flow.IPv4 {
		b = putBytes(b, ctaIPv4Src, t.Src[:4])
		b = putBytes(b, ctaIPv4Dst, t.Dst[:4])
	} else {
		b = putBytes(b, ctaIPv6Src, t.Src[:])
		b = putBytes(b, ctaIPv6Dst, t.Dst[:])
	}
	return end(b, at)
}

func appendProto(b []byte, k *flow.Key, t *flow.Tuple) []byte {
	at := len(b)
	b = begin(b, ctaTupleProto)
	b = put8(b, ctaProtoNum, k.L4)
	switch k.L4 {
	case flow.ICMP:
		b = put16(b, ctaProtoICMPID, t.SrcL4)
		b = put8(b, ctaProtoICMPType, uint8(t.DstL4>>8))
		b = put8(b, ctaProtoICMPCode, uint8(t.DstL4))
	case flow.ICMPv6:
		b = put16(b, ctaProtoICMPv6ID, t.SrcL4)
		b = put8(b, ctaProtoICMPv6Type, uint8(t.DstL4>>8))
		b = put8(b, ctaProtoICMPv6Code, uint8(t.DstL4))
	case flow.TCP, flow.UDP, flow.UDPLite, flow.SCTP, flow.DCCP, flow.GRE:
		b = put16(b, ctaProtoSrcPort, t.SrcL4)
		b = put16(b, ctaProtoDstPort, t.DstL4)
	}
	return end(b, at)
}

// translatesSource and translatesDest say for which protocols NAT is told the layer-4 key as well, always,
// translated or not: told the address only, the kernel may choose another port, or the one that it gave to another flow
// of the same source. GRE's key is the one of the reply tuple already.
func translatesSource(l4 uint8) bool {
	return translatesDest(l4) || l4 == flow.ICMP || l4 == flow.ICMPv6
}

func translatesDest(l4 uint8) bool {
	switch l4 {
	case flow.TCP, flow.UDP, flow.UDPLite, flow.SCTP, flow.DCCP, flow.GRE:
		return true
	}
	return false
}

// appendNAT asks for the translation to exactly one address and, with key, one port or ICMP id: the kernel takes
// the lower end of a range for the upper one where that is not told (nf_nat_core.c).
func appendNAT(b []byte, typ uint16, f *flow.Flow, addr flow.Addr, l4 uint16, key bool) []byte {
	at := len(b)
	b = begin(b, typ)
	if f.L3 == flow.IPv4 {
		b = putBytes(b, ctaNATv4Min, addr[:4])
	} else {
		b = putBytes(b, ctaNATv6Min, addr[:])
	}
	if key {
		inner := len(b)
		b = begin(b, ctaNATProto)
		b = put16(b, ctaProtoNATMin, l4)
		b = end(b, inner)
	}
	return end(b, at)
}
