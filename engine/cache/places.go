package cache

import "sort"

// places says where the copy of each sequence number is, in order of sequence number. It is made of blocks:
// the newest ones are dense (one Ref per number), and as their keys change and so move on, what is left is
// stored thin (offset and Ref), and thin neighbours become one. Only keys cost memory, not history: 4 bytes
// for a key that is new, at most 16 for one whose neighbours moved on.
type places struct {
	bases  []uint64 // first sequence number of each block, ascending; apart so that a search stays in cache
	blocks []block
	used   int
}

type block struct {
	refs []Ref    // 0: that number's key has moved on
	offs []uint32 // less the base, ascending; nil: dense, refs[i] is of base+i
	used int
}

const (
	blockSize = 1 << 10 // numbers of a dense block
	thinMost  = 256     // places in a block that was joined
)

// append notes that ref has seq, which is above all before it.
func (p *places) append(seq uint64, ref Ref) {
	n := len(p.blocks)
	if n == 0 || p.bases[n-1] != seq&^(blockSize-1) {
		p.open(seq &^ (blockSize - 1))
		n = len(p.blocks)
	}
	b := &p.blocks[n-1]
	b.refs[seq&(blockSize-1)] = ref
	b.used++
	p.used++
}

// open begins a block, in the memory of the last one if nothing is left in that.
func (p *places) open(base uint64) {
	if n := len(p.blocks); n > 0 {
		if p.blocks[n-1].used == 0 {
			p.bases[n-1] = base
			return
		}
		p.blocks[n-1].thin()
	}
	p.repack()
	p.bases = append(p.bases, base)
	p.blocks = append(p.blocks, block{refs: make([]Ref, blockSize)})
}

// find is the last block that begins at seq or before, or -1.
func (p *places) find(seq uint64) int {
	n := len(p.bases)
	if n > 0 && p.bases[n-1] <= seq {
		return n - 1
	}
	return sort.Search(n, func(i int) bool { return p.bases[i] > seq }) - 1
}

// at is the index of the first place in block i that is of seq or above.
func (p *places) at(i int, seq uint64) int {
	b, off := &p.blocks[i], seq-p.bases[i]
	if b.offs == nil {
		return int(min(off, uint64(len(b.refs))))
	}
	return sort.Search(len(b.offs), func(j int) bool { return uint64(b.offs[j]) >= off })
}

// get is what has seq, or 0.
func (p *places) get(seq uint64) Ref {
	i := p.find(seq)
	if i < 0 {
		return 0
	}
	b, j := &p.blocks[i], p.at(i, seq)
	if j == len(b.refs) || b.offs != nil && p.bases[i]+uint64(b.offs[j]) != seq {
		return 0
	}
	return b.refs[j]
}

// next is what has the lowest number from seq on, or 0.
func (p *places) next(seq uint64) Ref {
	i, j := p.find(seq), 0
	if i < 0 {
		i = 0
	} else {
		j = p.at(i, seq)
	}
	for ; i < len(p.blocks); i, j = i+1, 0 {
		for refs := p.blocks[i].refs; j < len(refs); j++ {
			if refs[j] != 0 {
				return refs[j]
			}
		}
	}
	return 0
}

// remove forgets seq, which must have a place.
func (p *places) remove(seq uint64) {
	i := p.find(seq)
	b := &p.blocks[i]
	b.refs[p.at(i, seq)] = 0
	b.used--
	p.used--
	if i == len(p.blocks)-1 {
		return // being filled
	}
	b.thin()
}

// thin stores b in less memory if that is much less.
func (b *block) thin() {
	if b.offs == nil && b.used*8 > len(b.refs)*3 || b.offs != nil && b.used*2 > len(b.refs) {
		return
	}
	t := block{refs: make([]Ref, 0, b.used), offs: make([]uint32, 0, b.used)}
	t.take(b, 0)
	*b = t
}

// take adds the places in use of from, whose base is by above that of b, which is not dense.
func (b *block) take(from *block, by uint32) {
	for j, ref := range from.refs {
		if ref == 0 {
			continue
		}
		off := uint32(j)
		if from.offs != nil {
			off = from.offs[j]
		}
		b.refs, b.offs = append(b.refs, ref), append(b.offs, off+by)
	}
	b.used += from.used
}

// repack joins thin neighbours and drops empty blocks, once there are far more blocks than the places in use
// need. After it two neighbours hold more than thinMost, so that its cost is shared by many changes.
func (p *places) repack() {
	if len(p.blocks) <= 64+p.used*8/thinMost {
		return
	}
	n := 0 // blocks kept
	for i := range p.blocks {
		b, last := &p.blocks[i], i == len(p.blocks)-1
		if b.used == 0 && !last {
			continue
		}
		if n > 0 && !last && p.joins(n-1, i) {
			p.blocks[n-1].take(b, uint32(p.bases[i]-p.bases[n-1]))
			continue
		}
		p.blocks[n], p.bases[n] = *b, p.bases[i]
		n++
	}
	clear(p.blocks[n:])
	p.blocks, p.bases = p.blocks[:n], p.bases[:n]
}

// joins says that block i, which is not the last, can be taken into block to before it. Both are thin then.
func (p *places) joins(to, i int) bool {
	return p.blocks[to].used+p.blocks[i].used <= thinMost && p.bases[i]-p.bases[to] < 1<<31
}
