package wire

import "ctsync/engine/flow"

// DataReader reads the body of a DATA.
type DataReader struct {
	Prev, Last uint64
	r          reader
	before     uint64
	seen       seen
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

// Next reads the next record into rec and says whether there was one. After an error there is none.
func (d *DataReader) Next(rec *Record) (bool, error) {
	if len(d.r.b) == 0 {
		return false, nil
	}
	flags, short := d.r.byte(), d.r.byte()
	if !d.numbers(rec, short) {
		d.r.b = nil
		return false, ErrRecord
	}
	d.before = rec.Seq
	rec.Tomb = 0
	rec.Flow = flow.Flow{}
	d.key(&rec.Flow.Key, flags, short)
	switch {
	case flags&recTomb == 0:
		d.value(rec, flags, short)
	case flags&recYielded != 0:
		rec.Tomb = TombYielded
	default:
		rec.Tomb = TombEnded
	}
	if d.r.bad {
		d.r.b = nil
		return false, ErrRecord
	}
	return true, nil
}

// numbers reads seq and born, and says whether they can be.
func (d *DataReader) numbers(rec *Record, short byte) bool {
	r, step, age := &d.r, uint64(1), uint64(0)
	if short&recNext == 0 {
		step = r.varint()
	}
	if short&recNew == 0 {
		age = r.varint()
	}
	rec.Seq = d.before + step
	rec.Born = rec.Seq - age
	return !r.bad && rec.Seq > d.before && rec.Seq <= d.Last && rec.Born <= rec.Seq && rec.Born != 0
}

func (d *DataReader) key(k *flow.Key, flags, short byte) {
	r, six := &d.r, 0
	k.L3 = flow.IPv4
	if flags&recIPv6 != 0 {
		k.L3, six = flow.IPv6, 1
	}
	if k.L4 = protoBits[six][short&recProto]; k.L4 == 0 {
		k.L4 = r.byte()
	}
	r.addr(k.L3, &k.Src, &d.seen.src, short&recSameSrc != 0)
	r.addr(k.L3, &k.Dst, &d.seen.dst, short&recSameDst != 0)
	if hasL4(k.L4) {
		k.SrcL4, k.DstL4 = r.uint16(), r.uint16()
	}
	if flags&recZone != 0 {
		zone, is := r.uint16(), r.byte()
		k.Zone, k.ZoneDir, k.Kind = zone, is&15, is>>4
		r.bad = r.bad || k.ZoneDir > flow.ZoneReply || k.Kind > flow.KindExpect || zone == 0 && is == 0
	}
}

// addr reads an address, or takes the one seen last, and notes it there. An IPv4 flow cannot repeat what is
// no IPv4 address.
func (r *reader) addr(l3 uint8, a, seen *flow.Addr, same bool) {
	switch {
	case same:
		*a = *seen
		r.bad = r.bad || l3 == flow.IPv4 && [12]byte(a[4:]) != [12]byte{}
	case l3 == flow.IPv6:
		copy(a[:], r.take(16))
	default:
		copy(a[:4], r.take(4))
	}
	*seen = *a
}

func (d *DataReader) value(rec *Record, flags, short byte) {
	r, k, v := &d.r, &rec.Flow.Key, &rec.Flow.Value
	v.Reply = k.Inverse()
	icmp := k.L4 == flow.ICMP || k.L4 == flow.ICMPv6
	if flags&recSNAT != 0 {
		r.addr(k.L3, &v.Reply.Dst, &d.seen.snat, short&recSameSNAT != 0)
		l4 := k.SrcL4
		if short&recSamePort == 0 {
			l4 = r.uint16()
		}
		if icmp {
			v.Reply.SrcL4 = l4
		} else {
			v.Reply.DstL4 = l4
		}
	}
	if flags&recDNAT != 0 {
		r.addr(k.L3, &v.Reply.Src, new(flow.Addr), false)
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
		r.extra(&rec.Extra)
		if rec.Extra != (flow.Extra{}) { // else all of it is a newer version's
			rec.Flow.Extra = &rec.Extra
		}
	}
}
