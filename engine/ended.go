package engine

import (
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// Ends that another node tells, which acts though it does not lead us: two nodes are active, or it is not our leader yet.

// endedThere acts on the end of a flow that another node saw as active or taking over, though it does not lead us:
// what is ours and not in our kernel was that node's by then.
func (e *Engine) endedThere(r ref) {
	own := e.log.Lives(r)
	switch {
	case own == nil:
	case e.role.is == Standby && e.tbl.Entry(r).Kern&(kPresent|kFlight) == 0 && !e.evict.holds(own):
		e.endOwn(r, cache.Ended)
	case own.Bits&cache.Evicted != 0:
		own.Bits &^= cache.Evicted
		e.endHeld(r)
	case e.role.is != Standby || own.Bits&cache.Waiting != 0 || e.tbl.Entry(r).Kern&kPresent == 0:
		own.Bits |= cache.Dead // once our kernel has it no more, if that node still acts by then
		e.peers.marked = true
	}
}

// endedSince marks what others list of a flow that p listed too, translated to reply, and saw end: nodes that have been silent
// since p is active, from which it took the flow over, and those that do not act. Silent ones count as active until they
// have been silent for long, one of them as our leader; what an active one lists is in doubt, until it is purged or changes. An
// earlier run of p's own node had the same kernel: of what it listed p need not have told that it goes on.
func (e *Engine) endedSince(p *peer, r ref, reply flow.Tuple, what cache.Applied) {
	e.eachListed(r, func(q *peer, c *copyOf) {
		before := p.earlierRun(q) && !q.lastHeard.After(p.met)
		idle := !q.lastHeard.After(p.activeFrom) || q.role == Standby && c.Value.Reply == reply
		switch {
		case q == p:
			return
		case before || what == cache.Removed && idle:
			c.Bits |= cache.Dead
		case what == cache.Removed && c.Value.Reply == reply:
			c.Bits |= cache.Doubted
		default:
			return
		}
		q.marked, q.cleared = true, false
	})
}

// saidEnded says that entry r, which our kernel has and nobody here owns, has ended as its leader said before it was ours.
func (e *Engine) saidEnded(r ref) bool {
	if e.tbl.Entry(r).Kern&(kPresent|kEnded) != kPresent || e.log.Lives(r) != nil || e.tbl.Of(r, kernelOwner) != nil {
		return false
	}
	return e.anyListed(r, func(_ *peer, c *copyOf) bool { return c.Bits&cache.Dead != 0 })
}

// maxEarly bounds the ends that wait for their node's heartbeat, which are those of a tenth of a second or of a repair.
const maxEarly = 65536

// mayCount notes that p told the end of entry r. p was a standby as far as we know, and its next heartbeat may say that
// it acts: that comes later where one is lost, or where the first word after a partition is a change.
func (e *Engine) mayCount(p *peer, r ref) {
	own := e.log.Lives(r)
	if e.role.is == TakingOver || len(p.early) >= maxEarly || own == nil && !e.listedBefore(p, r) {
		return
	}
	h := held{r: r}
	if own != nil {
		h.seq = own.Seq
	}
	p.early = append(p.early, h)
}

// listedBefore says that an earlier run of p's node lists entry r.
func (e *Engine) listedBefore(p *peer, r ref) bool {
	return e.anyListed(r, func(q *peer, _ *copyOf) bool { return p.earlierRun(q) })
}

// endedEarly takes the ends that p told before the heartbeat that is being heard, which says whether p acts.
func (e *Engine) endedEarly(p *peer, acts bool) {
	if !acts && p.beat < p.data {
		return // it is older than some of them
	}
	for _, h := range p.early {
		if !acts || e.role.is == TakingOver || !e.tbl.Used(h.r) {
			continue
		}
		if e.still(h, anyBits) != nil {
			e.endedThere(h.r)
		}
		if e.role.is == Standby {
			e.endedSince(p, h.r, flow.Tuple{}, cache.Absent)
		}
		e.release(h.r)
	}
	p.early = nil
}

// aloneFor is how long this node has to be the only active one before it takes it that what its kernel has goes on,
// whatever ends other nodes told: packets come here alone.
const aloneFor = liveFor

// alone forgets ends that others told, once this node has been the only active one for long enough.
func (e *Engine) alone(others int) {
	s := &e.peers
	if e.role.is != Active || others > 0 {
		s.alone = time.Time{}
		return
	}
	if s.alone.IsZero() {
		s.alone = e.now
	}
	if !s.marked || e.now.Sub(s.alone) < aloneFor {
		return
	}
	s.marked = false
	e.addJob(e.scanEntries(func(r ref) {
		own := e.log.Lives(r)
		if own != nil && e.role.is == Active && e.tbl.Entry(r).Kern&kPresent != 0 && !e.evict.holds(own) {
			own.Bits &^= cache.Dead
		}
	}))
}
