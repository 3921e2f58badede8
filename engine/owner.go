package engine

import (
	"bytes"
	"time"

	"ctsync/engine/cache"
)

// Ownership (PROTOCOL section 5): which copy counts, and who may act. Copies are faithful in every role.

// chooseLeader gives a Standby its leader: the present one while it is live and active, else the live active
// node that has been so for longest, else the last one, dead or not (O1). Silence never changes it.
func (e *Engine) chooseLeader() {
	if e.role.is != Standby {
		return
	}
	s := &e.peers
	if l := s.leader; l != nil && l.active(e.now) {
		return
	}
	var best *peer
	s.each(func(p *peer) {
		if !p.active(e.now) {
			return
		}
		if best == nil || p.activeFrom.Before(best.activeFrom) ||
			p.activeFrom.Equal(best.activeFrom) && bytes.Compare(p.epoch[:], best.epoch[:]) < 0 {
			best = p
		}
	})
	if best == nil || best == s.leader {
		return
	}
	s.leader, s.settled, e.writer.recent = best, false, nil
	e.role.readyAt = time.Time{} // by proof against this one only
	best.cleared = false
	e.recountExternal()
	e.purge.reset()
}

// leaderSettled says that the leader is live, active, complete and proven, now and since it became leader, and that a proof
// has cleared what was noted of its flows before.
func (e *Engine) leaderSettled() bool {
	l := e.peers.leader
	return l != nil && e.peers.settled && l.active(e.now) && l.complete && l.proven(e.now) && (l.cleared || !l.marked)
}

// provenNow acts on a proof: the leader of a Standby is settled by its first one as active.
func (e *Engine) provenNow(p *peer) {
	if p.merging && p.rep.Have >= p.mergeTo {
		e.mergeOnce(p)
		p.merging = false
	}
	if p != e.peers.leader || !p.proven(e.now) || e.role.is != Standby {
		return
	}
	if p.complete && p.marked && !p.cleared && !e.overruled(p) {
		p.cleared, p.marked = true, false
		e.clearMarks(p)
	}
	if p.role != Active || e.peers.settled && !e.writer.left {
		return
	}
	e.peers.settled, e.writer.left, e.role.led = true, false, true
	e.fill()
}

// overruled says that p stands by while another node acts: what that one told of p's flows counts.
func (e *Engine) overruled(p *peer) bool {
	return p.role == Standby && e.peers.anyActs(e.now)
}

// fill brings everything that the leader lists, or has ended, to the attention of the kernel writer. Until it
// has got through, the node is not ready.
func (e *Engine) fill() {
	w := &e.writer
	w.filling++
	w.filled, w.scanned = false, false
	for _, r := range w.recent {
		if e.tbl.Used(r) {
			e.dirty(r)
		}
	}
	w.recent = nil
	scan := e.scanEntries(func(r ref) {
		listed := e.leaderLists(r)
		if l := e.leads(r); (l == nil || !l.Live()) && e.saidEnded(r) { // what is in doubt may go on
			e.tbl.Entry(r).Kern |= kEnded
		}
		if e.writes() && listed != nil || e.follows() && e.tbl.Entry(r).Kern&kEnded != 0 || e.outlived(r, e.log.Lives(r), listed) {
			e.dirty(r)
		}
	})
	scan.afterWriter = true
	e.addJob(scan)
	round := w.filling
	e.addJob(finish(func() {
		if round == w.filling {
			w.scanned, w.fillTo, w.fillOps = true, w.pushed, 0
		}
	}))
}

// maxRecent bounds what is remembered of changes before a proof.
const maxRecent = 1 << 16

// changedBeforeProof notes what the leader tells, unasked, of entry r before its proof: it need not wait until all is
// written that it had listed before. What is new a hot standby that has not acted yet creates at once.
func (e *Engine) changedBeforeProof(p *peer, r ref) {
	w := &e.writer
	if !e.cfg.Hot || e.follows() || p.answers || len(w.recent) >= maxRecent {
		return
	}
	w.recent = append(w.recent, r)
	if e.early(r) {
		e.dirty(r)
	}
}

// early says that what the leader lists of entry r may be created before the proof: nothing is known of it here from any time
// before, so that nothing is harmed, and what was not heard of its end yet deletes it again.
func (e *Engine) early(r ref) bool {
	ent, l := e.tbl.Entry(r), e.leaderLists(r)
	return e.cfg.Hot && e.role.is == Standby && e.role.activation == 0 && l != nil && e.leaderActs() && l.Bits&(cache.Dead|cache.Refused) == 0 &&
		e.log.Get(r) == nil && ent.Kern&(kPresent|kRewrite|kEnded) == 0
}

// clearMarks forgets what was noted of the leader's flows: what it lists now, proven and complete, is so.
func (e *Engine) clearMarks(p *peer) {
	for i := ref(1); i <= e.tbl.TopCopy(); i++ {
		if c := e.tbl.Copy(i); e.tbl.UsedCopy(i) && c.Owner == p.owner {
			c.Bits &^= cache.Adopted | cache.Dead | cache.Doubted
		}
	}
}

// leaderEnded acts on the end of a flow that the leader saw (O3).
func (e *Engine) leaderEnded(p *peer, r ref) {
	e.markDead(r, p.owner)
	ent := e.tbl.Entry(r)
	e.unfail(ent)
	if own := e.log.Lives(r); own != nil {
		notOurs := ent.Kern&kPresent == 0 && !e.evict.holds(own)
		switch {
		case notOurs && (e.role.is == Standby || ent.Kern&(kFlight|kRewrite) == 0): // kRewrite: a create stayed unanswered
			e.endOwn(r, cache.Ended)
		case e.role.is == Standby:
			own.Bits |= cache.Dead // once our kernel has it no more: an eviction leaves it to nobody
			e.purge.again = true
		default:
			own.Bits |= cache.Dead // once our kernel has it no more, unless what is under way has put it there
			e.peers.marked = true
		}
		return
	}
	if e.role.is == Standby && ent.Kern&(kPresent|kFlight|kLater|kRewrite) != 0 { // kLater: a DESTROY came, perhaps of an entry before ours
		ent.Kern |= kEnded
		e.dirty(r)
	}
}

// yield drops entry r from a Standby's own cache if the settled leader lists it as well (O4): the flow goes on, and
// it is the leader's.
func (e *Engine) yield(r ref) {
	own, l := e.log.Lives(r), e.leaderLists(r)
	if own == nil || l == nil || e.evict.holds(own) || e.peers.leader.theyHave < own.Seq {
		return
	}
	if own.Value.Reply != l.Value.Reply && e.ownIsThere(r, own) {
		return
	}
	e.endOwn(r, cache.Yielded)
	if e.writes() {
		e.dirty(r)
	}
}

const yieldEvery = time.Second
