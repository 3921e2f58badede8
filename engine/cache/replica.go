package cache

import (
	"cmp"
	"slices"
)

// Replica is a faithful copy of another node's log, whatever order its records arrive in. Everything up to
// Have is known; beyond it, what is known is a set of intervals, and what is between them is missing. A
// record takes effect only if it is newer than what is held of its key, so delivery order, duplicates and
// late datagrams do not matter (per-key last-writer-wins; the version is the origin's sequence number).
type Replica[K comparable, V any] struct {
	t      *Table[K, V]
	owner  uint8
	digest func(k *K, born, seq uint64) uint64

	Have   uint64
	Live   int    // listed keys, stale ones included
	Stale  int    // those of them not confirmed since the last restart
	Digest uint64 // over listed keys that are not stale
	Top    uint64 // highest sequence number applied

	known []interval // beyond Have, sorted, disjoint, not touching

	tombs   []Ref  // copies that are tombstones, or were and came back, each once
	tombTop uint64 // none of them is above
	kept    int    // how many the last look at them kept
}

// interval is (from, to].
type interval struct{ from, to uint64 }

// MaxIntervals bounds what a Replica remembers beyond a gap; more is forgotten and asked for again.
const MaxIntervals = 1024

// Applied is what a record did.
type Applied uint8

// Outcomes of Apply.
const (
	Ignored   Applied = iota // older than what is known
	Confirmed                // a stale copy was confirmed as it is
	Added                    // the key was not listed
	Changed                  // the same incarnation changed
	Reborn                   // another incarnation of a listed key
	Removed                  // a listed key ended or was yielded
	Absent                   // a tombstone for a key that was not listed
)

// NewReplica makes an empty replica for owner in t. digest must be the origin's.
func NewReplica[K comparable, V any](t *Table[K, V], owner uint8, digest func(k *K, born, seq uint64) uint64) *Replica[K, V] {
	return &Replica[K, V]{t: t, owner: owner, digest: digest}
}

// Apply takes one record; tomb is 0, Ended or Yielded. For Added, Changed and Reborn the caller sets the
// copy's Value. The copy is nil where the record did nothing.
func (p *Replica[K, V]) Apply(k *K, born, seq uint64, tomb Bits) (Ref, *Copy[V], Applied) {
	if seq <= p.Have {
		return 0, nil, Ignored
	}
	r := p.t.Insert(k)
	ref, c := p.t.Add(r, p.owner)
	switch {
	case c.Seq > seq:
		return r, nil, Ignored
	case c.Seq == seq && c.Bits&Stale != 0:
		c.Bits &^= Stale
		p.Stale--
		p.Digest += p.digest(k, c.Born, seq)
		return r, c, Confirmed
	case c.Seq == seq:
		return r, nil, Ignored
	}
	was := c.Seq != 0 && c.Live()
	p.forget(r, c)
	what := outcome(was, c.Born == born, tomb != 0)
	if what != Changed {
		c.Bits = 0
	}
	c.Bits = c.Bits&^(Tomb|Stale|Refused) | tomb
	c.Born, c.Seq = born, seq
	p.Top = max(p.Top, seq)
	if tomb != 0 {
		p.list(ref, c)
		return r, c, what
	}
	p.Live++
	p.Digest += p.digest(k, born, seq)
	return r, c, what
}

func outcome(was, same, tomb bool) Applied {
	switch {
	case tomb && was:
		return Removed
	case tomb:
		return Absent
	case !was:
		return Added
	case same:
		return Changed
	}
	return Reborn
}

// forget takes c out of the sums.
func (p *Replica[K, V]) forget(r Ref, c *Copy[V]) {
	if c.Seq == 0 || !c.Live() {
		return
	}
	p.Live--
	if c.Bits&Stale != 0 {
		p.Stale--
		return
	}
	p.Digest -= p.digest(&p.t.Entry(r).Key, c.Born, c.Seq)
}

// Range notes that everything in (from, to] is known now, moves Have as far as that goes, and says whether anything of
// it was missing. released is called for entries whose tombstone is not needed any more.
func (p *Replica[K, V]) Range(from, to uint64, released func(Ref)) (missing bool) {
	if to <= p.Have || from >= to {
		return false // nothing new, or a DATA that covers nothing
	}
	if from > p.Have {
		return p.remember(interval{from, to})
	}
	p.Have = to
	n := 0
	for n < len(p.known) && p.known[n].from <= p.Have {
		p.Have = max(p.Have, p.known[n].to)
		n++
	}
	p.known = slices.Delete(p.known, 0, n)
	if p.Have >= p.tombTop || len(p.tombs) > 2*p.kept+pageSize {
		p.dropTombs(released)
	}
	return true
}

// remember keeps in, which begins beyond Have, and says whether anything of it was missing; with too many gaps it is
// forgotten and will be asked for.
func (p *Replica[K, V]) remember(in interval) (missing bool) {
	i, _ := slices.BinarySearchFunc(p.known, in.from, func(k interval, from uint64) int { return cmp.Compare(k.to, from) })
	if i < len(p.known) && p.known[i].from <= in.from && in.to <= p.known[i].to {
		return false
	}
	j := i
	for j < len(p.known) && p.known[j].from <= in.to {
		in.from, in.to = min(in.from, p.known[j].from), max(in.to, p.known[j].to)
		j++
	}
	if i < j || len(p.known) < MaxIntervals {
		p.known = slices.Replace(p.known, i, j, in)
	}
	return true
}

func (p *Replica[K, V]) list(ref Ref, c *Copy[V]) {
	p.tombTop = max(p.tombTop, c.Seq)
	if c.state&copyListed == 0 {
		c.state |= copyListed
		p.tombs = append(p.tombs, ref)
	}
}

// dropTombs forgets the tombstones that nothing older can arrive for any more. Range calls it when all are
// such, or when so many came that looking at them all costs little for each.
func (p *Replica[K, V]) dropTombs(released func(Ref)) {
	kept := p.tombs[:0]
	for _, ref := range p.tombs {
		c := p.t.Copy(ref)
		switch {
		case c.Live():
			c.state &^= copyListed
		case c.Seq > p.Have:
			kept = append(kept, ref)
		default:
			r := c.entry
			p.t.Drop(r, p.owner)
			released(r)
		}
	}
	p.tombs, p.kept = kept, len(kept)
}

// Gap is the lowest range (from, to] that is missing below last; ok is false if none is.
func (p *Replica[K, V]) Gap(last uint64) (from, to uint64, ok bool) {
	if len(p.known) > 0 {
		return p.Have, p.known[0].from, true
	}
	return p.Have, last, last > p.Have
}

// GapAfter is the missing range beyond interval i of those beyond Have; beyond the last one it ends at last.
func (p *Replica[K, V]) GapAfter(i int, last uint64) (from, to uint64) {
	if i+1 < len(p.known) {
		last = p.known[i+1].from
	}
	return p.known[i].to, last
}

// Intervals is how many ranges beyond Have are remembered.
func (p *Replica[K, V]) Intervals() int { return len(p.known) }

// Tombs is how many tombstones are remembered.
func (p *Replica[K, V]) Tombs() int { return len(p.tombs) }

// Restart begins again: every copy is stale until confirmed, nothing is known.
func (p *Replica[K, V]) Restart(released func(Ref)) {
	p.Have = ^uint64(0)
	p.dropTombs(released)
	p.Have, p.Top, p.tombTop, p.known = 0, 0, 0, p.known[:0]
	for r := Ref(1); r <= p.t.topCopy; r++ {
		if c := p.t.Copy(r); c.state != 0 && c.Owner == p.owner && c.Bits&Stale == 0 {
			c.Bits |= Stale
			p.Stale++
		}
	}
	p.Digest = 0
}

// Agrees says that nothing is missing up to last and that the keys listed then are the ones the origin
// counted.
func (p *Replica[K, V]) Agrees(last uint64, count int, digest uint64) bool {
	return p.Complete(last) && p.Live-p.Stale == count && p.Digest == digest
}

// Complete says that everything up to last is known and nothing beyond it.
func (p *Replica[K, V]) Complete(last uint64) bool {
	return p.Have == last && len(p.known) == 0 && p.Top <= last
}

// Sweep drops the stale copies. swept is called with each entry while it still holds the copy.
func (p *Replica[K, V]) Sweep(swept, released func(Ref)) {
	if p.Stale > 0 {
		p.drop(func(c *Copy[V]) bool { return c.Bits&Stale != 0 }, swept, released)
	}
}

// Clear drops every copy: the replica is as new.
func (p *Replica[K, V]) Clear(released func(Ref)) {
	p.drop(func(*Copy[V]) bool { return true }, func(Ref) {}, released)
	p.Have, p.Top, p.known, p.Digest = 0, 0, nil, 0
	p.tombs, p.tombTop, p.kept = nil, 0, 0
}

func (p *Replica[K, V]) drop(which func(*Copy[V]) bool, dropping, released func(Ref)) {
	for i := Ref(1); i <= p.t.topCopy; i++ {
		c := p.t.Copy(i)
		if c.state == 0 || c.Owner != p.owner || !which(c) {
			continue
		}
		r := c.entry
		dropping(r)
		p.forget(r, c)
		p.t.Drop(r, p.owner)
		released(r)
	}
}
