package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ctsync/engine/flow"
)

// someAddr is drawn from few, so that records repeat addresses, and from all.
func someAddr(t *rapid.T, l3 uint8, name string) (a flow.Addr) {
	if rapid.Bool().Draw(t, name+" of few") {
		a[rapid.IntRange(0, 3).Draw(t, name)] = 9
		return a
	}
	n := 4
	if l3 == flow.IPv6 {
		n = 16
	}
	copy(a[:], rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name))
	return a
}

func someKey(t *rapid.T) (k flow.Key) {
	k.L3 = rapid.SampledFrom([]uint8{flow.IPv4, flow.IPv6}).Draw(t, "l3")
	k.L4 = rapid.OneOf(rapid.SampledFrom([]uint8{flow.TCP, flow.UDP, flow.ICMP, flow.ICMPv6, flow.GRE, flow.SCTP, flow.ESP}), rapid.Byte()).Draw(t, "l4")
	k.Src, k.Dst = someAddr(t, k.L3, "src"), someAddr(t, k.L3, "dst")
	if hasL4(k.L4) {
		k.SrcL4, k.DstL4 = rapid.Uint16().Draw(t, "sport"), rapid.Uint16().Draw(t, "dport")
	}
	if rapid.Bool().Draw(t, "zoned") {
		k.Zone, k.ZoneDir = rapid.Uint16().Draw(t, "zone"), rapid.Uint8Range(0, 2).Draw(t, "zone dir")
	}
	return k
}

func someValue(t *rapid.T, k *flow.Key) (v flow.Value) {
	v.Reply = k.Inverse()
	icmp := k.L4 == flow.ICMP || k.L4 == flow.ICMPv6
	if rapid.Bool().Draw(t, "snat") {
		v.Reply.Dst = someAddr(t, k.L3, "snat address")
		if l4 := rapid.Uint16().Draw(t, "snat l4"); icmp {
			v.Reply.SrcL4 = l4
		} else if hasL4(k.L4) {
			v.Reply.DstL4 = l4
		}
	}
	if rapid.Bool().Draw(t, "dnat") {
		v.Reply.Src = someAddr(t, k.L3, "dnat address")
		if l4 := rapid.Uint16().Draw(t, "dnat l4"); !icmp && hasL4(k.L4) {
			v.Reply.SrcL4 = l4
		}
	}
	v.Status, v.Timeout = rapid.Uint32().Draw(t, "status"), rapid.Uint32().Draw(t, "timeout")
	if rapid.Bool().Draw(t, "marked") {
		v.Mark = rapid.Uint32().Draw(t, "mark")
	}
	if rapid.Bool().Draw(t, "state") {
		v.State = rapid.Byte().Draw(t, "tcp state")
		v.WScale = [2]uint8{rapid.Uint8Range(0, 15).Draw(t, "ws0"), rapid.Uint8Range(0, 15).Draw(t, "ws1")}
		v.TCPFlags = [2]uint8{rapid.Byte().Draw(t, "tf0"), rapid.Byte().Draw(t, "tf1")}
	}
	return v
}

func someExtra(t *rapid.T) *flow.Extra {
	if rapid.Bool().Draw(t, "plain") {
		return nil
	}
	x := &flow.Extra{}
	copy(x.Labels[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "labels"))
	x.LabelsCleared = x.Labels == [16]byte{} && rapid.Bool().Draw(t, "cleared")
	copy(x.Helper[:], rapid.StringMatching(`[a-z.0-9]{0,15}`).Draw(t, "helper"))
	if x.HasMaster = rapid.Bool().Draw(t, "related"); x.HasMaster {
		x.Master = someKey(t)
		if !hasL4(x.Master.L4) {
			x.Master.SrcL4 = 0
		}
	}
	u32 := func(name string) uint32 { return rapid.Uint32().Draw(t, name) }
	if x.HasSeqAdj = rapid.Bool().Draw(t, "adjusted"); x.HasSeqAdj {
		for i := range x.SeqAdj {
			x.SeqAdj[i] = flow.SeqAdj{Pos: u32("pos"), Before: u32("before"), After: u32("after")}
		}
	}
	if x.HasSynProxy = rapid.Bool().Draw(t, "proxied"); x.HasSynProxy {
		x.SynProxy = flow.SynProxy{ISN: u32("isn"), ITS: u32("its"), TSOff: u32("tsoff")}
	}
	if rapid.Bool().Draw(t, "expected") {
		e := &x.Expect
		copy(e.MaskSrc[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "mask"))
		copy(e.NATAddr[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "nat"))
		copy(e.Fn[:], rapid.StringMatching(`[a-z.0-9-]{0,23}`).Draw(t, "function"))
		e.Class, e.Flags, e.MaskL4 = u32("class"), u32("flags"), uint16(u32("mask l4"))
		e.NATDir, e.HasNAT = uint8(rapid.IntRange(0, 1).Draw(t, "dir")), rapid.Bool().Draw(t, "translated")
	}
	if rapid.Bool().Draw(t, "tagged") {
		x.VTag = [2]uint32{u32("tag0"), u32("tag1")}
	}
	if *x == (flow.Extra{}) {
		return nil
	}
	return x
}

// sent is one record as it was written.
type sent struct {
	Seq, Born uint64
	Tomb      uint8
	Key       flow.Key
	Value     flow.Value // none of a tombstone
	Extra     *flow.Extra
}

func someRecords(t *rapid.T, prev uint64) (recs []sent) {
	seq := prev
	for range rapid.IntRange(0, 6).Draw(t, "records") {
		s := sent{Key: someKey(t)}
		seq += rapid.OneOf(rapid.Just(uint64(1)), rapid.Uint64Range(1, 1<<40)).Draw(t, "step")
		s.Seq = seq
		s.Born = rapid.OneOf(rapid.Just(seq), rapid.Uint64Range(1, seq)).Draw(t, "born")
		s.Tomb = rapid.SampledFrom([]uint8{0, 0, TombEnded, TombYielded}).Draw(t, "tomb")
		if s.Tomb == 0 {
			s.Value, s.Extra = someValue(t, &s.Key), someExtra(t)
		}
		recs = append(recs, s)
	}
	return recs
}

func body(prev, last uint64, recs []sent) []byte {
	b := AppendDataPrefix(nil, prev, last)
	var w DataWriter
	w.Begin(prev)
	for i := range recs {
		r := &recs[i]
		b = w.Append(b, r.Seq, r.Born, r.Tomb, &r.Key, &r.Value, r.Extra)
	}
	return b
}

func readAll(b []byte) (prev, last uint64, recs []sent, err error) {
	d, err := OpenData(b)
	if err != nil {
		return 0, 0, nil, err
	}
	var rec Record
	for {
		ok, err := d.Next(&rec)
		if !ok || err != nil {
			return d.Prev, d.Last, recs, err
		}
		s := sent{rec.Seq, rec.Born, rec.Tomb, rec.Flow.Key, rec.Flow.Value, nil}
		if rec.Flow.Extra != nil {
			x := *rec.Flow.Extra
			s.Extra = &x
		}
		recs = append(recs, s)
	}
}

func TestDataIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prev := rapid.Uint64Range(0, 1<<50).Draw(t, "prev")
		recs := someRecords(t, prev)
		last := prev
		if n := len(recs); n > 0 {
			last = recs[n-1].Seq
		}
		last += rapid.Uint64Range(0, 3).Draw(t, "beyond")
		gotPrev, gotLast, got, err := readAll(body(prev, last, recs))
		if err != nil || gotPrev != prev || gotLast != last {
			t.Fatalf("(%d, %d], %v; want (%d, %d]", gotPrev, gotLast, err, prev, last)
		}
		if d := cmp.Diff(recs, got); d != "" {
			t.Fatalf("read differs from written (-want +got):\n%s", d)
		}
	})
}

// TestRecordAlone: what AppendRecord writes can stand anywhere, and takes no more than MaxRecord.
func TestRecordAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recs := append(someRecords(t, 0), someRecords(t, 1<<45)...)
		b := AppendDataPrefix(nil, 0, 1<<60)
		before := uint64(0)
		for i := range recs {
			r, n := &recs[i], len(b)
			b = AppendRecord(b, before, r.Seq, r.Born, r.Tomb, &r.Key, &r.Value, r.Extra)
			if before = r.Seq; len(b)-n > MaxRecord {
				t.Fatalf("%d bytes for a record", len(b)-n)
			}
		}
		if _, _, got, err := readAll(b); err != nil || !cmp.Equal(recs, got) {
			t.Fatalf("%v:\n%s", err, cmp.Diff(recs, got))
		}
	})
}

// TestDataCutShort: a body that ends within a record is refused, one that ends between two has fewer.
func TestDataCutShort(t *testing.T) {
	b, ends := sampleBody()
	for n := range b {
		_, _, recs, err := readAll(b[:n])
		whole := -1
		for i, end := range ends {
			if end == n {
				whole = i
			}
		}
		if (err == nil) != (whole >= 0) || whole >= 0 && len(recs) != whole {
			t.Errorf("cut at %d of %d: %d records, %v", n, len(b), len(recs), err)
		}
		if err != nil && !errors.Is(err, ErrRecord) && !errors.Is(err, ErrBody) {
			t.Errorf("cut at %d: not a refusal of this package: %v", n, err)
		}
	}
}

func TestDataRefusesNonsense(t *testing.T) {
	k := flow.Key{L3: flow.IPv4, L4: flow.ESP}
	v := flow.Value{Reply: k.Inverse()}
	tagged := AppendRecord(AppendDataPrefix(nil, 0, 9), 0, 1, 1, 0, &k, &v, &flow.Extra{VTag: [2]uint32{1, 2}})
	for name, b := range map[string][]byte{
		"an attribute too short":    append(bytes.Clone(tagged[:len(tagged)-11]), 9, attrVTag, 7, 0, 0, 0, 1, 0, 0, 0),
		"a helper's name too long":  append(append(bytes.Clone(tagged[:len(tagged)-11]), 18, attrHelper, 16), "abcdefghijklmnop"...),
		"an attribute beyond":       append(bytes.Clone(tagged[:len(tagged)-11]), 3, attrLabels, 16, 0),
		"a range that wraps":        {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"seq beyond the range":      AppendRecord(AppendDataPrefix(nil, 1, 2), 1, 3, 3, 0, &k, &v, nil),
		"seq that stands still":     AppendRecord(AppendDataPrefix(nil, 1, 2), 2, 2, 2, 0, &k, &v, nil),
		"born as zero":              AppendRecord(AppendDataPrefix(nil, 1, 2), 1, 2, 0, 0, &k, &v, nil),
		"born after seq":            AppendRecord(AppendDataPrefix(nil, 1, 2), 1, 2, 3, 0, &k, &v, nil),
		"a direction without zone":  append(AppendDataPrefix(nil, 0, 1), recZone|recTomb, recNext|recNew|1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2, 0, 0, 0),
		"a zone direction of three": append(AppendDataPrefix(nil, 0, 1), recZone|recTomb, recNext|recNew|1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2, 0, 1, 3),
		"IPv6 repeated as IPv4": append(AppendRecord(AppendDataPrefix(nil, 0, 9), 0, 1, 1, TombEnded,
			&flow.Key{Tuple: flow.Tuple{Src: flow.Addr{15: 1}}, L3: flow.IPv6, L4: flow.TCP}, &v, nil), recTomb, recNext|recNew|recSameSrc|1, 2, 2, 2, 2, 0, 1, 0, 2),
	} {
		if _, _, _, err := readAll(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestUnknownAttributes are skipped, wherever they stand, and what is longer than known is cut.
func TestUnknownAttributes(t *testing.T) {
	k := flow.Key{L3: flow.IPv4, L4: flow.UDP}
	v := flow.Value{Reply: k.Inverse(), Timeout: 7}
	x := flow.Extra{VTag: [2]uint32{1, 2}}
	b := AppendRecord(AppendDataPrefix(nil, 0, 9), 0, 1, 1, 0, &k, &v, &x)
	const attrs = 11 // length, then VTag of 2 + 8 bytes
	for name, put := range map[string][]byte{
		"before": append([]byte{10 + 4, 99, 2, 0xaa, 0xbb}, b[len(b)-attrs+1:]...),
		"after":  append(append([]byte{10 + 5}, b[len(b)-attrs+1:]...), 0x80, 0x01, 2, 0xaa, 0xbb),
		"longer": append(append([]byte{12, attrVTag, 10}, b[len(b)-8:]...), 0xcc, 0xdd),
	} {
		with := append(bytes.Clone(b[:len(b)-attrs]), put...)
		with = AppendRecord(with, 1, 2, 2, TombEnded, &k, &v, nil)
		_, _, recs, err := readAll(with)
		if err != nil || len(recs) != 2 || recs[0].Extra == nil || *recs[0].Extra != x || recs[0].Value != v {
			t.Errorf("%s: %+v, %v", name, recs, err)
		}
	}
}

// TestHelperNameWithoutEnd: the kernel's field has room for 15 bytes and a NUL.
func TestHelperNameWithoutEnd(t *testing.T) {
	k := flow.Key{L3: flow.IPv4, L4: flow.UDP}
	x := flow.Extra{Helper: [16]byte([]byte("abcdefghijklmnop"))}
	_, _, recs, err := readAll(AppendRecord(AppendDataPrefix(nil, 0, 1), 0, 1, 1, 0, &k, &flow.Value{Reply: k.Inverse()}, &x))
	if err != nil || string(recs[0].Extra.Helper[:]) != "abcdefghijklmno\x00" {
		t.Errorf("%+v, %v", recs, err)
	}
}

// TestAttributesOfANewerVersionCostNothing: a flow of which only such are said has nothing rare here.
func TestAttributesOfANewerVersionCostNothing(t *testing.T) {
	k := flow.Key{L3: flow.IPv4, L4: flow.TCP}
	v := flow.Value{Reply: k.Inverse()}
	b := AppendDataPrefix(nil, 0, 1)
	at := len(b)
	b = AppendRecord(b, 0, 1, 1, 0, &k, &v, nil)
	b[at] |= recExtra
	b = append(b, 4, 100, 2, 'h', 'i') // length; type, length, value
	d, err := OpenData(b)
	if err != nil {
		t.Fatal(err)
	}
	var rec Record
	if ok, err := d.Next(&rec); !ok || err != nil || rec.Flow.Extra != nil {
		t.Fatalf("%v, %v, %+v", ok, err, rec.Flow.Extra)
	}
}
