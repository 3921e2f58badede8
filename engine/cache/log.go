package cache

// Log is one node's own cache in order of change: every change of a key takes the next sequence number, and
// a key has only its newest place (a log compacted by key). What a Log holds is bounded by the keys and
// tombstones in it, whatever number of changes it has seen.
type Log[K comparable, V any] struct {
	t      *Table[K, V]
	owner  uint8
	digest func(k *K, born, seq uint64) uint64

	Last    uint64 // the newest sequence number
	Live    int    // keys that are listed
	Tombs   int
	Digest  uint64 // sum over the live keys, mod 2^64
	Horizon uint64 // tombstones up to here are forgotten

	places places
	tombs  []uint64 // sequence numbers of tombstones in order, some superseded
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
	if c.Seq == 0 {
		fresh = true
	} else {
		fresh = fresh || !c.Live()
		l.leave(r, c)
	}
	l.append(ref, c)
	if fresh {
		c.Born, c.Bits = c.Seq, 0
	}
	l.Live++
	l.Digest += l.digest(&l.t.Entry(r).Key, c.Born, c.Seq)
	return c
}

// End turns the live copy under entry r into a tombstone of that kind, Ended or Yielded.
func (l *Log[K, V]) End(r Ref, kind Bits) {
	ref, c := l.t.ref(r, l.owner)
	if c == nil || !c.Live() {
		return
	}
	l.leave(r, c)
	l.append(ref, c)
	c.Bits = kind
	l.Tombs++
	if len(l.tombs) > 2*l.Tombs+pageSize {
		l.listTombs()
	}
	l.tombs = append(l.tombs, c.Seq)
}

// leave takes c out of its present place and out of the sums.
func (l *Log[K, V]) leave(r Ref, c *Copy[V]) {
	if c.Live() {
		l.Live--
		l.Digest -= l.digest(&l.t.Entry(r).Key, c.Born, c.Seq)
	} else {
		l.Tombs--
	}
	l.places.remove(c.Seq)
}

func (l *Log[K, V]) append(ref Ref, c *Copy[V]) {
	l.Last++
	c.Seq = l.Last
	l.places.append(l.Last, ref)
}

// Next gives the copy with the lowest sequence number above after, or nil.
func (l *Log[K, V]) Next(after uint64) *Copy[V] {
	if after >= l.Last {
		return nil
	}
	if ref := l.places.next(after + 1); ref != 0 {
		return l.t.Copy(ref)
	}
	return nil
}

// tomb is the tombstone with sequence number seq, or nil if it was superseded.
func (l *Log[K, V]) tomb(seq uint64) *Copy[V] {
	ref := l.places.get(seq)
	if ref == 0 {
		return nil
	}
	if c := l.t.Copy(ref); !c.Live() {
		return c
	}
	return nil
}

// listTombs takes superseded tombstones out of the list: a key that comes and goes must not make it grow.
func (l *Log[K, V]) listTombs() {
	kept := l.tombs[:0]
	for _, seq := range l.tombs {
		if l.places.get(seq) != 0 {
			kept = append(kept, seq)
		}
	}
	l.tombs = kept
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
		c := l.tomb(seq)
		if c == nil {
			continue // superseded
		}
		l.Horizon = seq
		r := c.entry
		l.leave(r, c)
		l.t.Drop(r, l.owner)
		dropped(r)
	}
	l.tombs = l.tombs[n:]
	l.places.repack()
}
