package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"ctsync/engine"
	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// creating is I5: no incarnation whose end was seen comes back.
func (j *judge) creating(n *node, f *flow.Flow) {
	s := j.of(n)
	role := n.eng.Role()
	if at, ok := s.dead[f.Mark]; ok && !j.late(n, f, at) && !j.revived(n, f.Mark, n.lost(f.Mark, at)) && !j.settledLeaderLists(n, f) {
		j.w.fail("I5", "%s (%v) creates %v mark %d again, whose end it saw%s", n, role, f.Key, f.Mark, j.story(f.Key))
		return
	}
	for epoch, have := range s.ledTo {
		h := j.logs[epoch]
		seq, ok := h.ended[f.Mark]
		if ok && seq <= have && !s.cameAfter(h, epoch, f.Mark) && !j.late(n, f, s.knewFrom(epoch, seq)) && !j.revived(n, f.Mark, h.endedAt[f.Mark]) && !j.livedOn(n, f.Mark, h.endedAt[f.Mark]) && !j.settledLeaderLists(n, f) {
			j.w.fail("I5", "%s (%v) creates %v mark %d again, whose end %s told at seq %d%s", n, role, f.Key, f.Mark, h.node, seq, j.story(f.Key))
			return
		}
	}
}

// livedOn says that n's own kernel had that incarnation after t, and lost it with an address while n acted: it went on there,
// whatever another node saw end.
func (j *judge) livedOn(n *node, mark uint32, t time.Time) bool {
	e, ok := n.kern.gone[mark]
	return ok && e.how == "evicted" && e.at.After(t) && j.logs[n.epoch].decided(e.at)
}

// story is what every node's log has of k.
func (j *judge) story(k flow.Key) (s string) {
	for _, n := range j.w.nodes {
		for _, epoch := range n.epochs {
			h := j.logs[epoch]
			for _, l := range h.recs[k] {
				s += fmt.Sprintf("; %s %x seq %d born %d at %.4f mark %d bits %x", n, epoch[:2], l.Seq, l.Born, h.born[l.Born].Sub(j.w.begin).Seconds(), l.Flow.Mark, l.Bits)
			}
		}
	}
	return s
}

func there(n *node, k flow.Key) string {
	if e := n.kern.table[k]; e != nil {
		return show(&e.f)
	}
	return "nothing"
}

func (j *judge) settledLeaderLists(n *node, f *flow.Flow) bool {
	in := n.eng.Inspect()
	if in.Role != engine.Standby {
		return false
	}
	for _, l := range n.eng.Replica(in.Leader) {
		if l.Flow.Key == f.Key && l.Flow.Mark == f.Mark && l.Bits&cache.Tomb == 0 {
			return true
		}
	}
	return false
}

// revived says that another node, which had not heard of the end at that time, had the incarnation as its own when
// it decided, later than the end.
func (j *judge) revived(n *node, mark uint32, end time.Time) bool {
	for _, h := range j.logs {
		if h.node != n && (h.lived[mark].After(end) || h.decides() && h.lists(mark)) {
			return true
		}
	}
	return false
}

// lost is when n's kernel lost the incarnation whose end n told at told: before that, if the end was held back as an
// eviction. Nobody saw the flow end then, and a node that had it later may well have met its packets.
func (n *node) lost(mark uint32, told time.Time) time.Time {
	if e, ok := n.kern.gone[mark]; ok && told.Sub(e.at) > time.Second {
		return e.at
	}
	return told
}

// decides says whether the node of h does so at present.
func (h *history) decides() bool {
	n := len(h.active)
	return n > 0 && h.active[n-1].IsZero()
}

// late says that a record by which f may have been adopted came to n only after its end, at end, or in the same instant, in which
// a node that slept hears everything: a mark on a copy that is not there yet is impossible.
func (j *judge) late(n *node, f *flow.Flow, end time.Time) bool {
	s := j.of(n)
	for epoch, h := range j.logs {
		if h.node == n || len(h.active) == 0 {
			continue
		}
		known := s.knewAt(epoch, end.Add(-1))
		for _, l := range h.recs[f.Key] {
			if l.Flow.Mark == f.Mark && l.Bits&cache.Tomb == 0 && l.Born > known {
				j.w.stats["adopted by a record that came after the end"]++
				return true
			}
		}
	}
	return false
}

// cameAfter says that this node met the log only when the end of mark was told, and perhaps forgotten, already.
func (s *sight) cameAfter(h *history, epoch wire.Epoch, mark uint32) bool {
	t := s.trail[epoch]
	return len(t) == 0 || t[0].at.After(h.endedAt[mark])
}

// metAfter says that this node began to read epoch's log, or began anew because of an operator, after t: an end that was told
// before is perhaps forgotten there, and was not told to it.
func (s *sight) metAfter(epoch wire.Epoch, t time.Time) bool {
	trail := s.trail[epoch]
	for i := len(trail) - 1; i > 0; i-- {
		if trail[i].have == 0 {
			return trail[i].at.After(t)
		}
	}
	return len(trail) == 0 || trail[0].at.After(t)
}

// forgets is told that an operator has n forget what it heard, the marks of adoption with it: what comes again then
// counts as new.
func (j *judge) forgets(n *node) {
	for epoch, t := range j.of(n).trail {
		j.of(n).trail[epoch] = append(t, knew{j.w.now, 0})
	}
}

// knewAt is how much of epoch's log was known at t.
func (s *sight) knewAt(epoch wire.Epoch, t time.Time) (have uint64) {
	for _, k := range s.trail[epoch] {
		if k.at.After(t) {
			break
		}
		have = k.have
	}
	return have
}

// knewFrom is since when epoch's log was known up to seq.
func (s *sight) knewFrom(epoch wire.Epoch, seq uint64) time.Time {
	for _, k := range s.trail[epoch] {
		if k.have >= seq {
			return k.at
		}
	}
	return time.Time{}
}

// upToSince is since when epoch's log was known up to seq without a break, as of t.
func (s *sight) upToSince(epoch wire.Epoch, seq uint64, t time.Time) (since time.Time) {
	for _, k := range s.trail[epoch] {
		switch {
		case k.at.After(t):
			return since
		case k.have < seq:
			since = time.Time{}
		case since.IsZero():
			since = k.at
		}
	}
	return since
}

func (h *history) lists(mark uint32) bool {
	for _, l := range h.now {
		if l.Flow.Mark == mark {
			return true
		}
	}
	return false
}

func show(f *flow.Flow) string {
	text := fmt.Sprintf("%v mark %d reply %v>%v:%d status %x state %d", f.Key, f.Mark, f.Reply.Src.Netip(f.L3), f.Reply.Dst.Netip(f.L3), f.Reply.DstL4, f.Status, f.State)
	if l := labelsOf(f); l != [16]byte{} {
		text += fmt.Sprintf(" labelled %d", binary.LittleEndian.Uint32(l[:]))
	}
	return text
}

// issue notes what n knew when it decided on op.
func (j *judge) issue(n *node, op *flow.Op) issued {
	i := issued{op: *op, at: j.w.now, role: n.eng.Role(), own: j.logs[n.epoch].now[op.Flow.Key].Flow.Reply}
	if r := j.logs[n.epoch].recs[op.Flow.Key]; len(r) > 0 {
		i.knew = r[len(r)-1].Flow.Status
	}
	n.eng.Positions(func(p engine.Position) {
		if p.Leader {
			i.led, i.ledTo = p.Epoch, p.Have
		}
	})
	return i
}

// updating is O6: an active node never makes an entry another incarnation's, but for making good what it did.
func (j *judge) updating(n *node, e *kentry, f *flow.Flow) {
	if n.doing.role != engine.Active || e.f.Mark == f.Mark || e.first == f.Mark || e.injected {
		return
	}
	if e.made.Before(n.roleAt) && e.f.Mark < f.Mark {
		return // it is from before this takeover, and another node had the next one since: marks grow
	}
	if j.w.now.Sub(e.made) < 5*time.Second {
		j.w.stats["update met the next incarnation"]++ // the event that makes it good is on the way
		return
	}
	j.w.fail("O6", "%s is active and turns %v mark %d into mark %d", n, f.Key, e.f.Mark, f.Mark)
}

// knewAt is how it was with e when its delete was decided, as far as anybody can know: at that moment, or when the kernel gave
// the answer that it was decided on, if no event had told more. A delete cannot be made to depend on what came since.
func (i *issued) knewAt(e *kentry) time.Time {
	const answers = time.Second // take no longer than this to arrive
	if i.knew&flow.SeenReply == 0 && i.at.Sub(e.asked) < answers {
		return e.asked
	}
	return i.at
}

// deleting is I4: no live flow is deleted.
func (j *judge) deleting(n *node, e *kentry) {
	w := j.w
	role := n.doing.role
	if role != engine.Standby {
		if n.doing.own != (flow.Tuple{}) && n.doing.own != e.f.Reply && role == engine.TakingOver && !e.made.After(j.of(n).down) {
			return // from before the other node led, which translated it in another way
		}
		if e.f.Status&flow.SeenReply != 0 && !e.replied.After(n.doing.knewAt(e)) {
			w.fail("I4", "%s is %v and deletes %s, which has seen a reply; own cache: %s", n, role, show(&e.f), j.ownOf(n, e.f.Key))
		}
		return
	}
	for _, o := range w.nodes {
		if o == n || o.eng == nil || o.frozen() || o.eng.Role() != engine.Active || !o.vip {
			continue
		}
		at := o.kern.table[e.f.Key]
		if at == nil || at.f.Mark != e.f.Mark || at.f.Reply != e.f.Reply {
			continue
		}
		h := j.logs[o.epoch]
		own, ok := h.now[e.f.Key]
		if ok && (e.led != o.epoch || own.Born > e.ledTo) {
			continue // it began anew as far as this node can know, and is written anew
		}
		if ok && own.Flow.Mark == e.f.Mark && w.now.Sub(o.roleAt) > 2*purgeTimeout && n.eng.Inspect().Leader == o.epoch {
			w.fail("I4", "%s deletes %v mark %d, which the active %s has and lists%s", n, e.f.Key, e.f.Mark, o, j.story(e.f.Key))
			return
		}
	}
	if w.now.Sub(e.seen) < purgeTimeout/2 && !j.endedSomewhere(e.f.Mark) {
		w.stats["deleted what a packet met lately"]++
	}
}

// alive is O3: what the leader lists, proven and complete, is not held for dead. Another node's word does not count.
func (j *judge) alive(n *node, in *engine.Inspection) {
	if in.Role != engine.Standby || !in.Settled {
		return
	}
	for i := range in.Peers {
		p := &in.Peers[i]
		if p.Epoch != in.Leader {
			continue
		}
		for k := range p.Flows {
			if l := &p.Flows[k]; l.Bits&cache.Tomb == 0 && l.Bits&cache.Dead != 0 {
				j.w.fail("O3", "%s holds %v mark %d for dead, which its leader lists%s", n, l.Flow.Key, l.Flow.Mark, j.story(l.Flow.Key))
				return
			}
		}
	}
}

func (j *judge) endedSomewhere(mark uint32) bool {
	for _, h := range j.logs {
		if _, ok := h.ended[mark]; ok {
			return true
		}
	}
	return false
}

// lostConnection is told of a packet that met no entry.
func (j *judge) lostConnection(n *node, x *conn) {
	w := j.w
	j.mustForward(n, x)
	if !w.hot && n.role != engine.Active {
		return // the price of a warm standby: the address is there before the commit
	}
	if w.clients.calm && w.now.Sub(x.born) > time.Second {
		w.fail("calm", "%v mark %d is lost at %s: %+v", x.key, x.mark, n, n.kern.gone[x.mark])
	}
}

func (j *judge) ownOf(n *node, k flow.Key) string {
	if l, ok := j.logs[n.epoch].now[k]; ok {
		return show(&l.Flow)
	}
	return "nothing"
}
