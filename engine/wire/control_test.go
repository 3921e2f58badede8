package wire

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestHeartbeatIsRead(t *testing.T) {
	got := Heartbeat{Known: []Known{}, Keys: []byte{}} // used again, as an engine does
	rapid.Check(t, func(t *rapid.T) {
		u64 := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
		want := Heartbeat{
			Min: rapid.Byte().Draw(t, "min"), Max: rapid.Byte().Draw(t, "max"), Role: rapid.Byte().Draw(t, "role"),
			Node: rapid.StringMatching(`[a-z0-9.-]{1,64}`).Draw(t, "node"), Complete: rapid.Bool().Draw(t, "complete"),
			Hot: rapid.Bool().Draw(t, "hot"), Leaving: rapid.Bool().Draw(t, "leaving"),
			Activation: u64("activation"), Last: u64("last"), Count: u64("count"), Digest: u64("digest"), Known: []Known{}, Keys: []byte{},
		}
		if want.WasActive = rapid.Bool().Draw(t, "was active"); want.WasActive {
			want.StandbyFor = time.Duration(rapid.Uint32().Draw(t, "standby for")) * time.Millisecond
		}
		for range rapid.IntRange(0, MaxKnown).Draw(t, "known") {
			want.Known = append(want.Known, Known{Epoch{byte(u64("epoch")), 15: 1}, u64("have"), u64("counter")})
		}
		want.Keys = append(want.Keys, rapid.SliceOfN(rapid.Byte(), 0, MaxKeys).Draw(t, "keys")...)
		b := AppendHeartbeat(nil, &want)
		newer := append(b[:len(b):len(b)], rapid.SliceOf(rapid.Byte()).Draw(t, "of a newer version")...)
		for _, b := range [][]byte{b, newer} {
			if err := DecodeHeartbeat(b, &got); err != nil || !cmp.Equal(want, got) {
				t.Fatalf("%v:\n%s", err, cmp.Diff(want, got))
			}
		}
		if cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); DecodeHeartbeat(b[:cut], &got) == nil {
			t.Fatalf("cut to %d of %d bytes it is taken", cut, len(b))
		}
	})
}

func TestHeartbeatBounds(t *testing.T) {
	var got Heartbeat
	long, many, nameless, keys := sampleBeat(), sampleBeat(), sampleBeat(), sampleBeat()
	keys.Keys = make([]byte, MaxKeys+1)
	long.Node = string(make([]byte, MaxName+1))
	many.Known = make([]Known, MaxKnown+1)
	nameless.Node = ""
	for name, h := range map[string]*Heartbeat{"name": &long, "epochs": &many, "keys": &keys, "no name": &nameless} {
		if err := DecodeHeartbeat(AppendHeartbeat(nil, h), &got); !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAskAndRestartAreRead(t *testing.T) {
	got := Ask{Further: []Range{}} // used again, as an engine does
	rapid.Check(t, func(t *rapid.T) {
		want := Ask{Base: rapid.Uint64().Draw(t, "base"), Credit: rapid.Uint64().Draw(t, "credit"), Further: []Range{}}
		want.From = rapid.Uint64().Draw(t, "from")
		want.To = rapid.Uint64Min(want.From).Draw(t, "to")
		first := len(AppendAsk(nil, &want)) // all that an older version reads
		for at, n := want.To, rapid.IntRange(0, MaxFurther).Draw(t, "further"); len(want.Further) < n; {
			r := Range{From: at + rapid.Uint64Range(1, 1<<40).Draw(t, "apart")}
			r.To = r.From + rapid.Uint64Range(1, 1<<40).Draw(t, "length")
			if at = r.To; r.From <= want.To {
				break // beyond the last number
			}
			want.Further = append(want.Further, r)
		}
		b := AppendAsk(nil, &want)
		if len(b) > AskSize(len(want.Further)) {
			t.Fatalf("%d bytes, at most %d were told", len(b), AskSize(len(want.Further)))
		}
		if err := DecodeAsk(b, &got); err != nil || !cmp.Equal(got, want) {
			t.Fatalf("%v:\n%s", err, cmp.Diff(want, got))
		}
		if len(want.Further) > 0 {
			newer := append(b[:len(b):len(b)], rapid.SliceOf(rapid.Byte()).Draw(t, "of a newer version")...)
			if err := DecodeAsk(newer, &got); err != nil || !cmp.Equal(got, want) {
				t.Fatalf("%v:\n%s", err, cmp.Diff(want, got))
			}
		}
		for n := range b {
			if err := DecodeAsk(b[:n], &got); err == nil && n != first {
				t.Fatalf("cut to %d of %d bytes it is taken", n, len(b))
			}
		}
		r := AppendRestart(nil, want.To)
		if last, err := DecodeRestart(r); err != nil || last != want.To {
			t.Fatalf("restart at %d, %v; want %d", last, err, want.To)
		}
		if _, err := DecodeRestart(r[:len(r)-1]); err == nil {
			t.Fatal("a restart cut short is taken")
		}
	})
	most := Ask{Range: Range{0, 1}}
	for i := range uint64(MaxFurther) {
		most.Further = append(most.Further, Range{10*i + 5, 10*i + 6})
	}
	if err := DecodeAsk(AppendAsk(nil, &most), &got); err != nil {
		t.Error(err)
	}
	tooMany := most
	tooMany.Further = append(tooMany.Further, Range{1e6, 2e6})
	for name, a := range map[string]Ask{
		"ends before it begins":    {Range: Range{2, 1}},
		"touches the one before":   {Range: Range{1, 5}, Further: []Range{{5, 6}}},
		"has nothing":              {Range: Range{1, 5}, Further: []Range{{7, 7}}},
		"is before the one before": {Range: Range{1, 5}, Further: []Range{{8, 9}, {6, 7}}},
		"ends beyond the numbers":  {Range: Range{1, 5}, Further: []Range{{8, 3}}},
		"is one too many":          tooMany,
	} {
		if err := DecodeAsk(AppendAsk(nil, &a), &got); !errors.Is(err, ErrBody) {
			t.Errorf("a range that %s: %v", name, err)
		}
	}
}

func TestHeaderIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Header{Type: Type(rapid.Uint8Range(uint8(Data), uint8(Restart)).Draw(t, "type")), Cluster: rapid.Uint32().Draw(t, "cluster"), Counter: rapid.Uint64().Draw(t, "counter"), Final: rapid.Bool().Draw(t, "final")}
		copy(want.Sender[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "sender"))
		copy(want.Dest[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "dest"))
		in := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		b := Seal(append(AppendHeader(nil, &want), in...))
		if len(b)-len(in) > Overhead {
			t.Fatalf("header and checksum take %d bytes", len(b)-len(in))
		}
		got := Header{Dest: Epoch{1}} // of the datagram before
		out, err := Open(b, want.Cluster, &got)
		if err != nil || got != want || string(out) != string(in) {
			t.Fatalf("%+v %q %v; want %+v %q", got, out, err, want, in)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Open(b, want.Cluster, &got); err == nil {
			t.Fatal("a changed bit goes unseen")
		}
	})
}

// TestFramesCutShort: no datagram is taken that lacks its end.
func TestFramesCutShort(t *testing.T) {
	for name, b := range sampleFrames() {
		var h Header
		for n := range b {
			if _, err := Open(b[:n], ClusterHash("fw"), &h); err == nil {
				t.Errorf("%s cut to %d of %d bytes is taken", name, n, len(b))
			}
		}
	}
}

// TestRefusals: each has its name.
func TestRefusals(t *testing.T) {
	good := sampleFrames()["data"]
	change := func(at int, to byte) []byte {
		b := append([]byte(nil), good[:len(good)-sumLen]...)
		b[at] = to
		return Seal(b)
	}
	flipped := append([]byte(nil), good...)
	flipped[40] ^= 1
	for _, c := range []struct {
		b    []byte
		want error
	}{
		{nil, ErrShort},
		{good[:headerLen+sumLen-1], ErrShort},
		{change(0, 0x10), ErrConntrackd}, // version 1, and so every conntrackd since 2009
		{[]byte{0x1f}, ErrConntrackd},
		{change(1, 0), ErrMagic},
		{change(2, Version+1), ErrVersion},
		{change(3, 0), ErrType},
		{change(3, byte(Answer)+1), ErrType},
		{change(5, 1), ErrSealed},
		{change(6, ^good[6]), ErrCluster},
		{flipped, ErrChecksum},
		{Seal(AppendHeader(nil, &Header{Type: Want, Cluster: ClusterHash("fw"), Dest: Epoch{1}})[:headerLen]), ErrShort},
	} {
		var h Header
		_, err := Open(c.b, ClusterHash("fw"), &h)
		if !errors.Is(err, c.want) {
			t.Errorf("%x: %v, want %v", c.b[:min(len(c.b), 8)], err, c.want)
		}
		listed := false
		for _, r := range Refusals {
			listed = listed || r == err
		}
		if !listed {
			t.Errorf("%v is not in Refusals", err)
		}
	}
}
