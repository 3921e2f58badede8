package wire

import (
	"encoding/binary"

	"ctsync/engine/flow"
)

// Record is one entry of a log: a flow, or the tombstone of one.
//
// On the wire, with the optional parts as the first byte says:
//
//	flags; seq less the one before, seq less born, varint; layer-4 protocol;
//	source, destination (4 or 16 bytes each); layer-4 source and destination where the protocol has them;
//	zone and its direction
//	tombstone: its kind, and the record ends
//	source NAT: address, layer-4 part; destination NAT likewise
//	status, timeout varint; mark; protocol state, window scales (4 bits each), TCP flags
//	attributes: length varint, then (type, length, value) each varint, varint, bytes
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

const (
	recIPv6 = 1 << iota
	recTomb
	recSNAT
	recDNAT
	recMark
	recState
	recExtra
	recZone
)

// MaxRecord is the most bytes that one record takes.
const MaxRecord = 400

// AppendDataPrefix begins the body of a DATA: it covers (prev, last] of the sender's log.
func AppendDataPrefix(b []byte, prev, last uint64) []byte {
	b = binary.AppendUvarint(b, prev)
	return binary.AppendUvarint(b, last-prev)
}

// AppendRecord writes r; before is the sequence number of the record before it, or prev. x may be nil.
func AppendRecord(b []byte, before, seq, born uint64, tomb uint8, k *flow.Key, v *flow.Value, x *flow.Extra) []byte {
	at := len(b)
	flags := byte(0)
	b = append(b, 0)
	b = binary.AppendUvarint(b, seq-before)
	b = binary.AppendUvarint(b, seq-born)
	b = append(b, k.L4)
	if k.L3 == flow.IPv6 {
		flags |= recIPv6
	}
	b = appendAddr(b, k.L3, &k.Src)
	b = appendAddr(b, k.L3, &k.Dst)
	if hasL4(k.L4) {
		b = appendL4(b, k.SrcL4)
		b = appendL4(b, k.DstL4)
	}
	if k.Zone != 0 || k.ZoneDir != 0 {
		flags |= recZone
		b = binary.BigEndian.AppendUint16(b, k.Zone)
		b = append(b, k.ZoneDir)
	}
	if tomb != 0 {
		b = append(b, tomb)
		b[at] = flags | recTomb
		return b
	}
	if addr, l4, ok := flow.SourceNAT(k, v); ok {
		flags |= recSNAT
		b = appendL4(appendAddr(b, k.L3, &addr), l4)
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
	b[at] = flags
	return b
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

// DataReader reads the body of a DATA.
type DataReader struct {
	Prev, Last uint64
	r          reader
	before     uint64
}

// OpenData begins to read the body of a DATA.
func OpenData(body []byte) (DataReader, error) {
	d := DataReader{r: reader{b: body}}
	d.Prev = d.r.varint()
	n := d.r.varint()
	d.Last = d.Prev + n
	d.before = d.Prev
	if d.r.bad || d.Last < d.Prev {
		return d, ErrBody
	}
	return d, nil
}

// Next reads the next record into rec and says whether there was one.
func (d *DataReader) Next(rec *Record) (bool, error) {
	if len(d.r.b) == 0 {
		return false, nil
	}
	r := &d.r
	flags := r.byte()
	rec.Seq = d.before + r.varint()
	rec.Born = rec.Seq - r.varint()
	if r.bad || rec.Seq <= d.before || rec.Seq > d.Last || rec.Born > rec.Seq || rec.Born == 0 {
		return false, ErrRecord
	}
	d.before = rec.Seq
	rec.Tomb = 0
	rec.Flow = flow.Flow{}
	r.key(&rec.Flow.Key, flags)
	if flags&recTomb != 0 {
		rec.Tomb = r.byte()
		if r.bad || rec.Tomb != TombEnded && rec.Tomb != TombYielded {
			return false, ErrRecord
		}
		return true, nil
	}
	r.value(rec, flags)
	if r.bad {
		return false, ErrRecord
	}
	return true, nil
}

func (r *reader) key(k *flow.Key, flags byte) {
	k.L4 = r.byte()
	k.L3 = flow.IPv4
	if flags&recIPv6 != 0 {
		k.L3 = flow.IPv6
	}
	r.addr(k.L3, &k.Src)
	r.addr(k.L3, &k.Dst)
	if hasL4(k.L4) {
		k.SrcL4, k.DstL4 = r.uint16(), r.uint16()
	}
	if flags&recZone != 0 {
		k.Zone, k.ZoneDir = r.uint16(), r.byte()
		r.bad = r.bad || k.ZoneDir > flow.ZoneReply || k.Zone == 0 && k.ZoneDir == 0
	}
}

func (r *reader) addr(l3 uint8, a *flow.Addr) {
	n := 4
	if l3 == flow.IPv6 {
		n = 16
	}
	copy(a[:], r.take(n))
}

func (r *reader) value(rec *Record, flags byte) {
	k, v := &rec.Flow.Key, &rec.Flow.Value
	v.Reply = k.Inverse()
	icmp := k.L4 == flow.ICMP || k.L4 == flow.ICMPv6
	if flags&recSNAT != 0 {
		r.addr(k.L3, &v.Reply.Dst)
		if l4 := r.uint16(); icmp {
			v.Reply.SrcL4 = l4
		} else {
			v.Reply.DstL4 = l4
		}
	}
	if flags&recDNAT != 0 {
		r.addr(k.L3, &v.Reply.Src)
		if l4 := r.uint16(); !icmp {
			v.Reply.SrcL4 = l4
		}
	}
	v.Status, v.Timeout = r.varint32(), r.varint32()
	if flags&recMark != 0 {
		v.Mark = r.uint32()
	}
	if flags&recState != 0 {
		v.State = r.byte()
		scales := r.byte()
		v.WScale = [2]uint8{scales >> 4, scales & 15}
		v.TCPFlags = [2]uint8{r.byte(), r.byte()}
	}
	if flags&recExtra != 0 {
		rec.Extra = flow.Extra{}
		rec.Flow.Extra = &rec.Extra
		r.extra(&rec.Extra)
	}
}
