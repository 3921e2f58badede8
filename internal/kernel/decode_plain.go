package kernel

import (
	"encoding/binary"

	"ctsync/engine/flow"
)

// Nearly every tuple looks alike: two addresses, the protocol and two ports, in the order in which the kernel writes them
// (ctnetlink_dump_tuples in nf_conntrack_netlink.c). It is known by its attributes' headers and read without taking it apart,
// which halves what decoding an event costs.

// head is an attribute's header as a number in the host's order.
func head(typ uint16, length int) uint32 {
	var b [attrHeader]byte
	binary.NativeEndian.PutUint16(b[:], uint16(length))
	binary.NativeEndian.PutUint16(b[2:], typ)
	return binary.NativeEndian.Uint32(b[:])
}

// layout is that of the plain tuples of one family.
type layout struct {
	size         int // of an address
	ip, src, dst uint32
}

var (
	layout4 = layout{4, head(ctaTupleIP|nested, attrHeader+2*(attrHeader+4)), head(ctaIPv4Src, attrHeader+4), head(ctaIPv4Dst, attrHeader+4)}
	layout6 = layout{16, head(ctaTupleIP|nested, attrHeader+2*(attrHeader+16)), head(ctaIPv6Src, attrHeader+16), head(ctaIPv6Dst, attrHeader+16)}

	headProto   = head(ctaTupleProto|nested, portsSize)
	headNum     = head(ctaProtoNum, attrHeader+1)
	headSrcPort = head(ctaProtoSrcPort, attrHeader+2)
	headDstPort = head(ctaProtoDstPort, attrHeader+2)
)

// portsSize is CTA_TUPLE_PROTO's with the protocol and both ports, each padded to 4 bytes.
const portsSize = attrHeader + 3*(attrHeader+4)

// decodePlain reads the value of a tuple if it is a plain one, else it leaves k and t alone and says so.
func decodePlain(b []byte, family uint8, k *flow.Key, t *flow.Tuple) bool {
	l := &layout4
	if family == flow.IPv6 {
		l = &layout6
	}
	at := attrHeader + 2*(attrHeader+l.size) // where CTA_TUPLE_PROTO begins
	if len(b) != at+portsSize {
		return false
	}
	word := binary.NativeEndian.Uint32
	ip, proto := b[:at], b[at:at+portsSize]
	if word(ip) != l.ip || word(ip[4:]) != l.src || word(ip[8+l.size:]) != l.dst ||
		word(proto) != headProto || word(proto[4:]) != headNum || word(proto[12:]) != headSrcPort || word(proto[20:]) != headDstPort {
		return false
	}
	l4 := proto[8]
	if l4 == flow.ICMP || l4 == flow.ICMPv6 { // have no ports
		return false
	}
	if family == flow.IPv4 {
		*(*[4]byte)(t.Src[:]), *(*[4]byte)(t.Dst[:]) = [4]byte(ip[8:]), [4]byte(ip[16:])
	} else {
		t.Src, t.Dst = flow.Addr(ip[8:]), flow.Addr(ip[28:])
	}
	k.L4, t.SrcL4, t.DstL4 = l4, binary.BigEndian.Uint16(proto[16:]), binary.BigEndian.Uint16(proto[24:])
	return true
}
