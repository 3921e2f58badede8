package wire

import (
	"encoding/binary"

	"ctsync/engine/flow"
)

// Record is one entry of a log: a flow, or the tombstone of one.
//
// On the wire, with the optional parts as the first two bytes say:
//
//	flags (2 bytes)
//	seq less the one before, unless it is 1; seq less born, unless it is 0: varint
//	layer-4 protocol, unless it is TCP, UDP or the family's ICMP
//	source, destination (4 or 16 bytes each), unless the record before has the same
//	layer-4 source and destination (2 bytes each), where the protocol has them
//	zone, its direction and the kind of entry (3 bytes), unless all are 0
//	a tombstone ends here
//	source NAT: address, unless that of the last record with one; layer-4 part, unless it is the original's
//	destination NAT: address, layer-4 part
//	status, timeout varint; mark; protocol state, window scales (4 bits each), TCP flags
//	attributes: length varint, then (type, length, value) each varint, varint, bytes
//
// "Before" is within one DATA: each can be read alone.
type Record struct {
	Seq, Born uint64
	Tomb      uint8 // 0: a flow; else TombEnded or TombYielded
	Flow      flow.Flow
	Extra     flow.Extra // Flow.Extra points here where the record has attributes
}

// Kinds of tombstones.
const (
	TombEnded   = 1
	TombYielded = 2
)

// Flags of the first byte.
const (
	recIPv6 = 1 << iota
	recTomb
	recSNAT
	recDNAT
	recMark
	recState
	recExtra
	recZone
	recYielded = recMark // of a tombstone
)

// Flags of the second byte; the lowest two bits are the protocol.
const (
	recProto    = 3
	recNext     = 1 << 2 // seq is the next one
	recNew      = 1 << 3 // born is seq
	recSameSrc  = 1 << 4
	recSameDst  = 1 << 5
	recSameSNAT = 1 << 6 // address
	recSamePort = 1 << 7 // source NAT kept the layer-4 part
)

// protoBits are the protocols that need no byte, by their number in the flags; 0 is any other.
var protoBits = [2][recProto + 1]uint8{
	{0, flow.TCP, flow.UDP, flow.ICMP},
	{0, flow.TCP, flow.UDP, flow.ICMPv6},
}

func protoBit(l4 uint8, six int) byte {
	for i := byte(1); i <= recProto; i++ {
		if protoBits[six][i] == l4 {
			return i
		}
	}
	return 0
}

// MaxRecord is the most bytes that one record takes.
const MaxRecord = 400

// seen are the addresses of the records before, in one DATA.
type seen struct{ src, dst, snat flow.Addr }

// AppendDataPrefix begins the body of a DATA: it covers (prev, last] of the sender's log.
func AppendDataPrefix(b []byte, prev, last uint64) []byte {
	b = binary.AppendUvarint(b, prev)
	return binary.AppendUvarint(b, last-prev)
}

// DataWriter writes the records of one DATA, in order of seq. A record that is taken back because it did not
// fit must be the last one written.
type DataWriter struct {
	before uint64
	seen   seen
}

// Begin starts the records of a DATA that covers what comes after prev.
func (w *DataWriter) Begin(prev uint64) { *w = DataWriter{before: prev} }

// Append writes one record. x may be nil.
func (w *DataWriter) Append(b []byte, seq, born uint64, tomb uint8, k *flow.Key, v *flow.Value, x *flow.Extra) []byte {
	b = appendRecord(b, &w.seen, w.before, seq, born, tomb, k, v, x)
	w.before = seq
	return b
}

// AppendRecord writes a record that repeats nothing of those before it, which DataWriter does; before is the
// sequence number of the record before it, or prev. x may be nil.
func AppendRecord(b []byte, before, seq, born uint64, tomb uint8, k *flow.Key, v *flow.Value, x *flow.Extra) []byte {
	return appendRecord(b, nil, before, seq, born, tomb, k, v, x)
}

func appendRecord(b []byte, s *seen, before, seq, born uint64, tomb uint8, k *flow.Key, v *flow.Value, x *flow.Extra) []byte {
	at := len(b)
	b = append(b, 0, 0)
	b, flags, short := appendKey(b, s, before, seq, born, k)
	if tomb != 0 {
		flags |= recTomb
		if tomb == TombYielded {
			flags |= recYielded
		}
		b[at], b[at+1] = flags, short
		return b
	}
	if addr, l4, ok := flow.SourceNAT(k, v); ok {
		flags |= recSNAT
		if s != nil && s.snat == addr {
			short |= recSameSNAT
		} else {
			b = appendAddr(b, k.L3, &addr)
		}
		if l4 == k.SrcL4 {
			short |= recSamePort
		} else {
			b = appendL4(b, l4)
		}
		if s != nil {
			s.snat = addr
		}
	}
	if addr, l4, ok := flow.DestNAT(k, v); ok {
		flags |= recDNAT
		b = appendL4(appendAddr(b, k.L3, &addr), l4)
	}
	b = binary.AppendUvarint(b, uint64(v.Status))
	b = binary.AppendUvarint(b, uint64(v.Timeout))
	if v.Mark != 0 {
		flags |= recMark
		b = binary.BigEndian.AppendUint32(b, v.Mark)
	}
	if v.State != 0 || v.WScale != [2]uint8{} || v.TCPFlags != [2]uint8{} {
		flags |= recState
		b = append(b, v.State, v.WScale[0]<<4|v.WScale[1]&15, v.TCPFlags[0], v.TCPFlags[1])
	}
	if x != nil {
		flags |= recExtra
		b = appendExtra(b, x)
	}
	b[at], b[at+1] = flags, short
	return b
}

// appendKey writes what a tombstone has as well.
func appendKey(b []byte, s *seen, before, seq, born uint64, k *flow.Key) (_ []byte, flags, short byte) {
	six := 0
	if k.L3 == flow.IPv6 {
		flags, six = recIPv6, 1
	}
	if seq == before+1 {
		short |= recNext
	} else {
		b = binary.AppendUvarint(b, seq-before)
	}
	if seq == born {
		short |= recNew
	} else {
		b = binary.AppendUvarint(b, seq-born)
	}
	if proto := protoBit(k.L4, six); proto != 0 {
		short |= proto
	} else {
		b = append(b, k.L4)
	}
	if s != nil && s.src == k.Src {
		short |= recSameSrc
	} else {
		b = appendAddr(b, k.L3, &k.Src)
	}
	if s != nil && s.dst == k.Dst {
		short |= recSameDst
	} else {
		b = appendAddr(b, k.L3, &k.Dst)
	}
	if s != nil {
		s.src, s.dst = k.Src, k.Dst
	}
	if hasL4(k.L4) {
		b = appendL4(appendL4(b, k.SrcL4), k.DstL4)
	}
	if k.Zone != 0 || k.ZoneDir != 0 || k.Kind != 0 {
		flags |= recZone
		b = append(binary.BigEndian.AppendUint16(b, k.Zone), k.ZoneDir|k.Kind<<4)
	}
	return b, flags, short
}

func appendL4(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

func appendAddr(b []byte, l3 uint8, a *flow.Addr) []byte {
	if l3 == flow.IPv6 {
		return append(b, a[:]...)
	}
	return append(b, a[:4]...)
}

// hasL4 says whether a protocol's tuple has a layer-4 part.
func hasL4(l4 uint8) bool {
	switch l4 {
	case flow.TCP, flow.UDP, flow.UDPLite, flow.DCCP, flow.SCTP, flow.GRE, flow.ICMP, flow.ICMPv6:
		return true
	}
	return false
}
