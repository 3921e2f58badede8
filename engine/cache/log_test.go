package cache

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// share is the digest of one key in tests: any function that tells all three apart.
func share(k *key, born, seq uint64) uint64 {
	return (uint64(k.a)+1)*0x9e3779b97f4a7c15 ^ born*0xbf58476d1ce4e5b9 ^ seq*0x94d049bb133111eb
}

// listed is one key of a log.
type listed struct {
	born, seq uint64
	tomb      Bits
}

// logModel is a Log as a map.
type logModel struct {
	last, horizon uint64
	keys          map[key]listed
}

func (m *logModel) put(k key, fresh bool) {
	m.last++
	was, ok := m.keys[k]
	if fresh || !ok || was.tomb != 0 {
		was.born = m.last
	}
	m.keys[k] = listed{was.born, m.last, 0}
}

func (m *logModel) end(k key, kind Bits) {
	if was, ok := m.keys[k]; ok && was.tomb == 0 {
		m.last++
		m.keys[k] = listed{was.born, m.last, kind}
	}
}

func (m *logModel) prune(upTo uint64, limit int) {
	tombs := m.sorted(func(l listed) bool { return l.tomb != 0 })
	for i, k := range tombs {
		if seq := m.keys[k].seq; seq <= upTo || len(tombs)-i > limit {
			m.horizon = seq
			delete(m.keys, k)
		}
	}
}

func (m *logModel) sorted(which func(listed) bool) (ks []key) {
	for k, l := range m.keys {
		if which(l) {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, func(a, b key) int { return int(m.keys[a].seq) - int(m.keys[b].seq) })
	return ks
}

// logPair is a Log beside its model.
type logPair struct {
	tbl *Table[key, value]
	log *Log[key, value]
	m   logModel
}

func newLogPair() *logPair {
	p := &logPair{tbl: New[key, value](good, nil)}
	p.log = NewLog(p.tbl, 0, share)
	p.m.keys = map[key]listed{}
	return p
}

func (p *logPair) put(k key, fresh bool) {
	p.log.Put(p.tbl.Insert(&k), fresh).Value.v = p.log.Last
	p.m.put(k, fresh)
}

func (p *logPair) end(k key, kind Bits) {
	if r := p.tbl.Find(&k); r != 0 {
		p.log.End(r, kind)
		p.tbl.Release(r)
	}
	p.m.end(k, kind)
}

func (p *logPair) prune(upTo uint64, limit int) {
	p.log.Prune(upTo, limit, 1<<30, func(r Ref) { p.tbl.Release(r) })
	p.m.prune(upTo, limit)
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// compare looks at everything a Log says, from the beginning and from after.
func (p *logPair) compare(t fataler, after uint64) {
	t.Helper()
	all := p.m.sorted(func(listed) bool { return true })
	live, tombs, digest := 0, 0, uint64(0)
	for _, k := range all {
		l := p.m.keys[k]
		if l.tomb != 0 {
			tombs++
			continue
		}
		live, digest = live+1, digest+share(&k, l.born, l.seq)
	}
	l := p.log
	if l.Last != p.m.last || l.Live != live || l.Tombs != tombs || l.Horizon != p.m.horizon || l.Digest != digest {
		t.Fatalf("last %d live %d tombs %d horizon %d digest %x, want %d %d %d %d %x",
			l.Last, l.Live, l.Tombs, l.Horizon, l.Digest, p.m.last, live, tombs, p.m.horizon, digest)
	}
	p.walk(t, all, 0)
	p.walk(t, all, after)
	if len(l.tombs) > 3*l.Tombs+2*pageSize {
		t.Fatalf("%d places kept for %d tombstones", len(l.tombs), l.Tombs)
	}
	if p.tbl.Len() != len(all) || p.tbl.Copies() != len(all) {
		t.Fatalf("%d entries and %d copies for %d keys", p.tbl.Len(), p.tbl.Copies(), len(all))
	}
}

// walk reads the log from after on.
func (p *logPair) walk(t fataler, all []key, after uint64) {
	t.Helper()
	for _, k := range all {
		want := p.m.keys[k]
		if want.seq <= after {
			continue
		}
		c := p.log.Next(after)
		if c == nil {
			t.Fatalf("nothing after %d, want %d", after, want.seq)
		}
		got := listed{c.Born, c.Seq, c.Bits}
		if got != want || p.tbl.Entry(c.Entry()).Key != k || want.tomb == 0 && c.Value.v != c.Seq {
			t.Fatalf("after %d comes %+v of %v with value %d, want %+v of %v", after, got, p.tbl.Entry(c.Entry()).Key, c.Value.v, want, k)
		}
		if r := c.Entry(); p.log.Get(r) != c || (p.log.Lives(r) == c) != (want.tomb == 0) {
			t.Fatalf("Get or Lives of %v disagree with Next", k)
		}
		after = c.Seq
	}
	if c := p.log.Next(after); c != nil {
		t.Fatalf("%d comes after the end %d", c.Seq, after)
	}
}

func TestLogIsAMapInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newLogPair()
		someKey := rapid.Custom(func(t *rapid.T) key { return key{rapid.Uint32Range(0, 40).Draw(t, "key")} })
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) { p.put(someKey.Draw(t, "k"), rapid.Bool().Draw(t, "fresh")) },
			"end": func(t *rapid.T) {
				p.end(someKey.Draw(t, "k"), rapid.SampledFrom([]Bits{Ended, Yielded}).Draw(t, "kind"))
			},
			"prune": func(t *rapid.T) {
				p.prune(rapid.Uint64Range(0, p.log.Last).Draw(t, "upTo"), rapid.IntRange(0, 40).Draw(t, "limit"))
			},
			"": func(t *rapid.T) { p.compare(t, rapid.Uint64Range(0, p.log.Last+1).Draw(t, "after")) },
		})
	})
}

// TestLogOverManyBlocks churns through thin, joined and dropped blocks: some keys change all the time, some
// for a while, and a few stay as they are.
func TestLogOverManyBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := newLogPair()
	next := uint32(1000)
	for round := range 120 {
		for range 2000 {
			switch n := rng.Uint32N(100); {
			case n < 60:
				p.put(key{rng.Uint32N(500)}, n < 10)
			case n < 65:
				p.end(key{rng.Uint32N(500)}, Yielded) // and comes back
			case n < 80:
				p.put(key{next}, true)
				next++
			case n < 99:
				p.end(key{1000 + rng.Uint32N(next-999)}, Ended)
			default:
				p.put(key{1<<20 + next}, true) // stays
				next++
			}
		}
		p.prune(p.log.Last-uint64(rng.Uint32N(4000)), 3000)
		if round%10 == 0 {
			p.compare(t, uint64(rng.Uint32N(uint32(p.log.Last))))
		}
	}
	p.compare(t, p.log.Last/2)
}

// TestLogCostsKeysNotHistory: one survivor in a thousand changes, long enough that history is a thousand
// times what is left.
func TestLogCostsKeysNotHistory(t *testing.T) {
	tbl := New[key, value](good, nil)
	l := NewLog(tbl, 0, share)
	const survivors = 2000
	for i := range uint32(survivors) {
		l.Put(tbl.Insert(&key{i}), true)
		for range 1000 {
			l.Put(tbl.Insert(&key{1 << 20}), false)
		}
	}
	if per := l.places.bytes() / survivors; per > 32 {
		t.Errorf("%d bytes of places per key after %d changes", per, l.Last)
	}
	after, n := uint64(0), 0
	for c := l.Next(0); c != nil; c = l.Next(after) {
		after, n = c.Seq, n+1
	}
	if n != survivors+1 {
		t.Errorf("%d keys in the log, want %d", n, survivors+1)
	}
}

func (p *places) bytes() (n int) {
	for i := range p.blocks {
		n += 64 + 4*cap(p.blocks[i].refs) + 4*cap(p.blocks[i].offs)
	}
	return n
}

// TestLogCostsKeysWhenTheyEnd: blocks that were full shrink as their keys end, and are not looked at again.
func TestLogCostsKeysWhenTheyEnd(t *testing.T) {
	p := newLogPair()
	const n = 200 * blockSize
	for i := range uint32(n) {
		p.put(key{i}, true)
	}
	for i := range uint32(n) {
		if i%10 != 0 {
			p.log.End(p.tbl.Find(&key{i}), Ended)
		}
	}
	p.log.Prune(p.log.Last, 0, n, func(r Ref) { p.tbl.Release(r) })
	if per := p.log.places.bytes() / (n / 10); per > 24 {
		t.Errorf("%d bytes of places per key after nine of ten ended", per)
	}
}

// TestPlacesGet finds what is there and nothing else, in dense and in thin blocks.
func TestPlacesGet(t *testing.T) {
	var p places
	for seq := uint64(1); seq < 5*blockSize; seq++ {
		p.append(seq, Ref(seq))
	}
	for seq := uint64(1); seq < 4*blockSize; seq++ {
		if seq%5 != 0 {
			p.remove(seq)
		}
	}
	for seq := range uint64(5*blockSize + 3) {
		want := Ref(seq)
		if seq == 0 || seq >= 5*blockSize || seq < 4*blockSize && seq%5 != 0 {
			want = 0
		}
		if got := p.get(seq); got != want {
			t.Fatalf("%d is at %d, want %d", seq, got, want)
		}
	}
}

// TestLogForgetsSupersededTombstones: a key that comes and goes costs one place, though nothing is pruned.
func TestLogForgetsSupersededTombstones(t *testing.T) {
	p := newLogPair()
	for range 20000 {
		p.put(key{1}, true)
		p.end(key{1}, Ended)
	}
	p.compare(t, 0)
}

// TestPruneKeepsItsBudget: no call looks at more than it was allowed to.
func TestPruneKeepsItsBudget(t *testing.T) {
	p := newLogPair()
	for i := range uint32(100) {
		p.put(key{i}, true)
		p.end(key{i}, Ended)
	}
	for _, want := range []int{70, 40, 10, 0} {
		p.log.Prune(p.log.Last, 0, 30, func(r Ref) { p.tbl.Release(r) })
		if p.log.Tombs != want {
			t.Fatalf("%d tombstones left, want %d", p.log.Tombs, want)
		}
	}
}
