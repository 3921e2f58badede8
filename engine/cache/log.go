package cache

import "sort"

// Log is one node's own cache in order of change: every change of a key takes the next sequence number, and
// a key has only its newest place (a log compacted by key). Where the copy of a sequence number is, is kept
// in blocks of sequence numbers; a block that few keys still point into is stored thin.
type Log[K comparable, V any] struct {
	t      *Table[K, V]
	owner  uint8
	digest func(k *K, born, seq uint64) uint64

	Last    uint64 // the newest sequence number
	Live    int    // keys that are listed
	Tombs   int
	Digest  uint64 // sum over the live keys, mod 2^64
	Horizon uint64 // tombstones up to here are forgotten

	blocks []block
	empty  int      // blocks that nothing points into
	tombs  []uint64 // sequence numbers of tombstones in order, some superseded
}

const (
	blockBits = 10
	blockSize = 1 << blockBits
	thinAt    = blockSize / 4
)

type block struct {
	base uint64 // sequence number >> blockBits
	used int    // places that still hold their copy
	refs []Ref  // blockSize of them, or as many as offs
	offs []uint16
}

// NewLog makes an empty log of owner in t; digest gives the share of one live key in Digest.
func NewLog[K comparable, V any](t *Table[K, V], owner uint8, digest func(k *K, born, seq uint64) uint64) *Log[K, V] {
	return &Log[K, V]{t: t, owner: owner, digest: digest}
}

// Get is the log's copy under entry r, tombstones included, or nil.
func (l *Log[K, V]) Get(r Ref) *Copy[V] { return l.t.Of(r, l.owner) }

// Lives is the log's copy under entry r if it is no tombstone, or nil.
func (l *Log[K, V]) Lives(r Ref) *Copy[V] {
	if c := l.t.Of(r, l.owner); c != nil && c.Live() {
		return c
	}
	return nil
}

// Put appends a change of entry r and gives its copy, whose Value the caller then sets. A key that was not
// live, or fresh, is a new incarnation: Born is the change's own sequence number.
func (l *Log[K, V]) Put(r Ref, fresh bool) *Copy[V] {
	ref, c := l.t.Add(r, l.owner)
	wasNew := c.Seq == 0
	if !wasNew {
		l.leave(r, c)
	}
	fresh = fresh || wasNew || !c.Live()
	l.append(ref, c)
	if fresh {
		c.Born, c.Bits = c.Seq, 0
	}
	l.Live++
	l.Digest += l.digest(&l.t.Entry(r).Key, c.Born, c.Seq)
	return c
}

// End turns the live copy under entry r into a tombstone of that kind.
func (l *Log[K, V]) End(r Ref, kind Bits) {
	ref, c := l.t.ref(r, l.owner)
	if c == nil || !c.Live() {
		return
	}
	l.leave(r, c)
	l.append(ref, c)
	c.Bits = kind
	l.Tombs++
	l.tombs = append(l.tombs, c.Seq)
}

// leave takes c out of its present place.
func (l *Log[K, V]) leave(r Ref, c *Copy[V]) {
	if c.Live() {
		l.Live--
		l.Digest -= l.digest(&l.t.Entry(r).Key, c.Born, c.Seq)
	} else {
		l.Tombs--
	}
	i := l.find(c.Seq)
	b := &l.blocks[i]
	if b.used--; b.used == 0 && i != len(l.blocks)-1 {
		b.refs, b.offs = nil, nil
		l.empty++
		l.compact()
		return
	}
	if b.used == thinAt && b.offs == nil && i != len(l.blocks)-1 {
		l.thin(b, c.Seq)
	}
}

// thin keeps only the places of b that still hold their copy; the one of leaving does not any more.
func (l *Log[K, V]) thin(b *block, leaving uint64) {
	refs, offs := make([]Ref, 0, b.used), make([]uint16, 0, b.used)
	for off, ref := range b.refs {
		seq := b.base<<blockBits | uint64(off)
		if seq != leaving && l.holds(ref, seq) {
			refs, offs = append(refs, ref), append(offs, uint16(off))
		}
	}
	b.refs, b.offs = refs, offs
}

func (l *Log[K, V]) holds(ref Ref, seq uint64) bool {
	if ref == 0 {
		return false
	}
	c := l.t.Copy(ref)
	return c.used && c.Owner == l.owner && c.Seq == seq
}

func (l *Log[K, V]) compact() {
	if l.empty < 64 || l.empty*2 < len(l.blocks) {
		return
	}
	kept := l.blocks[:0]
	for i, b := range l.blocks {
		if b.used > 0 || i == len(l.blocks)-1 {
			kept = append(kept, b)
		}
	}
	clear(l.blocks[len(kept):])
	l.blocks, l.empty = kept, 0
}

// find is the index of the block of seq, or of the first one after it.
func (l *Log[K, V]) find(seq uint64) int {
	base := seq >> blockBits
	if n := len(l.blocks); n > 0 && l.blocks[n-1].base == base {
		return n - 1
	}
	return sort.Search(len(l.blocks), func(i int) bool { return l.blocks[i].base >= base })
}

func (l *Log[K, V]) append(ref Ref, c *Copy[V]) {
	l.Last++
	c.Seq = l.Last
	n := len(l.blocks)
	if n == 0 || l.blocks[n-1].base != l.Last>>blockBits {
		if n > 0 && l.blocks[n-1].used == 0 {
			l.blocks[n-1].refs = nil
			l.empty++
			l.compact()
		}
		l.blocks = append(l.blocks, block{base: l.Last >> blockBits, refs: make([]Ref, blockSize)})
		n = len(l.blocks)
	}
	b := &l.blocks[n-1]
	b.refs[l.Last&(blockSize-1)] = ref
	b.used++
}

// Next gives the copy with the lowest sequence number above after, or nil.
func (l *Log[K, V]) Next(after uint64) *Copy[V] {
	if after >= l.Last {
		return nil
	}
	seq := after + 1
	for i := l.find(seq); i < len(l.blocks); i++ {
		b := &l.blocks[i]
		start := 0
		if b.base == seq>>blockBits {
			start = int(seq & (blockSize - 1))
		}
		if c := l.scan(b, start); c != nil {
			return c
		}
	}
	return nil
}

func (l *Log[K, V]) scan(b *block, start int) *Copy[V] {
	if b.offs != nil {
		for i := sort.Search(len(b.offs), func(i int) bool { return int(b.offs[i]) >= start }); i < len(b.offs); i++ {
			if l.holds(b.refs[i], b.base<<blockBits|uint64(b.offs[i])) {
				return l.t.Copy(b.refs[i])
			}
		}
		return nil
	}
	for off := start; off < len(b.refs); off++ {
		if l.holds(b.refs[off], b.base<<blockBits|uint64(off)) {
			return l.t.Copy(b.refs[off])
		}
	}
	return nil
}

// Prune forgets tombstones with sequence numbers up to upTo, and more while there are over limit; at most
// budget are looked at. dropped is called with the entry of each, which may now be released.
func (l *Log[K, V]) Prune(upTo uint64, limit, budget int, dropped func(Ref)) {
	n := 0
	for ; n < len(l.tombs) && n < budget; n++ {
		seq := l.tombs[n]
		if seq > upTo && l.Tombs <= limit {
			break
		}
		c := l.Next(seq - 1)
		if c == nil || c.Seq != seq || c.Live() {
			continue // superseded
		}
		l.Horizon = seq
		r := c.entry
		l.leave(r, c)
		l.t.Drop(r, l.owner)
		dropped(r)
	}
	l.tombs = l.tombs[n:]
}
