package wire

import (
	"bytes"
	"encoding/binary"

	"ctsync/engine/flow"
)

// Attribute types. A new one gets the next number; a reader that does not know it skips it.
const (
	attrLabels = iota + 1
	attrHelper
	attrMaster
	attrSeqAdj
	attrSynProxy
	attrVTag
	attrExpect
)

func appendExtra(b []byte, x *flow.Extra) []byte {
	var buf [256]byte
	a := buf[:0]
	if x.Labels != [16]byte{} || x.LabelsCleared {
		a = append(append(a, attrLabels, 16), x.Labels[:]...)
	}
	if x.Helper[0] != 0 {
		n := bytes.IndexByte(x.Helper[:len(x.Helper)-1], 0) // the last byte is NUL
		if n < 0 {
			n = len(x.Helper) - 1
		}
		a = append(append(a, attrHelper, byte(n)), x.Helper[:n]...)
	}
	if x.HasMaster {
		a = append(a, attrMaster, 0)
		at := len(a)
		a = appendMaster(a, &x.Master)
		a[at-1] = byte(len(a) - at)
	}
	if x.HasSeqAdj {
		a = append(a, attrSeqAdj, 24)
		for _, s := range x.SeqAdj {
			a = append32(a, s.Pos, s.Before, s.After)
		}
	}
	if x.HasSynProxy {
		a = append(a, attrSynProxy, 12)
		a = append32(a, x.SynProxy.ISN, x.SynProxy.ITS, x.SynProxy.TSOff)
	}
	if x.VTag != [2]uint32{} {
		a = append(a, attrVTag, 8)
		a = append32(a, x.VTag[0], x.VTag[1])
	}
	if x.Expect != (flow.Expect{}) {
		a = append(a, attrExpect, 0)
		at := len(a)
		a = appendExpect(a, &x.Expect)
		a[at-1] = byte(len(a) - at)
	}
	b = binary.AppendUvarint(b, uint64(len(a)))
	return append(b, a...)
}

func append32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func appendMaster(b []byte, k *flow.Key) []byte {
	b = append(b, k.L3, k.L4)
	b = appendAddr(b, k.L3, &k.Src)
	b = appendAddr(b, k.L3, &k.Dst)
	b = appendL4(appendL4(b, k.SrcL4), k.DstL4)
	b = appendL4(b, k.Zone)
	return append(b, k.ZoneDir)
}

// extra reads the attributes of a record; unknown ones are skipped.
func (r *reader) extra(x *flow.Extra) {
	in := reader{b: r.take(int(min(r.varint(), 1<<16)))}
	for len(in.b) > 0 && !in.bad {
		typ := in.varint()
		a := reader{b: in.take(int(min(in.varint(), 1<<16)))}
		switch typ {
		case attrLabels:
			copy(x.Labels[:], a.take(16))
			x.LabelsCleared = x.Labels == [16]byte{}
		case attrHelper:
			a.bad = len(a.b) > len(x.Helper)-1
			copy(x.Helper[:], a.b)
		case attrMaster:
			x.HasMaster = true
			a.master(&x.Master)
		case attrSeqAdj:
			x.HasSeqAdj = true
			for i := range x.SeqAdj {
				x.SeqAdj[i] = flow.SeqAdj{Pos: a.uint32(), Before: a.uint32(), After: a.uint32()}
			}
		case attrSynProxy:
			x.HasSynProxy = true
			x.SynProxy = flow.SynProxy{ISN: a.uint32(), ITS: a.uint32(), TSOff: a.uint32()}
		case attrVTag:
			x.VTag = [2]uint32{a.uint32(), a.uint32()}
		case attrExpect:
			a.expect(&x.Expect)
		}
		in.bad = in.bad || a.bad
	}
	r.bad = r.bad || in.bad
}

func (r *reader) master(k *flow.Key) {
	k.L3, k.L4 = r.byte(), r.byte()
	r.bad = r.bad || k.L3 != flow.IPv4 && k.L3 != flow.IPv6
	var last flow.Addr
	r.addr(k.L3, &k.Src, &last, false)
	r.addr(k.L3, &k.Dst, &last, false)
	k.SrcL4, k.DstL4 = r.uint16(), r.uint16()
	k.Zone, k.ZoneDir = r.uint16(), r.byte()
}

// hasNAT is in the byte of the direction.
const hasNAT = 0x80

func appendExpect(b []byte, e *flow.Expect) []byte {
	dir := e.NATDir &^ hasNAT
	if e.HasNAT {
		dir |= hasNAT
	}
	b = append(append(b, e.MaskSrc[:]...), e.NATAddr[:]...)
	b = append(appendL4(appendL4(b, e.MaskL4), e.NATL4), dir)
	b = append32(b, e.Class, e.Flags)
	n := bytes.IndexByte(e.Fn[:len(e.Fn)-1], 0) // the last byte is NUL
	if n < 0 {
		n = len(e.Fn) - 1
	}
	return append(b, e.Fn[:n]...)
}

func (r *reader) expect(e *flow.Expect) {
	copy(e.MaskSrc[:], r.take(16))
	copy(e.NATAddr[:], r.take(16))
	e.MaskL4, e.NATL4 = r.uint16(), r.uint16()
	dir := r.byte()
	e.NATDir, e.HasNAT = dir&^hasNAT, dir&hasNAT != 0
	e.Class, e.Flags = r.uint32(), r.uint32()
	r.bad = r.bad || len(r.b) > len(e.Fn)-1
	copy(e.Fn[:], r.b)
}
