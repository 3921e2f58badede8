package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzOpen: nothing that comes in by the link makes a reader fail, whoever wrote it.
func FuzzOpen(f *testing.F) {
	for _, b := range sampleFrames() {
		f.Add(b)
		f.Add(b[:len(b)-sumLen])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, Seal(append([]byte(nil), b...))} {
			var h Header
			body, err := Open(in, ClusterHash("fw"), &h)
			if err != nil {
				continue
			}
			if again := append(AppendHeader(nil, &h), body...); in[4] <= 3 && (in[4]&1 == 1) == (h.Dest != Epoch{}) && string(Seal(again)) != string(in) {
				t.Fatalf("written again it is\n%x, was\n%x", Seal(again), in)
			}
		}
	})
}

// FuzzData: what is read, written and read again is the same, and keeps the bounds of its range.
func FuzzData(f *testing.F) {
	b, _ := sampleBody()
	f.Add(b)
	recs := samples()
	for i := range recs {
		r := &recs[i]
		f.Add(AppendRecord(AppendDataPrefix(nil, 1000, 9), 1000, r.Seq, r.Born, r.Tomb, &r.Key, &r.Value, r.Extra))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		prev, last, recs, err := readAll(b)
		if err != nil {
			return
		}
		before := prev
		for _, r := range recs {
			if r.Seq <= before || r.Seq > last || r.Born == 0 || r.Born > r.Seq {
				t.Fatalf("seq %d born %d after %d in (%d, %d]", r.Seq, r.Born, before, prev, last)
			}
			before = r.Seq
		}
		_, _, again, err := readAll(body(prev, last, recs))
		if err != nil || !cmp.Equal(recs, again) {
			t.Fatalf("%v:\n%s", err, cmp.Diff(recs, again))
		}
	})
}

// FuzzAsk is FuzzData for questions.
func FuzzAsk(f *testing.F) {
	f.Add(AppendAsk(nil, &Ask{Range: Range{5, 700}, Base: 6, Credit: 64}))
	f.Add(AppendAsk(nil, &Ask{Range: Range{5, 700}, Base: 6, Credit: 64, Further: []Range{{710, 720}, {1000, 70000}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a, again Ask
		if DecodeAsk(b, &a) != nil {
			return
		}
		before := a.To
		for _, r := range a.Further {
			if r.From <= before || r.To <= r.From {
				t.Fatalf("%v after %d", r, before)
			}
			before = r.To
		}
		if err := DecodeAsk(AppendAsk(nil, &a), &again); err != nil || !cmp.Equal(a, again) {
			t.Fatalf("%v:\n%s", err, cmp.Diff(a, again))
		}
	})
}

// FuzzHeartbeat is FuzzData for heartbeats.
func FuzzHeartbeat(f *testing.F) {
	h := sampleBeat()
	f.Add(AppendHeartbeat(nil, &h))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again Heartbeat
		if DecodeHeartbeat(b, &h) != nil {
			return
		}
		if err := DecodeHeartbeat(AppendHeartbeat(nil, &h), &again); err != nil || !cmp.Equal(h, again) {
			t.Fatalf("%v:\n%s", err, cmp.Diff(h, again))
		}
	})
}
