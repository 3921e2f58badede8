package kernel

import (
	"math/rand"
	"testing"

	"ctsync/engine/flow"
)

// TestPlainTuples: what is read at one go is what taking it apart gives, however the tuple is broken.
func TestPlainTuples(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	met := map[bool]int{}
	for _, family := range []uint8{flow.IPv4, flow.IPv6} {
		for _, l4 := range []uint8{flow.TCP, flow.UDP, flow.UDPLite, flow.SCTP, flow.DCCP, flow.GRE, flow.ICMP, flow.ICMPv6, flow.ESP} {
			whole := appendTuple(nil, ctaTupleOrig, &flow.Key{L3: family, L4: l4}, anyTuple(rng, family), 0)[attrHeader:]
			met[samePlain(t, whole, family)]++
			for range 2000 {
				b := append([]byte(nil), whole...)
				b[rng.Intn(len(b))] = byte(rng.Intn(48))
				samePlain(t, b[:len(b)-4*max(rng.Intn(12)-9, 0)], family)
			}
		}
	}
	if met[true] != 2*6 { // of what has two ports
		t.Errorf("%d tuples were plain", met[true])
	}
	for name, m := range goldens(t) {
		if eachTuple(m, func(b []byte, family uint8) { met[samePlain(t, b, family)]++ }); t.Failed() {
			t.Fatal(name)
		}
	}
	if met[true] < 40 {
		t.Errorf("%d tuples of real kernels were plain", met[true])
	}
}

func anyTuple(rng *rand.Rand, family uint8) *flow.Tuple {
	t := flow.Tuple{SrcL4: uint16(rng.Uint32()), DstL4: uint16(rng.Uint32())}
	size := 4
	if family == flow.IPv6 {
		size = 16
	}
	rng.Read(t.Src[:size])
	rng.Read(t.Dst[:size])
	return &t
}

// samePlain says whether b is plain, and checks that it is then read as any other.
func samePlain(t *testing.T, b []byte, family uint8) bool {
	t.Helper()
	var gotKey, wantKey flow.Key
	var got, want flow.Tuple
	if !decodePlain(b, family, &gotKey, &got) {
		if got != want || gotKey != wantKey {
			t.Errorf("%x is not plain, and written", b)
		}
		return false
	}
	if err := decodeAnyTuple(b, family, &wantKey, &want, flow.ZoneOrig); err != nil || got != want || gotKey != wantKey {
		t.Errorf("%x is %v of %v, want %v of %v, %v", b, got, gotKey, want, wantKey, err)
	}
	return true
}

// eachTuple gives both tuples of a flow's message.
func eachTuple(m []byte, f func(b []byte, family uint8)) {
	for b := m[headers:]; len(b) > 0; {
		typ, v, rest, err := next(b)
		if err != nil {
			return
		}
		if typ == ctaTupleOrig || typ == ctaTupleReply {
			f(v, m[netlinkHeader])
		}
		b = rest
	}
}
