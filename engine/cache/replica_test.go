package cache

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// gram is one datagram of a log: records of (prev, last].
type gram struct {
	counter    uint64
	prev, last uint64
	recs       []rec
}

type rec struct {
	k         key
	born, seq uint64
	tomb      Bits
	v         uint64
}

// link carries the log of an origin to a replica, badly: datagrams wait in flight and are lost, doubled and
// delivered in any order. The replica's keeper does what an engine does: asks for gaps, begins again when
// told to, and drops what is older than that.
type link struct {
	from    *logPair
	to      *Table[key, value]
	rep     *Replica[key, value]
	counter uint64
	sent    uint64 // live changes up to here were sent
	flight  []gram
	base    uint64         // end of the log at the last restart: what ended before is not here, or stale
	floor   uint64         // counters below are from before a restart
	applied map[key]uint64 // highest sequence number that took effect, since the restart
	values  map[key]listed // what the replica's keeper was told
}

const peerOwner = 3

func newLink() *link {
	l := &link{from: newLogPair(), to: New[key, value](good, nil)}
	l.rep = NewReplica(l.to, peerOwner, share)
	l.applied, l.values = map[key]uint64{}, map[key]listed{}
	return l
}

func (l *link) release(r Ref) { l.to.Release(r) }

// read makes a datagram of at most most records after from, as the log is now.
func (l *link) read(from, to uint64, most int) gram {
	l.counter++
	g := gram{counter: l.counter, prev: from, last: to}
	for at := from; ; {
		c := l.from.log.Next(at)
		if c == nil || c.Seq > to {
			return g
		}
		if len(g.recs) == most {
			g.last = at
			return g
		}
		k := l.from.tbl.Entry(c.Entry()).Key
		g.recs = append(g.recs, rec{k, c.Born, c.Seq, c.Bits & Tomb, c.Value.v})
		at = c.Seq
	}
}

// deliver gives g to the replica and checks each record's effect.
func (l *link) deliver(t fataler, g gram) {
	t.Helper()
	if g.counter < l.floor {
		return
	}
	for _, r := range g.recs {
		l.apply(t, r)
	}
	have := l.rep.Have
	l.rep.Range(g.prev, g.last, l.release)
	if l.rep.Have < have {
		t.Fatalf("have fell from %d to %d", have, l.rep.Have)
	}
}

func (l *link) apply(t fataler, r rec) {
	t.Helper()
	before := l.rep.Have
	was, known := l.values[r.k]
	ref, c, what := l.rep.Apply(&r.k, r.born, r.seq, r.tomb)
	if what == Ignored {
		if c != nil {
			t.Fatalf("an ignored record has a copy")
		}
		return
	}
	if r.seq <= before || r.seq <= l.applied[r.k] {
		t.Fatalf("%+v took effect with %d known and %d applied", r, before, l.applied[r.k])
	}
	l.applied[r.k] = r.seq
	if want := expected(was, known, r); what != want && what != Confirmed {
		t.Fatalf("%+v over %+v did %d, want %d", r, was, what, want)
	}
	if what == Confirmed && (!known || was.seq != r.seq) {
		t.Fatalf("%+v confirmed %+v", r, was)
	}
	if l.to.Entry(ref).Key != r.k || c.Seq != r.seq || c.Born != r.born || c.Bits&Tomb != r.tomb || c.Bits&Stale != 0 {
		t.Fatalf("%+v left %+v", r, c)
	}
	delete(l.values, r.k)
	if r.tomb == 0 {
		l.values[r.k] = listed{born: r.born, seq: r.seq}
		if what != Confirmed {
			c.Value.v = r.v
		}
	}
}

func expected(was listed, known bool, r rec) Applied {
	switch {
	case r.tomb != 0 && known:
		return Removed
	case r.tomb != 0:
		return Absent
	case !known:
		return Added
	case was.born == r.born:
		return Changed
	}
	return Reborn
}

func (l *link) restart() {
	l.rep.Restart(l.release)
	l.counter++
	l.floor, l.base, l.applied = l.counter, l.from.log.Last, map[key]uint64{}
}

// knows says whether the log still knows of every end that concerns a reader at from.
func (l *link) knows(from uint64) bool { return max(from, l.base) >= l.from.log.Horizon }

// sums says that Live, Stale and Digest are what a recount gives, and that the bounds hold.
func (l *link) sums(t fataler) {
	t.Helper()
	live, stale, digest, tombs := 0, 0, uint64(0), 0
	got := map[key]listed{}
	for i := Ref(1); i <= l.to.TopCopy(); i++ {
		if !l.to.UsedCopy(i) {
			continue
		}
		c := l.to.Copy(i)
		k := l.to.Entry(c.Entry()).Key
		switch {
		case !c.Live():
			tombs++
			continue
		case c.Bits&Stale != 0:
			stale++
		default:
			digest += share(&k, c.Born, c.Seq)
		}
		live++
		got[k] = listed{born: c.Born, seq: c.Seq}
	}
	p := l.rep
	if p.Live != live || p.Stale != stale || p.Digest != digest {
		t.Fatalf("live %d stale %d digest %x, recounted %d %d %x", p.Live, p.Stale, p.Digest, live, stale, digest)
	}
	if !maps.Equal(got, l.values) {
		t.Fatalf("holds %v, was told %v", got, l.values)
	}
	if p.Tombs() < tombs || p.Intervals() > MaxIntervals {
		t.Fatalf("%d tombstones in a list of %d; %d intervals", tombs, p.Tombs(), p.Intervals())
	}
	for i, in := range p.known {
		if in.from >= in.to || in.from <= p.Have || i > 0 && in.from <= p.known[i-1].to {
			t.Fatalf("intervals %v beyond %d", p.known, p.Have)
		}
	}
}

// settle asks until nothing is missing, with a link that works, and proves the outcome.
func (l *link) settle(t fataler) {
	t.Helper()
	log := l.from.log
	for n := 0; ; n++ {
		from, to, missing := l.rep.Gap(log.Last)
		if !missing {
			break
		}
		if n > 10000 {
			t.Fatalf("no end of gaps: have %d of %d, %v", l.rep.Have, log.Last, l.rep.known)
		}
		if !l.knows(from) {
			l.restart()
			continue
		}
		l.deliver(t, l.read(from, to, 3))
	}
	if !l.rep.Agrees(log.Last, log.Live, log.Digest) {
		t.Fatalf("no agreement at %d: live %d stale %d top %d", l.rep.Have, l.rep.Live, l.rep.Stale, l.rep.Top)
	}
	l.rep.Sweep(func(r Ref) { delete(l.values, l.to.Entry(r).Key) }, l.release)
	l.sums(t)
	if l.rep.Live != log.Live || l.rep.Tombs() != 0 || l.to.Len() != log.Live {
		t.Fatalf("live %d, tombstones %d, entries %d; the log lists %d", l.rep.Live, l.rep.Tombs(), l.to.Len(), log.Live)
	}
	for k, w := range l.from.m.keys {
		if w.tomb != 0 {
			continue
		}
		c := l.to.Of(l.to.Find(&k), peerOwner)
		if c == nil || c.Born != w.born || c.Seq != w.seq || c.Value.v != w.seq {
			t.Fatalf("%v is %+v, the log says %+v", k, c, w)
		}
	}
}

// TestReplicaConverges: loss, duplication, any order, pruned tombstones and restarts, and in the end the
// replica is the log.
func TestReplicaConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLink()
		someKey := rapid.Custom(func(t *rapid.T) key { return key{rapid.Uint32Range(0, 12).Draw(t, "key")} })
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) { l.from.put(someKey.Draw(t, "k"), rapid.Bool().Draw(t, "fresh")) },
			"end": func(t *rapid.T) { l.from.end(someKey.Draw(t, "k"), Ended) },
			"live": func(t *rapid.T) {
				g := l.read(l.sent, l.from.log.Last, rapid.IntRange(1, 5).Draw(t, "most"))
				l.sent = g.last
				l.flight = append(l.flight, g)
			},
			"repair": func(t *rapid.T) {
				from, to, missing := l.rep.Gap(l.from.log.Last)
				if missing && l.knows(from) {
					l.flight = append(l.flight, l.read(from, to, rapid.IntRange(1, 5).Draw(t, "most")))
				}
			},
			"deliver": func(t *rapid.T) {
				if len(l.flight) == 0 {
					return
				}
				i := rapid.IntRange(0, len(l.flight)-1).Draw(t, "which")
				l.deliver(t, l.flight[i])
				if rapid.Bool().Draw(t, "once") {
					l.flight = append(l.flight[:i], l.flight[i+1:]...)
				}
			},
			"lose": func(t *rapid.T) {
				if len(l.flight) > 0 {
					i := rapid.IntRange(0, len(l.flight)-1).Draw(t, "which")
					l.flight = append(l.flight[:i], l.flight[i+1:]...)
				}
			},
			"prune":   func(t *rapid.T) { l.from.prune(rapid.Uint64Range(0, l.sent).Draw(t, "upTo"), 1000) },
			"restart": func(t *rapid.T) { l.restart() },
			"settle":  func(t *rapid.T) { l.settle(t) },
			"":        func(t *rapid.T) { l.sums(t) },
		})
		l.settle(t)
	})
}

func nothing(Ref) {}

// TestReplicaOutcomes: one line for each thing that a record can do, in this order on one key.
func TestReplicaOutcomes(t *testing.T) {
	tbl := New[key, value](good, nil)
	p := NewReplica(tbl, peerOwner, share)
	k := key{1}
	for i, step := range []struct {
		born, seq uint64
		tomb      Bits
		mark      Bits // set before
		want      Applied
		bits      Bits // after
	}{
		{5, 5, Ended, 0, Absent, Ended},
		{4, 4, 0, 0, Ignored, Ended}, // older than the tombstone
		{6, 6, 0, 0, Added, 0},
		{6, 7, 0, Adopted | Dead, Changed, Adopted | Dead}, // the same incarnation keeps its marks
		{6, 7, 0, 0, Ignored, Adopted | Dead},
		{6, 6, Ended, 0, Ignored, Adopted | Dead},
		{9, 9, 0, 0, Reborn, 0},
		{9, 9, 0, Stale, Confirmed, 0},
		{9, 10, 0, Stale | Adopted | Refused, Changed, Adopted},
		{9, 11, Yielded, 0, Removed, Yielded},
		{12, 12, 0, 0, Added, 0},
	} {
		if step.mark != 0 {
			c := tbl.Of(tbl.Find(&k), peerOwner)
			if c.Bits |= step.mark; step.mark&Stale != 0 {
				p.Stale++
				p.Digest -= share(&k, c.Born, c.Seq)
			}
		}
		_, _, what := p.Apply(&k, step.born, step.seq, step.tomb)
		if bits := tbl.Of(tbl.Find(&k), peerOwner).Bits; what != step.want || bits != step.bits {
			t.Errorf("step %d: outcome %d and bits %b, want %d and %b", i, what, bits, step.want, step.bits)
		}
	}
	if p.Live != 1 || p.Stale != 0 || p.Digest != share(&k, 12, 12) || p.Tombs() != 1 {
		t.Errorf("live %d, stale %d, tombstones %d, digest %x", p.Live, p.Stale, p.Tombs(), p.Digest)
	}
}

// TestReplicaForgetsIntervals: more gaps than can be remembered cost a repeated question, nothing else.
func TestReplicaForgetsIntervals(t *testing.T) {
	p := NewReplica(New[key, value](good, nil), peerOwner, share)
	for i := range uint64(MaxIntervals + 10) {
		p.Range(10*i+5, 10*i+6, nothing)
	}
	if p.Intervals() != MaxIntervals {
		t.Fatalf("%d intervals", p.Intervals())
	}
	last, asked := uint64(10*(MaxIntervals+10)), 0
	for from, to, missing := p.Gap(last); missing; from, to, missing = p.Gap(last) {
		p.Range(from, to, nothing)
		asked++
	}
	if p.Have != last || asked != MaxIntervals+1 {
		t.Errorf("have %d after %d questions", p.Have, asked)
	}
}

// TestReplicaTombstonesWithAGap: while an old gap is repaired a busy log goes on. The list of tombstones
// holds each key once, and looking through it does not cost more than what was put into it.
func TestReplicaTombstonesWithAGap(t *testing.T) {
	tbl := New[key, value](good, nil)
	p := NewReplica(tbl, peerOwner, share)
	const gap, keys = 20000, 5000
	seq := uint64(gap)
	for range 4 {
		for i := range uint32(keys) {
			p.Apply(&key{i}, seq+1, seq+1, 0)
			p.Apply(&key{i}, seq+1, seq+2, Ended)
			p.Range(seq, seq+2, nothing)
			seq += 2
		}
	}
	if p.Tombs() != keys {
		t.Fatalf("%d tombstones are listed of %d keys", p.Tombs(), keys)
	}
	for at := uint64(0); at < gap; at += 2 {
		p.Range(at, at+2, func(r Ref) { tbl.Release(r) })
	}
	if p.Have != seq || p.Tombs() != 0 || tbl.Len() != 0 {
		t.Errorf("have %d of %d, %d tombstones, %d entries", p.Have, seq, p.Tombs(), tbl.Len())
	}
}

// TestReplicaForgetsTombstonesInRepair: what a repair passes is forgotten although something far beyond the
// gap has to be kept.
func TestReplicaForgetsTombstonesInRepair(t *testing.T) {
	tbl := New[key, value](good, nil)
	p := NewReplica(tbl, peerOwner, share)
	const n = 10 * pageSize
	p.Apply(&key{n + 1}, 1, n+100, Ended)
	p.Range(n+99, n+100, nothing)
	for i := range uint64(n) {
		p.Apply(&key{uint32(i)}, 1, i+1, Ended)
		p.Range(i, i+1, func(r Ref) { tbl.Release(r) })
		if p.Tombs() > pageSize+3 {
			t.Fatalf("%d tombstones with %d known and one beyond", p.Tombs(), p.Have)
		}
	}
}

// TestReplicaTombstoneAgain: a key that ended beyond a gap, came back, and ends again after the gap is closed
// leaves nothing.
func TestReplicaTombstoneAgain(t *testing.T) {
	tbl := New[key, value](good, nil)
	p := NewReplica(tbl, peerOwner, share)
	release := func(r Ref) { tbl.Release(r) }
	p.Apply(&key{1}, 2, 2, Ended)
	p.Apply(&key{1}, 3, 3, 0)
	p.Range(1, 3, release)
	p.Range(0, 1, release)
	if p.Have != 3 || p.Tombs() != 0 || p.Live != 1 {
		t.Fatalf("have %d, %d tombstones, %d live", p.Have, p.Tombs(), p.Live)
	}
	p.Apply(&key{1}, 3, 4, Ended)
	p.Range(3, 4, release)
	if p.Tombs() != 0 || tbl.Len() != 0 {
		t.Errorf("%d tombstones and %d entries are left", p.Tombs(), tbl.Len())
	}
}

// TestReplicaIsNotComplete while anything is missing, or known beyond the end that is compared.
func TestReplicaIsNotComplete(t *testing.T) {
	at := func(prepare func(p *Replica[key, value])) *Replica[key, value] {
		p := NewReplica(New[key, value](good, nil), peerOwner, share)
		p.Range(0, 10, nothing)
		prepare(p)
		return p
	}
	for name, p := range map[string]*Replica[key, value]{
		"an interval beyond": at(func(p *Replica[key, value]) { p.Range(12, 13, nothing) }),
		"a record beyond":    at(func(p *Replica[key, value]) { p.Apply(&key{1}, 11, 11, Ended) }),
		"less":               at(func(p *Replica[key, value]) { p.Restart(nothing); p.Range(0, 9, nothing) }),
		"more":               at(func(p *Replica[key, value]) { p.Range(10, 11, nothing) }),
	} {
		if p.Complete(10) || p.Agrees(10, p.Live, p.Digest) {
			t.Errorf("%s: taken for complete at 10", name)
		}
	}
	if p := at(func(*Replica[key, value]) {}); !p.Complete(10) || !p.Agrees(10, 0, 0) || p.Agrees(10, 1, 0) || p.Agrees(10, 0, 1) {
		t.Error("an empty log of ten changes is not agreed on")
	}
}

// TestReplicaClear: as new, and the table with it; another owner's copies stay.
func TestReplicaClear(t *testing.T) {
	tbl := New[key, value](good, nil)
	p := NewReplica(tbl, peerOwner, share)
	for i := range uint32(100) {
		p.Apply(&key{i}, uint64(i+10), uint64(i+10), Bits(i%3)&Tomb)
	}
	tbl.Add(tbl.Find(&key{3}), 0)
	p.Range(20, 30, nothing)
	p.Clear(func(r Ref) { tbl.Release(r) })
	fresh := NewReplica(tbl, peerOwner, share)
	if p.Have != fresh.Have || p.Live != 0 || p.Stale != 0 || p.Digest != 0 || p.Top != 0 || p.Tombs() != 0 || p.Intervals() != 0 {
		t.Errorf("not as new: %+v", p)
	}
	if tbl.Len() != 1 || tbl.Copies() != 1 {
		t.Errorf("%d entries and %d copies left", tbl.Len(), tbl.Copies())
	}
}
