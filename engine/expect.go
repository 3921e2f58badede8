package engine

import (
	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// An expectation is an entry like any other: the log, the replicas, the ownership and the kernel writer do not
// look at what kind an entry is. What is its own is here.

// accepts says whether f is replicated.
func (e *Engine) accepts(f *flow.Flow) bool {
	if f.Kind == flow.KindExpect {
		return f.Extra != nil && e.filter.Expects(f, e.masterReply(f.Extra))
	}
	return e.filter.Accepts(&f.Key, &f.Value)
}

// masterReply is the reply direction of an expectation's master, as far as it is known.
func (e *Engine) masterReply(x *flow.Extra) flow.Tuple {
	if r := e.tbl.Find(&x.Master); r != 0 {
		if own := e.log.Lives(r); own != nil {
			return own.Value.Reply
		}
		if c := e.bestCopy(r); c != nil {
			return c.Value.Reply
		}
	}
	return x.Master.Inverse()
}

// refreshed marks the tag of a get that asks how the tagged entry is now.
const refreshed = 1 << 61

// refreshMaster asks how the master of a new expectation is: the helper that announces a flow has mostly changed
// the length of a packet too, and no event tells of the sequence adjustment.
func (e *Engine) refreshMaster(f *flow.Flow) {
	m := e.tbl.Find(&f.Extra.Master)
	if m == 0 || e.log.Lives(m) == nil {
		return
	}
	e.writer.outstanding++
	e.writer.issued++
	e.out.Ops = append(e.out.Ops, flow.Op{Kind: flow.OpGet, Tag: uint64(m) | refreshed, Flow: flow.Flow{Key: f.Extra.Master}})
}

// refresh takes the answer, and of it what no event tells: of the rest an event may have told something newer.
func (e *Engine) refresh(res *flow.Result) {
	e.writer.outstanding--
	e.writer.answered++
	r, f := ref(res.Tag&^refreshed), &res.Flow
	if res.Errno != 0 || !e.tbl.Used(r) || e.tbl.Entry(r).Key != f.Key {
		return
	}
	own := e.log.Lives(r)
	if own == nil || e.evict.holds(own) || f.Extra == nil || !f.Extra.HasSeqAdj {
		return
	}
	x := flow.Extra{}
	if old := e.extras.get(own.Value.extra); old != nil {
		x = *old
	}
	if x.HasSeqAdj && x.SeqAdj == f.Extra.SeqAdj {
		return
	}
	x.HasSeqAdj, x.SeqAdj = true, f.Extra.SeqAdj
	v := own.Value.Value
	v.Status |= flow.SeqAdjust
	e.setValue(e.log.Put(r, false), &v, &x)
	e.internal(r).Updated++
}

// countExpects follows how many expectations p lists.
func (e *Engine) countExpects(p *peer, r ref, what cache.Applied) {
	if !e.isExpect(r) {
		return
	}
	switch what {
	case cache.Added:
		p.expects++
	case cache.Removed:
		p.expects--
	}
}

// externalExpects is how many of the external cache are expectations.
func (e *Engine) externalExpects() (n int) {
	e.peers.each(func(p *peer) {
		if e.external(p) {
			n += p.expects
		}
	})
	return n
}

// isExpect says that entry r is an expectation.
func (e *Engine) isExpect(r ref) bool { return e.tbl.Entry(r).Key.Kind == flow.KindExpect }

// internal and external are the counters of the cache that entry r belongs to.
func (e *Engine) internal(r ref) *CacheStats {
	if e.isExpect(r) {
		return &e.count.expectInternal
	}
	return &e.count.internal
}

func (e *Engine) externalOf(r ref) *CacheStats {
	if e.isExpect(r) {
		return &e.count.expectExternal
	}
	return &e.count.external
}
