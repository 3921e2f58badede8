package sim

import (
	"fmt"
	"slices"
	"time"

	"ctsync/engine"
	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// What holds after peace holds before it too, wherever nothing is under way: only for a moment may a node's caches and
// its kernel say different things. A difference is judged once it has lasted for tolerated while the node was steady.
type differing struct {
	mark  uint32
	since time.Time
	round int // of the look that met it last
}

// tolerated is how long a difference may last: more than a second try takes.
const tolerated = 4 * time.Second

// steadied judges the node that in is of, at a look.
func (j *judge) steadied(n *node, in *engine.Inspection) {
	s := j.of(n)
	s.looks++
	s.follows(in)
	if !j.steady(n, in) {
		clear(s.differs)
		return
	}
	switch {
	case in.Role == engine.Active:
		j.ownIsKernel(n, in)
		j.nothingLeft(n, in)
	case j.w.hot && in.Settled:
		j.copiesAreKernel(n, in)
	}
	for k, d := range s.differs {
		if d.round != s.looks {
			delete(s.differs, k)
		}
	}
}

// follows notes what this node knew of its leader's log when that began to lead it.
func (s *sight) follows(in *engine.Inspection) {
	if in.Leader == s.leader {
		return
	}
	s.leader, s.ledFrom = in.Leader, 0
	for i := range in.Peers {
		if in.Peers[i].Epoch == in.Leader {
			s.ledFrom = in.Peers[i].Have
		}
	}
}

// steady says that nothing is under way at n that could explain a difference.
func (j *judge) steady(n *node, in *engine.Inspection) bool {
	f := &j.w.fault
	return in.Role != engine.TakingOver && in.Complete && in.Dirty+in.Waiting+in.Outstanding == 0 &&
		len(n.kern.events) == 0 && !n.kern.lost && !n.frozen() && f.unanswered == 0 && f.dumpFails == 0 && f.enomem == 0
}

// differ is told of one difference, at each look.
func (j *judge) differ(n *node, invariant, kind string, k flow.Key, mark uint32, format string, args ...any) {
	s := j.of(n)
	at := difference{kind, k}
	d := s.differs[at]
	if d.mark != mark || d.since.IsZero() {
		d = differing{mark: mark, since: j.w.now}
	}
	d.round = s.looks
	s.differs[at] = d
	if lasts := j.w.now.Sub(d.since); lasts > tolerated {
		j.w.fail(invariant, "%s, for %v: %s%s", n, lasts, fmt.Sprintf(format, args...), j.story(k))
	}
}

type difference struct {
	kind string
	key  flow.Key
}

// ownIsKernel is I1 at an active node.
func (j *judge) ownIsKernel(n *node, in *engine.Inspection) {
	own := map[flow.Key]*engine.Listed{}
	for i := range in.Own {
		if l := &in.Own[i]; l.Bits&cache.Tomb == 0 {
			own[l.Flow.Key] = l
		}
	}
	for _, e := range n.kern.sorted() {
		l := own[e.f.Key]
		switch {
		case l == nil:
			j.differ(n, "I1", "lacks", e.f.Key, e.f.Mark, "its kernel has %s, its own cache has not", show(&e.f))
		case l.Bits&(cache.Waiting|cache.Evicted) != 0:
		case l.Flow.Mark != e.f.Mark || l.Flow.Reply != e.f.Reply || l.Flow.State != e.f.State:
			j.differ(n, "I1", "other", e.f.Key, e.f.Mark, "its kernel has %s, its own cache %s", show(&e.f), show(&l.Flow))
		}
	}
	for k, l := range own {
		if n.kern.table[k] == nil && l.Bits&(cache.Waiting|cache.Evicted) == 0 && !(l.Failed && !l.Present) {
			j.differ(n, "I1", "lists", k, l.Flow.Mark, "it lists %s, present %v, its kernel has it not", show(&l.Flow), l.Present)
		}
	}
}

// nothingLeft is I6 after a takeover: what another node listed when it had been active, and nobody ended, is here.
func (j *judge) nothingLeft(n *node, in *engine.Inspection) {
	own := map[flow.Key]bool{}
	for i := range in.Own {
		if l := &in.Own[i]; l.Bits&cache.Tomb == 0 {
			own[l.Flow.Key] = true
		}
	}
	for i := range in.Peers {
		p := &in.Peers[i]
		if !p.Adoptable || p.Live && p.Role != engine.Standby {
			continue
		}
		for k := range p.Flows {
			l := &p.Flows[k]
			if l.Bits&(cache.Tomb|cache.Refused) != 0 || own[l.Flow.Key] || !j.owed(n, p.Epoch, l) {
				continue
			}
			j.differ(n, "I6", "left", l.Flow.Key, l.Flow.Mark, "it is active and has not %s of %s, bits %x, which nobody ended", show(&l.Flow), p.Name, l.Bits)
		}
	}
}

// owed says that n, which is active, has to have l of epoch's log: it goes on, n has neither had it in its kernel nor left it
// to another node, and nothing else has its reply tuple there.
func (j *judge) owed(n *node, epoch wire.Epoch, l *engine.Listed) bool {
	_, seen := j.of(n).dead[l.Flow.Mark]
	_, went := n.kern.gone[l.Flow.Mark]
	if seen || went || j.logs[n.epoch].has(l.Flow.Key, l.Flow.Mark, cache.Yielded) {
		return false
	}
	return j.goesOn(n, epoch, l) && n.kern.tuples[reply(&l.Flow.Key, &l.Flow.Value)] == nil
}

// goesOn says that l of epoch's log is a flow that began there while that node decided, and of which no node that decides has
// told the end, nor one of its key's since, and whose key no packet has used anew, whoever met it.
func (j *judge) goesOn(n *node, epoch wire.Epoch, l *engine.Listed) bool {
	h := j.logs[epoch]
	began, told := h.born[l.Born]
	if !told || !h.decided(began) || j.ranOut(n, epoch, l) {
		return false
	}
	for _, o := range j.logs {
		for i := range o.recs[l.Flow.Key] {
			r := &o.recs[l.Flow.Key][i]
			if r.Bits&cache.Ended != 0 && (r.Flow.Mark == l.Flow.Mark || o.told[r.Seq].After(h.told[l.Seq])) {
				return false
			}
			if r.Flow.Mark > l.Flow.Mark { // packets make ever higher ones
				return false
			}
		}
	}
	return true
}

// decided says whether the node of h decided at t.
func (h *history) decided(t time.Time) bool {
	for i := 0; i+1 < len(h.active); i += 2 {
		if from, to := h.active[i], h.active[i+1]; !t.Before(from) && (to.IsZero() || t.Before(to)) {
			return true
		}
	}
	return false
}

// copiesAreKernel is I1 at a hot standby, for what its leader lists or has ended as far as this node knows. Of what ended
// before it met that log it was never told, and what another node's log said that did not lead it deletes nothing: that is
// the purge's, as what its leader never had is, and what was its own until an operator had that forgotten (12814). And what the leader lists
// now has not ended, though its incarnation did once: it was adopted again, or is a closed connection whose time is over.
func (j *judge) copiesAreKernel(n *node, in *engine.Inspection) {
	var leader *engine.PeerInspection
	for i := range in.Peers {
		if in.Peers[i].Epoch == in.Leader {
			leader = &in.Peers[i]
		}
	}
	h := j.logs[in.Leader]
	own, lists := map[flow.Key]bool{}, map[flow.Key]bool{}
	for i := range in.Own {
		own[in.Own[i].Flow.Key] = own[in.Own[i].Flow.Key] || in.Own[i].Bits&cache.Tomb == 0
	}
	for i := range leader.Flows {
		l := &leader.Flows[i]
		if l.Bits&(cache.Tomb|cache.Stale) != 0 {
			continue
		}
		k := l.Flow.Key
		lists[k] = true
		if l.Bits&cache.Refused != 0 || l.Failed || j.ranOut(n, in.Leader, l) {
			continue
		}
		e := n.kern.table[k]
		switch {
		case own[k]:
		case e == nil:
			j.differ(n, "I1", "copy", k, l.Flow.Mark, "its leader lists %s, its kernel has it not", show(&l.Flow))
		case e.f.Reply != l.Flow.Reply || e.f.Mark != l.Flow.Mark || e.f.State != l.Flow.State:
			j.differ(n, "I1", "copy", k, l.Flow.Mark, "its leader lists %s, its kernel has %s", show(&l.Flow), show(&e.f))
		}
	}
	for _, e := range n.kern.sorted() {
		seq, ended := h.ended[e.f.Mark]
		if !lists[e.f.Key] && !own[e.f.Key] && e.injected && ended && seq > j.of(n).ledFrom && seq <= leader.Have && !j.of(n).metAfter(in.Leader, h.endedAt[e.f.Mark]) &&
			!j.logs[n.epoch].gaveUp(e.f.Key, e.f.Mark, h.endedAt[e.f.Mark]) {
			j.differ(n, "I1", "ended", e.f.Key, e.f.Mark, "its kernel has %s, which its leader has ended", show(&e.f))
		}
	}
}

// gaveUp says that the log had that incarnation until after t, and yielded it then.
func (h *history) gaveUp(k flow.Key, mark uint32, t time.Time) bool {
	for i := range h.recs[k] {
		if l := &h.recs[k][i]; l.Flow.Mark == mark && l.Bits&cache.Yielded != 0 && h.told[l.Seq].After(t) {
			return true
		}
	}
	return false
}

// mustForward is told of a packet that met at n no entry of its connection x. A hot standby that was ready when it took over
// has each connection that it knew of then and that goes on, or has it in its log at least, and reports it. Of two incarnations
// that are translated alike it may be the one before, of its own, that waits for room in the table (11752).
func (j *judge) mustForward(n *node, x *conn) {
	s := j.of(n)
	if !j.w.hot || n.eng == nil || n.role != engine.Active || !s.ready || j.logs[n.epoch].has(x.key, x.mark, 0) {
		return
	}
	n.eng.Positions(func(p engine.Position) {
		l := j.logs[p.Epoch].newest(x.key, s.knewAt(p.Epoch, n.roleAt))
		if l != nil && l.Flow.Mark == x.mark && l.Bits&cache.Tomb == 0 && !j.leftOut(n, p.Epoch, l) && j.goesOn(n, p.Epoch, l) && !formerWaits(n, l) {
			j.w.fail("I6", "%s was ready, knew of %v mark %d and has not taken it over%s", n, x.key, x.mark, j.story(x.key))
		}
	})
}

// formerWaits says that n's own incarnation before l, translated alike, is not in its kernel, and that something waits for room there.
func formerWaits(n *node, l *engine.Listed) bool {
	in := n.eng.Inspect()
	return in.Waiting > 0 && slices.ContainsFunc(in.Own, func(o engine.Listed) bool {
		return o.Flow.Key == l.Flow.Key && o.Flow.Reply == l.Flow.Reply && o.Bits&cache.Tomb == 0 && !o.Present
	})
}

// leftOut says that n, as it took over, had never heard l of epoch's log: its key had changed once more before the log was
// known here up to l. What is asked for is answered with the present state, so l was not among it, and the change was
// still to come.
func (j *judge) leftOut(n *node, epoch wire.Epoch, l *engine.Listed) bool {
	s, h := j.of(n), j.logs[epoch]
	have := s.knewAt(epoch, n.roleAt)
	since := s.upToSince(epoch, l.Seq, n.roleAt)
	for i := range h.recs[l.Flow.Key] {
		if r := &h.recs[l.Flow.Key][i]; r.Seq > have && !h.told[r.Seq].After(since) {
			return true
		}
	}
	return false
}

// has says that the log has, or had, a record of that incarnation with those bits.
func (h *history) has(k flow.Key, mark uint32, bits cache.Bits) bool {
	for i := range h.recs[k] {
		if l := &h.recs[k][i]; l.Flow.Mark == mark && l.Bits&bits == bits {
			return true
		}
	}
	return false
}

// ranDown is told that entry e of n's kernel ran out. A ready standby renews what its leader lists.
func (j *judge) ranDown(n *node, e *kentry) {
	if !e.injected || n.eng == nil || n.frozen() || n.role != engine.Standby || n.ready != engine.Ready || n.leapt > 0 || j.w.fault.slowKernel > 0 {
		return
	}
	in := n.eng.Inspect()
	if !in.Settled || !j.w.hot || !j.steady(n, &in) {
		return
	}
	for _, l := range n.eng.Replica(in.Leader) {
		if l.Flow.Mark == e.f.Mark && l.Bits&(cache.Tomb|cache.Stale) == 0 && !j.ranOut(n, in.Leader, &l) && !j.closedHere(n, in.Leader, e) {
			j.w.fail("I4", "%s lets the copy of %s run out, which its leader lists%s", n, show(&e.f), j.story(e.f.Key))
		}
	}
}

// closedHere says that n saw the connection of e close when it decided, and that its leader has not been told yet: it is over,
// whatever that lists.
func (j *judge) closedHere(n *node, leader wire.Epoch, e *kentry) bool {
	l, ok := j.logs[n.epoch].now[e.f.Key]
	if !ok || l.Flow.Mark != e.f.Mark || !flow.Closed(&l.Flow.Key, &l.Flow.Value) || !j.logs[n.epoch].decided(j.logs[n.epoch].told[l.Seq]) {
		return false
	}
	o, told := j.logs[leader].node, false
	if o.eng != nil && o.epoch == leader {
		o.eng.Positions(func(p engine.Position) { told = told || p.Epoch == n.epoch && p.Have >= l.Seq })
	}
	return !told
}
