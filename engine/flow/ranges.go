package flow

import (
	"encoding/binary"
	"net/netip"
)

// ranges are prefixes in a form that is compared in no time, twice for each event: single addresses in a map behind a
// filter of a few bits, others as numbers under a mask.
type ranges struct {
	single map[Host]bool
	bits   [4]uint64 // of the single addresses, see bit
	four   []range4
	six    []range6
}

type range4 struct{ addr, mask uint32 }

type range6 struct{ high, highMask, low, lowMask uint64 }

func (f *Filter) makeRanges() *ranges {
	r := &ranges{single: map[Host]bool{}}
	for h, is := range f.own {
		if is {
			r.addSingle(h)
		}
	}
	for _, p := range f.Ignore {
		r.add(p.Masked())
	}
	return r
}

func (r *ranges) addSingle(h Host) {
	r.single[h] = true
	at, bit := bitOf(&h.Addr)
	r.bits[at] |= bit
}

func (r *ranges) add(p netip.Prefix) {
	a := AddrFrom(p.Addr())
	switch {
	case p.IsSingleIP():
		r.addSingle(HostFrom(p.Addr()))
	case p.Addr().Is4():
		mask := ^uint32(0) << (32 - p.Bits())
		r.four = append(r.four, range4{binary.BigEndian.Uint32(a[:4]) & mask, mask})
	default:
		high, low := ^uint64(0), uint64(0)
		if n := p.Bits(); n <= 64 {
			high = ^uint64(0) << (64 - n)
		} else {
			low = ^uint64(0) << (128 - n)
		}
		r.six = append(r.six, range6{binary.BigEndian.Uint64(a[:8]) & high, high, binary.BigEndian.Uint64(a[8:]) & low, low})
	}
}

// bitOf is where a has its bit: addresses differ in their last bytes most.
func bitOf(a *Addr) (at int, bit uint64) {
	h := a[0] ^ a[1] ^ a[2] ^ a[3]*31 ^ a[13] ^ a[14] ^ a[15]*31
	return int(h >> 6), 1 << (h & 63)
}

func (r *ranges) has(a *Addr, l3 uint8) bool {
	if at, bit := bitOf(a); r.bits[at]&bit != 0 && r.single[Host{*a, l3}] {
		return true
	}
	if l3 == IPv4 {
		n := binary.BigEndian.Uint32(a[:4])
		for i := range r.four {
			if n&r.four[i].mask == r.four[i].addr {
				return true
			}
		}
		return false
	}
	high, low := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	for i := range r.six {
		if p := &r.six[i]; high&p.highMask == p.high && low&p.lowMask == p.low {
			return true
		}
	}
	return false
}
