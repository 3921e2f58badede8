// Package cache holds what a node knows of flows: one entry per key, and under it one copy per node that
// lists the key. The own log and the replicas of peers' logs are both made of such copies, so that "who
// lists this key" is one lookup.
//
//	bucket -> Entry{key, kernel bits} -> Copy{owner 0, seq} -> Copy{owner 3, seq} -> ...
//
// Entries and copies live in pages without pointers, so that a garbage collection does not look at them, and
// are named by Ref. The hash table grows one bucket at a time (linear hashing, W. Litwin 1980): no insert
// ever pays for all the others. Everything here is generic over the key and the value; expectations are a
// second instance. One goroutine owns a Table.
package cache

// Ref names an entry or a copy; 0 names none.
type Ref uint32

const (
	pageBits = 10
	pageSize = 1 << pageBits
	pageMask = pageSize - 1
)

// Entry is one key and what the kernel writer knows of it. With a key of 42 bytes it fills a cache line; the
// hash is not kept, since it costs less to make again than to hold for every flow.
type Entry[K comparable] struct {
	Key   K
	next  Ref // in the bucket, or in the free list
	head  Ref // first copy
	Due   uint32
	Shape uint32 // what the kernel's entry looks like, hashed
	Kern  uint16
	Stamp uint8
	state uint8 // entryUsed and Rare
}

// entryUsed is the lowest bit of an entry's state; the others are its Rare.
const entryUsed = 1

// Rare is what the kernel's entry may have that is rare, in up to seven bits.
func (e *Entry[K]) Rare() uint8 { return e.state >> 1 }

// SetRare sets what Rare says; the entry must be used.
func (e *Entry[K]) SetRare(rare uint8) { e.state = e.state&entryUsed | rare<<1 }

// Copy is what one owner says of a key.
type Copy[V any] struct {
	entry Ref
	next  Ref // under the entry, or in the free list
	Born  uint64
	Seq   uint64
	Value V
	Owner uint8
	state uint8
	Bits  Bits
}

// What a place for a copy is used for.
const (
	copyUsed   uint8 = 1 << iota
	copyListed       // in its Replica's list of tombstones
)

// Entry is the key's entry.
func (c *Copy[V]) Entry() Ref { return c.entry }

// Bits are an owner's marks on its copy.
type Bits uint16

// Marks. A copy with Ended or Yielded is a tombstone.
const (
	Ended   Bits = 1 << iota // the flow is over
	Yielded                  // the flow goes on, another node lists it
	Stale                    // from before a RESTART, not confirmed since
	Adopted                  // we took this incarnation over once
	Dead                     // the leader, or we as active node, saw this incarnation end; our kernel may still have an own one
	Refused                  // known by key and seq only: its value was refused
	Evicted                  // gone from the kernel with an address, kept
	Waiting                  // a tombstone that waits for the decision between ended and evicted
	Silent                   // only the kernel's table has told of it, no event ever
	Told                     // ours as another node told it: no packet has met it here since
	Partial                  // ours, first heard of by a change: what is rare of it is not known
	Doubted                  // one of two active nodes saw this incarnation end, which the other lists: Dead if it is purged
	Tomb    = Ended | Yielded
)

// Live says that c is no tombstone.
func (c *Copy[V]) Live() bool { return c.Bits&Tomb == 0 }

// Table is the set of entries.
type Table[K comparable, V any] struct {
	hash func(*K) uint64

	entries   []*[pageSize]Entry[K]
	freeEntry Ref
	topEntry  Ref // highest entry ever used
	count     int

	copies   []*[pageSize]Copy[V]
	freeCopy Ref
	topCopy  Ref
	copied   int

	buckets [][]Ref
	level   uint32 // buckets double from 1<<level to 1<<(level+1)
	split   uint32 // next bucket to split

	onDrop func(*V) // releases what a value refers to
}

const firstLevel = pageBits

// New makes an empty table. hash must be keyed with a secret, since keys are what attackers choose; onDrop,
// which may be nil, is called with each value that leaves the table.
func New[K comparable, V any](hash func(*K) uint64, onDrop func(*V)) *Table[K, V] {
	return &Table[K, V]{hash: hash, onDrop: onDrop, level: firstLevel, buckets: [][]Ref{make([]Ref, pageSize)}}
}

// Len is the number of entries.
func (t *Table[K, V]) Len() int { return t.count }

// Copies is the number of copies of all owners, tombstones included.
func (t *Table[K, V]) Copies() int { return t.copied }

// Top is the highest entry in use so far: entries are visited by counting from 1 to Top and asking Used.
func (t *Table[K, V]) Top() Ref { return t.topEntry }

// Entry gives the entry of r, which must not be 0. The pointer is valid until the entry is released.
func (t *Table[K, V]) Entry(r Ref) *Entry[K] {
	return &t.entries[(r-1)>>pageBits][(r-1)&pageMask]
}

// Used says whether r names an entry now.
func (t *Table[K, V]) Used(r Ref) bool {
	return r != 0 && r <= t.topEntry && t.Entry(r).state&entryUsed != 0
}

// Copy gives the copy of r, which must not be 0.
func (t *Table[K, V]) Copy(r Ref) *Copy[V] {
	return &t.copies[(r-1)>>pageBits][(r-1)&pageMask]
}

// TopCopy is the highest copy in use so far.
func (t *Table[K, V]) TopCopy() Ref { return t.topCopy }

// UsedCopy says whether r names a copy now.
func (t *Table[K, V]) UsedCopy(r Ref) bool { return r != 0 && r <= t.topCopy && t.Copy(r).state != 0 }

func (t *Table[K, V]) bucket(h uint32) *Ref {
	b := h & (1<<t.level - 1)
	if b < t.split {
		b = h & (1<<(t.level+1) - 1)
	}
	return &t.buckets[b>>pageBits][b&pageMask]
}

// Find gives the entry of k, or 0.
func (t *Table[K, V]) Find(k *K) Ref {
	h := uint32(t.hash(k))
	return t.find(k, h)
}

func (t *Table[K, V]) find(k *K, h uint32) Ref {
	for r := *t.bucket(h); r != 0; {
		e := t.Entry(r)
		if e.Key == *k {
			return r
		}
		r = e.next
	}
	return 0
}

// MaxWarm is the most keys that Warm looks at.
const MaxWarm = 64

// Warm loads what finding or inserting these keys will touch. In a table that is larger than the processor's caches
// each of these loads takes as long as all the rest; here none needs another's result, so they are waited for together. What it gives,
// how many keys it met, keeps the loads from being left out as useless.
func (t *Table[K, V]) Warm(keys []*K) (found int) {
	var refs, seconds [2 * MaxWarm]Ref
	keys = keys[:min(len(keys), MaxWarm)]
	buckets := uint32(1)<<t.level + t.split
	grows := max(0, min(len(keys), t.count+len(keys)-int(buckets), int(uint32(1)<<t.level-t.split)))
	for i, k := range keys {
		refs[i] = *t.bucket(uint32(t.hash(k)))
	}
	for i := range grows {
		b := t.split + uint32(i)
		refs[len(keys)+i] = t.buckets[b>>pageBits][b&pageMask]
	}
	for i, r := range refs[:len(keys)+grows] {
		refs[i] = 0
		if r != 0 {
			e := t.Entry(r)
			refs[i], seconds[i] = e.head, e.next
		}
	}
	for _, r := range seconds[:len(keys)+grows] { // there are few with more
		if r != 0 && t.Entry(r).state&entryUsed != 0 {
			found++
		}
	}
	for _, c := range refs[:len(keys)] {
		if c != 0 && t.Copy(c).state != 0 {
			found++
		}
	}
	return found
}

// Insert gives the entry of k, making it if there is none. An entry that gets neither a copy nor a kernel
// bit must be given to Release.
func (t *Table[K, V]) Insert(k *K) Ref {
	h := uint32(t.hash(k))
	if r := t.find(k, h); r != 0 {
		return r
	}
	r := t.newEntry()
	e := t.Entry(r)
	b := t.bucket(h)
	*e = Entry[K]{Key: *k, next: *b, state: entryUsed}
	*b = r
	t.count++
	t.grow()
	return r
}

func (t *Table[K, V]) newEntry() Ref {
	if r := t.freeEntry; r != 0 {
		t.freeEntry = t.Entry(r).next
		return r
	}
	if int(t.topEntry) == len(t.entries)<<pageBits {
		t.entries = append(t.entries, new([pageSize]Entry[K]))
	}
	t.topEntry++
	return t.topEntry
}

// grow splits one bucket when there are more entries than buckets.
func (t *Table[K, V]) grow() {
	n := uint32(1)<<t.level + t.split
	if uint32(t.count) <= n {
		return
	}
	if n&pageMask == 0 {
		t.buckets = append(t.buckets, make([]Ref, pageSize))
	}
	from := &t.buckets[t.split>>pageBits][t.split&pageMask]
	to := &t.buckets[n>>pageBits][n&pageMask]
	r := *from
	*from, *to = 0, 0
	for r != 0 {
		e := t.Entry(r)
		next := e.next
		at := from
		if uint32(t.hash(&e.Key))&(1<<t.level) != 0 {
			at = to
		}
		e.next, *at = *at, r
		r = next
	}
	if t.split++; t.split == 1<<t.level {
		t.level, t.split = t.level+1, 0
	}
}

// Release frees entry r if nobody lists it and no kernel bit is set, and says whether it did.
func (t *Table[K, V]) Release(r Ref) bool {
	e := t.Entry(r)
	if e.state&entryUsed == 0 || e.head != 0 || e.Kern != 0 {
		return false
	}
	at := t.bucket(uint32(t.hash(&e.Key)))
	for *at != r {
		at = &t.Entry(*at).next
	}
	*at = e.next
	*e = Entry[K]{next: t.freeEntry}
	t.freeEntry = r
	t.count--
	return true
}

// Of gives the copy that owner has under entry r, or nil.
func (t *Table[K, V]) Of(r Ref, owner uint8) *Copy[V] {
	_, c := t.ref(r, owner)
	return c
}

// Each calls visit with every copy under entry r. The copies must not be dropped meanwhile.
func (t *Table[K, V]) Each(r Ref, visit func(*Copy[V])) {
	for c := t.Entry(r).head; c != 0; {
		p := t.Copy(c)
		c = p.next
		visit(p)
	}
}

func (t *Table[K, V]) ref(r Ref, owner uint8) (Ref, *Copy[V]) {
	for c := t.Entry(r).head; c != 0; {
		p := t.Copy(c)
		if p.Owner == owner {
			return c, p
		}
		c = p.next
	}
	return 0, nil
}

// Add gives the copy that owner has under entry r, making an empty one if there is none.
func (t *Table[K, V]) Add(r Ref, owner uint8) (Ref, *Copy[V]) {
	if c, p := t.ref(r, owner); p != nil {
		return c, p
	}
	c := t.newCopy()
	p, e := t.Copy(c), t.Entry(r)
	*p = Copy[V]{entry: r, next: e.head, Owner: owner, state: copyUsed}
	e.head = c
	t.copied++
	return c, p
}

func (t *Table[K, V]) newCopy() Ref {
	if c := t.freeCopy; c != 0 {
		t.freeCopy = t.Copy(c).next
		return c
	}
	if int(t.topCopy) == len(t.copies)<<pageBits {
		t.copies = append(t.copies, new([pageSize]Copy[V]))
	}
	t.topCopy++
	return t.topCopy
}

// Drop removes owner's copy under entry r. The entry stays; give it to Release.
func (t *Table[K, V]) Drop(r Ref, owner uint8) {
	at := &t.Entry(r).head
	for *at != 0 {
		c := *at
		p := t.Copy(c)
		if p.Owner != owner {
			at = &p.next
			continue
		}
		*at = p.next
		if t.onDrop != nil {
			t.onDrop(&p.Value)
		}
		*p = Copy[V]{next: t.freeCopy}
		t.freeCopy = c
		t.copied--
		return
	}
}
