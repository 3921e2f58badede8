package cache_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// record is a value as an engine keeps it.
type record struct {
	flow.Value
	_ uint32 // where its rare attributes are
}

type (
	table   = cache.Table[flow.Key, record]
	ownLog  = cache.Log[flow.Key, record]
	replica = cache.Replica[flow.Key, record]
)

func newTable() *table {
	return cache.New[flow.Key, record](func(k *flow.Key) uint64 { return k.Hash(0x5eed) }, nil)
}

func digest(k *flow.Key, born, seq uint64) uint64 {
	return flow.Mix(flow.Mix(k.Hash(0xd19e57), born), seq)
}

// keyOf makes n distinct keys as a firewall sees them: many clients and ports, few servers.
func keyOf(n int) (k flow.Key) {
	k.L3, k.L4 = flow.IPv4, flow.TCP
	k.Src, k.Dst = flow.Addr{10, byte(n >> 24), byte(n >> 14), byte(n >> 8)}, flow.Addr{198, 51, 100, byte(n % 50)}
	k.SrcL4, k.DstL4 = uint16(1024+n&0x3fff), 443
	return k
}

func fillLog(n int) (*table, *ownLog) {
	t := newTable()
	l := cache.NewLog(t, 0, digest)
	for i := range n {
		k := keyOf(i)
		c := l.Put(t.Insert(&k), true)
		c.Value.Value.Timeout = uint32(i)
	}
	return t, l
}

func fillReplica(n int) (*table, *replica) {
	t := newTable()
	p := cache.NewReplica(t, 2, digest)
	for i := range n {
		k := keyOf(i)
		seq := uint64(i + 1)
		_, c, _ := p.Apply(&k, seq, seq, 0)
		c.Value.Value.Timeout = uint32(i)
		p.Range(seq-1, seq, nothing)
	}
	return t, p
}

func nothing(cache.Ref) {}

const million = 1_000_000

// held are keys outside of the loops, as those of an engine's input are: what a Table is given escapes.
type held struct{ a, b flow.Key }

// stride visits keys in an order that no cache foresees.
func stride(i, n int) int { return i * 7919 % n }

func BenchmarkNewFlow(b *testing.B) {
	t := newTable()
	l := cache.NewLog(t, 0, digest)
	var k held
	b.ReportAllocs()
	for i := range b.N {
		k.a = keyOf(i)
		l.Put(t.Insert(&k.a), true)
	}
}

func BenchmarkFind(b *testing.B) {
	t, _ := fillLog(million)
	var k held
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k.a = keyOf(stride(i, million))
		if t.Find(&k.a) == 0 {
			b.Fatal("lost")
		}
	}
}

func BenchmarkChange(b *testing.B) {
	t, l := fillLog(million)
	var k held
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k.a = keyOf(stride(i, million))
		l.Put(t.Find(&k.a), false)
	}
}

// BenchmarkEndAndNew is a flow that ends, and its successor, with every tombstone forgotten in time.
func BenchmarkEndAndNew(b *testing.B) {
	const n = 300_000
	t, l := fillLog(n)
	var k held
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k.a, k.b = keyOf(i), keyOf(i+n)
		l.End(t.Find(&k.a), cache.Ended)
		l.Put(t.Insert(&k.b), true)
		if i%1000 == 0 {
			l.Prune(l.Last-1000, n, 1<<30, func(r cache.Ref) { t.Release(r) })
		}
	}
}

// BenchmarkNext reads a log as a first synchronisation does.
func BenchmarkNext(b *testing.B) {
	_, l := fillLog(million)
	b.ReportAllocs()
	after := uint64(0)
	for b.Loop() {
		c := l.Next(after)
		if c == nil {
			c = l.Next(0)
		}
		after = c.Seq
	}
}

func BenchmarkApplyNew(b *testing.B) {
	t := newTable()
	p := cache.NewReplica(t, 2, digest)
	var k held
	b.ReportAllocs()
	for i := range b.N {
		seq := uint64(i + 1)
		k.a = keyOf(i)
		p.Apply(&k.a, seq, seq, 0)
		if i%40 == 0 {
			p.Range(p.Have, seq, nothing)
		}
	}
}

func BenchmarkApplyChange(b *testing.B) {
	_, p := fillReplica(million)
	var k held
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := stride(i, million)
		seq := uint64(million + i + 1)
		k.a = keyOf(n)
		p.Apply(&k.a, uint64(n+1), seq, 0)
		if i%40 == 0 {
			p.Range(p.Have, seq, nothing)
		}
	}
}

// BenchmarkMemory is what a flow costs, index, log and all, and a whole garbage collection with it.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{300_000, million} {
		b.Run(fmt.Sprintf("log-%d", n), func(b *testing.B) {
			memory(b, n, func() any { t, l := fillLog(n); return []any{t, l} })
		})
		b.Run(fmt.Sprintf("log-changed-%d", n), func(b *testing.B) {
			memory(b, n, func() any { t, l := fillLog(n); change(t, l, n); return []any{t, l} })
		})
		b.Run(fmt.Sprintf("replica-%d", n), func(b *testing.B) {
			memory(b, n, func() any { t, p := fillReplica(n); return []any{t, p} })
		})
	}
}

// change gives each flow two more events, soon after it began, as a handshake does.
func change(t *table, l *ownLog, n int) {
	const behind = 1000
	for _, times := range []int{1, 2} {
		for i := range n {
			k := keyOf((i + times*behind) % n)
			l.Put(t.Find(&k), false)
		}
	}
}

func memory(b *testing.B, n int, fill func() any) {
	b.ReportMetric(0, "ns/op")
	for b.Loop() {
		before := inUse()
		kept := fill()
		b.ReportMetric(float64(inUse()-before)/float64(n), "B/flow")
		began := time.Now()
		runtime.GC()
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/GC")
		runtime.KeepAlive(kept)
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// TestMemoryPerFlow holds the cost of a flow in a node's own cache and in a replica.
func TestMemoryPerFlow(t *testing.T) {
	const n, most = 100_000, 168
	for name, fill := range map[string]func() any{
		"own":     func() any { t, l := fillLog(n); return []any{t, l} },
		"replica": func() any { t, p := fillReplica(n); return []any{t, p} },
	} {
		before := inUse()
		kept := fill()
		if per := float64(inUse()-before) / n; per > most {
			t.Errorf("%s: %.0f bytes for a flow, at most %d", name, per, most)
		}
		runtime.KeepAlive(kept)
	}
}

// TestNothingIsAllocated for a change, an end with its successor, and the same at a replica.
func TestNothingIsAllocated(t *testing.T) {
	const n = 10_000
	tbl, l := fillLog(n)
	i := 0
	var k held
	own := func() {
		for range 1000 {
			k.a = keyOf(i % n)
			r := tbl.Insert(&k.a)
			if i%3 == 0 {
				l.End(r, cache.Ended)
			} else {
				l.Put(r, false)
			}
			i++
		}
		l.Prune(l.Last, 0, 1<<20, func(r cache.Ref) { tbl.Release(r) })
	}
	for range 50 {
		own()
	}
	// The log's blocks are the only memory: about one for each blockful of changes, and one when it is thin.
	if got := testing.AllocsPerRun(50, own) / 1000; got > 0.02 {
		t.Errorf("%v allocations for a change of the own cache", got)
	}
	at, p := fillReplica(n)
	seq := p.Have
	release := func(r cache.Ref) { at.Release(r) }
	theirs := func() {
		for range 1000 {
			seq++
			k.a = keyOf(int(seq) % n)
			_, _, what := p.Apply(&k.a, seq, seq, cache.Bits(seq%3)&cache.Tomb)
			if what == cache.Ignored {
				t.Fatal("ignored")
			}
			if seq%10 == 0 {
				p.Range(seq-10, seq, release)
			}
		}
	}
	for range 50 {
		theirs()
	}
	if got := testing.AllocsPerRun(50, theirs); got != 0 {
		t.Errorf("%v allocations for 1000 records of a replica", got)
	}
}
