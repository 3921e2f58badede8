package sim

import (
	"fmt"
	"maps"

	"ctsync/engine"
	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// snapshot keeps the log's state for the heartbeat that goes out now.
func (h *history) snapshot() {
	if _, ok := h.snaps[h.last]; ok {
		return
	}
	h.snaps[h.last] = maps.Clone(h.now)
	h.order = append(h.order, h.last)
	if len(h.order) > 200 {
		delete(h.snaps, h.order[0])
		h.order = h.order[1:]
	}
}

// proven is I2: proof means that the replica is the origin's own cache at have.
func (j *judge) proven(n *node, p engine.Position) {
	h := j.logs[p.Epoch]
	want, ok := h.snaps[p.Have]
	if !ok {
		j.w.stats["proof of an old log"]++
		return
	}
	j.w.stats["proofs judged"]++
	if n.together {
		want = maps.Clone(want)
	}
	live := 0
	for _, l := range n.eng.Replica(p.Epoch) {
		if n.together && l.Seq > p.Have { // it came with what proved the rest
			delete(want, l.Flow.Key)
			continue
		}
		if l.Bits&cache.Tomb != 0 {
			continue
		}
		live++
		o, ok := want[l.Flow.Key]
		if !ok {
			j.w.fail("I2", "%s has proof of %s at %d and lists %v seq %d, which the origin did not", n, h.node, p.Have, l.Flow.Key, l.Seq)
			return
		}
		if diff := differs(&o, &l); diff != "" {
			j.w.fail("I2", "%s has proof of %s at %d, but %s differs: %s", n, h.node, p.Have, l.Flow.Key, diff)
			return
		}
	}
	if live != len(want) {
		j.w.fail("I2", "%s has proof of %s at %d and lists %d flows of %d", n, h.node, p.Have, live, len(want))
	}
}

func differs(a, b *engine.Listed) string {
	switch {
	case a.Born != b.Born || a.Seq != b.Seq:
		return fmt.Sprintf("born %d seq %d, here born %d seq %d", a.Born, a.Seq, b.Born, b.Seq)
	case a.Flow.Value != b.Flow.Value:
		return fmt.Sprintf("%+v, here %+v", a.Flow.Value, b.Flow.Value)
	case (a.Flow.Extra == nil) != (b.Flow.Extra == nil) || a.Flow.Extra != nil && *a.Flow.Extra != *b.Flow.Extra:
		return fmt.Sprintf("%s, here %s", extra(a), extra(b))
	}
	return ""
}

func extra(l *engine.Listed) string {
	if l.Flow.Extra == nil {
		return "nothing rare"
	}
	return fmt.Sprintf("master %v (%v)", l.Flow.Extra.Master, l.Flow.Extra.HasMaster)
}

// faithful is I3 and I11: every record of a replica is one that the origin made, and no record is older than
// another one of its key that is said to be known.
func (j *judge) faithful(n *node, p *engine.PeerInspection) {
	h := j.logs[p.Epoch]
	have := map[flow.Key]*engine.Listed{}
	for i := range p.Flows {
		l := &p.Flows[i]
		have[l.Flow.Key] = l
		if l.Bits&cache.Stale != 0 {
			continue
		}
		made := h.made(l.Flow.Key, l.Seq)
		if made == nil {
			continue // it lived within one step
		}
		if l.Bits&cache.Tomb == 0 {
			if diff := differs(made, l); diff != "" {
				j.w.fail("I11", "%s holds of %s %v: %s", n, h.node, l.Flow.Key, diff)
				return
			}
		}
		if newest := h.newest(l.Flow.Key, p.Have); newest != nil && newest.Seq > l.Seq && !h.newer(l.Flow.Key, p.Have) {
			j.w.fail("I3", "%s holds of %s %v seq %d, but have is %d and %d is newer", n, h.node, l.Flow.Key, l.Seq, p.Have, newest.Seq)
			return
		}
	}
	for k := range h.recs {
		newest := h.newest(k, p.Have)
		if newest == nil || newest.Bits&cache.Tomb != 0 || have[k] != nil || h.newer(k, p.Have) {
			continue
		}
		j.w.fail("I11", "%s lacks of %s %v seq %d, have is %d", n, h.node, k, newest.Seq, p.Have)
		return
	}
}

func (h *history) made(k flow.Key, seq uint64) *engine.Listed {
	for i := range h.recs[k] {
		if h.recs[k][i].Seq == seq {
			return &h.recs[k][i]
		}
	}
	return nil
}

// newest is the newest record of k up to seq.
func (h *history) newest(k flow.Key, upTo uint64) (l *engine.Listed) {
	for i := range h.recs[k] {
		if h.recs[k][i].Seq <= upTo {
			l = &h.recs[k][i]
		}
	}
	return l
}

// newer says that k changed after seq: what it was then may have been left out of a repair.
func (h *history) newer(k flow.Key, after uint64) bool {
	r := h.recs[k]
	return len(r) > 0 && r[len(r)-1].Seq > after
}

// mismatch says where n's replica of a peer differs from the peer's log.
func (j *judge) mismatch(n *node, name string) (where string) {
	n.eng.Positions(func(p engine.Position) {
		h := j.logs[p.Epoch]
		if h.node.name != name {
			return
		}
		where += fmt.Sprintf("; epoch %x have %d of %d:", p.Epoch[:4], p.Have, h.last)
		replica := map[flow.Key]engine.Listed{}
		for _, l := range n.eng.Replica(p.Epoch) {
			replica[l.Flow.Key] = l
		}
		for k, r := range h.recs {
			l, ok := replica[k]
			newest := r[len(r)-1]
			if ok && l.Seq == newest.Seq && l.Born == newest.Born || !ok && newest.Bits&cache.Tomb != 0 {
				continue
			}
			where += fmt.Sprintf(" %v born %d seq %d bits %x, here %v born %d seq %d bits %x;", k, newest.Born, newest.Seq, newest.Bits, ok, l.Born, l.Seq, l.Bits)
		}
	})
	return where
}
