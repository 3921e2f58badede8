package engine

import (
	"bytes"
	"sort"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// What other nodes listed becomes our own at a takeover, and as they step back (PROTOCOL O1, O5, O8).

// adopt makes a peer's flow our own, once per incarnation (O5).
func (e *Engine) adopt(p *peer, r ref, c *copyOf) {
	if !c.Live() || c.Bits&(cache.Adopted|cache.Dead|cache.Refused) != 0 {
		return
	}
	if own := e.log.Lives(r); own != nil && !e.givesWay(p, r, own, c) {
		e.loosen(r, own, c)
		return
	}
	e.endOwn(r, cache.Yielded)
	ent := e.tbl.Entry(r)
	if e.endedHere(p, r, c) || e.notToldOf(r) || ent.Kern&(kPresent|kFlight) == 0 && e.ranOut(r, c) {
		return
	}
	c.Bits |= cache.Adopted
	p.marked = true
	from := c
	if k := e.tbl.Of(r, kernelOwner); k != nil {
		from = k
	}
	f := e.flowOf(r, from)
	seenThere := uint32(0) // and not here
	if f.Reply == c.Value.Reply {
		seenThere = c.Value.Status & sticky &^ f.Status
		f.Status |= seenThere
	}
	own := e.log.Put(r, true)
	if from == c {
		own.Bits |= cache.Told
	}
	e.setValue(own, &f.Value, f.Extra)
	e.dropAside(r)
	e.internal(r).Created++
	e.role.adopted++
	e.follow(r, 0)
	unwritten := from == c && ent.Kern&(kDirty|kReborn) != 0 // the kernel has what was before
	ent.Kern &^= kEnded | kReborn
	if from != c {
		ent.Kern &^= kReplace // a packet met what the kernel has: that is right
	}
	switch {
	case ent.Kern&kPresent == 0 || ent.Kern&kReplace != 0 || ent.Shape != shape(&ent.Key, &f.Reply, f.Extra):
		e.dirty(r)
	case ent.Kern&kLiberal == 0 || seenThere != 0 || unwritten || e.isClosed(r, own) && !e.followed(p, ent) || e.ranDown(ent) && !e.isClosed(r, own):
		e.rewrite(r)
	}
}

// notToldOf says that this active node's kernel has entry r, that no node's word made it, and that nothing is known of it: an
// operator had that forgotten, and the dump that follows will tell.
func (e *Engine) notToldOf(r ref) bool {
	return e.role.is == Active && e.tbl.Entry(r).Kern&(kPresent|kFlight|kLiberal) == kPresent && e.tbl.Of(r, kernelOwner) == nil
}

// followed says that our kernel's entry ent is as p, which led us, lists it.
func (e *Engine) followed(p *peer, ent *entry) bool {
	return e.writes() && p == e.peers.leader && e.writer.filled && ent.Kern&(kDirty|kFlight|kLater) == 0
}

// givesWay says that own entry r is from before p acted, whose copy c is the newer: our kernel has it not, or it had closed and
// waits for its end while p lists the connection that has its addresses and ports since, translated otherwise. Whoever acted,
// what our kernel has not gives way if its connection had closed and its time is over.
func (e *Engine) givesWay(p *peer, r ref, own, c *copyOf) bool {
	ent := e.tbl.Entry(r)
	if e.role.is != TakingOver || e.evict.holds(own) {
		return false
	}
	before := p == e.role.lastLeader && own.Seq <= e.purge.last && ent.Kern&kFlight == 0
	if ent.Kern&kPresent == 0 {
		return before || e.timeIsOver(r, own)
	}
	return before && own.Value.Reply != c.Value.Reply && e.isClosed(r, own) && !flow.Closed(&ent.Key, &c.Value.Value)
}

// ranDown says that entry ent is in our kernel from before and nobody has renewed it in time, while packets of its
// connection may have gone through another node: at a warm standby, and at a hot one whose leader was silent for long.
func (e *Engine) ranDown(ent *entry) bool {
	return e.role.is == TakingOver && (ent.Due <= e.seconds() || ent.Kern&kSuspect != 0)
}

// endedHere says that entry r ended here, while this node acted, later than p can have listed it as copy c says, or
// perhaps so: where p acts, as far as was heard, what it said last was perhaps made before our end, and its step-down will
// tell. An end before that says nothing of a flow that went on there, nor does the end of one that was translated otherwise.
func (e *Engine) endedHere(p *peer, r ref, c *copyOf) bool {
	t := e.log.Get(r)
	if t == nil || t.Bits&(cache.Ended|cache.Dead) != cache.Ended|cache.Dead || t.Seq <= e.role.from || t.Value.Reply != c.Value.Reply {
		return false
	}
	if p.acts(e.now) {
		return t.Seq > p.actsPast
	}
	if t.Seq <= e.lastAt(p.actedUntil()) {
		return false
	}
	if c.Seq <= p.told {
		c.Bits |= cache.Dead
		p.marked = true
	}
	return true
}

// lastAt is the own log's end at t, as far as known, or later.
func (e *Engine) lastAt(t time.Time) uint64 {
	if !t.After(e.role.fromAt) {
		return e.role.from
	}
	for _, m := range e.send.marks {
		if !m.at.Before(t) {
			return m.last
		}
	}
	return e.log.Last
}

// loosen has our kernel's entry written once more although it is our own: its connection went on at another
// node, whose copy c is, and window tracking would refuse its packets here (O8).
func (e *Engine) loosen(r ref, own, c *copyOf) {
	ent := e.tbl.Entry(r)
	if e.isClosed(r, own) && own.Value.State == c.Value.State {
		return // it only waits for its end
	}
	notHere := own.Seq <= e.purge.last // since we stepped down
	if own.Bits&cache.Told != 0 && !e.peers.of(c.Owner).actedUntil().Before(e.role.began) {
		notHere = true // nor since it was adopted, and c is of a node that acted longer than the one that it was adopted from
	}
	closed := notHere && e.isClosed(r, c) && !flow.Closed(&ent.Key, &own.Value.Value)
	metElsewhere := notHere && e.role.is == TakingOver // later packets may have come here without an event
	needs := ent.Key.L4 == flow.TCP && ent.Kern&kLiberal == 0 || metElsewhere && e.ranDown(ent) || closed
	if !needs || ent.Kern&kPresent == 0 || own.Value.Reply != c.Value.Reply || e.evict.holds(own) {
		return
	}
	if f := e.flowOf(r, c); (metElsewhere || closed) && own.Value.State != f.State {
		if !metElsewhere {
			there := f.Value     // with what is left of c's time
			f = e.flowOf(r, own) // of the rest our kernel knows better
			takeState(&f.Value, &there)
		}
		own = e.log.Put(r, false) // so the other node's state is the newer
		own.Bits |= cache.Told
		e.setValue(own, &f.Value, f.Extra)
		e.internal(r).Updated++
	}
	e.rewrite(r)
}

// wentOnThere gives own entry r, adopted from what copy c was before and not met here since, the state that c tells now.
func (e *Engine) wentOnThere(r ref, c *copyOf) {
	own := e.log.Lives(r)
	if own == nil || own.Bits&cache.Told == 0 || own.Value.State == c.Value.State || own.Value.Reply != c.Value.Reply || e.evict.holds(own) {
		return
	}
	own = e.log.Put(r, false)
	takeState(&own.Value.Value, &c.Value.Value)
	e.internal(r).Updated++
	e.rewrite(r)
}

// takeState gives v the state that a connection has reached there.
func takeState(v, there *flow.Value) {
	v.State, v.Timeout = there.State, there.Timeout
	v.Status |= there.Status & sticky
}

// wentElsewhere has our kernel's entry written once, for the windows: a node that was active gives the flow back,
// so its packets went there for a while, perhaps without our having heard of it before.
func (e *Engine) wentElsewhere(r ref) {
	ent, own := e.tbl.Entry(r), e.log.Lives(r)
	if e.role.is == Standby || own == nil || ent.Key.L4 != flow.TCP || ent.Kern&(kPresent|kLiberal) != kPresent || e.evict.holds(own) {
		return
	}
	e.rewrite(r)
}

// adoptAll adopts from every epoch that was active once, in the order of O1.
func (e *Engine) adoptAll() {
	for _, p := range e.adoptionOrder() {
		e.addJob(e.adoptFrom(p, jobAdopt))
	}
}

// silentFor is how long who acts is not heard before another node that acts knows better: two heartbeats were lost.
const silentFor = 2*quietBeat + joinSlack

func (e *Engine) adoptionOrder() []*peer {
	var order []*peer
	e.peers.each(func(p *peer) {
		if p.adoptable() {
			order = append(order, p)
		}
	})
	rank := func(p *peer) int {
		acts := p.active(e.now)
		silent := acts && e.now.Sub(p.lastHeard) > silentFor
		switch {
		case p == e.role.lastLeader && !silent:
			return 0
		case acts && !silent:
			return 1
		case p == e.role.lastLeader:
			return 2
		}
		return 3
	}
	sort.SliceStable(order, func(i, j int) bool {
		a, b := order[i], order[j]
		if ra, rb := rank(a), rank(b); ra != rb {
			return ra < rb
		}
		if !a.lastHeard.Equal(b.lastHeard) {
			return a.lastHeard.After(b.lastHeard)
		}
		return bytes.Compare(a.epoch[:], b.epoch[:]) < 0
	})
	return order
}

func (e *Engine) adoptFrom(p *peer, name string) job {
	j := e.scanEntries(func(r ref) {
		if e.role.is == Standby || e.peers.of(p.owner) != p {
			return
		}
		if c := e.tbl.Of(r, p.owner); c != nil {
			e.adopt(p, r, c)
		}
	})
	j.name = name
	return j
}

// mergeFrom adopts what another active node has that we have not: it stepped back or fell silent, and its log
// ends at last (O8).
func (e *Engine) mergeFrom(p *peer, last uint64) {
	p.merging, p.mergeTo = true, last
	e.mergeOnce(p)
}

// mergeRest goes on adopting, once we are active, what the nodes before us listed as they stepped back and
// what is not here yet.
func (e *Engine) mergeRest() {
	e.peers.each(func(p *peer) {
		if p.adoptable() && !p.merging && !p.active(e.now) && !p.rep.Complete(p.last) {
			p.merging, p.mergeTo = true, p.last
		}
	})
}

// mergeOnce adopts what the copies of p hold now; a takeover waits for it.
func (e *Engine) mergeOnce(p *peer) {
	name := "merge"
	if e.role.is == TakingOver {
		name = jobAdopt
	}
	e.addJob(e.adoptFrom(p, name))
}

// hasSuccessor yields an own flow of which p, before copy c gets the value of what it lists now, has the next one: it
// listed ours, or said that it ended, and nothing was met here since we stepped down, or adopted it. Else what our
// kernel has of it, perhaps translated otherwise, would be there as long as a suspect, and a takeover would go on with it.
func (e *Engine) hasSuccessor(p *peer, r ref, c *copyOf, what cache.Applied) {
	own := e.log.Lives(r)
	left := e.evict.holds(own) && e.tbl.Of(r, kernelOwner) == nil
	if left && what == cache.Reborn && p.role != Standby && c.Value.Reply == own.Value.Reply {
		e.endOwn(r, cache.Yielded) // it left with the address to where p is, and has ended there
		return
	}
	if own == nil || e.evict.holds(own) || !e.isBehind(p, r, c, own) {
		return
	}
	next := what == cache.Reborn && c.Value.Reply == own.Value.Reply
	if next || what == cache.Added && (own.Bits&cache.Dead != 0 || e.adoptedFrom(r, p.earlierRun)) {
		e.endOwn(r, cache.Yielded)
	}
}

// isBehind says that own entry r is from before what p lists now as copy c, if it was the same before. Where p does not
// lead us only what our kernel has not is sure not to have been met here, and what was adopted from another node is that
// one's to follow.
func (e *Engine) isBehind(p *peer, r ref, c, own *copyOf) bool {
	before := own.Seq <= e.purge.last
	if e.role.is == Standby && p == e.peers.leader {
		return before
	}
	acts := e.role.is == Standby && before && p.role != Standby
	return (acts || e.adopts(p, c)) && e.tbl.Entry(r).Kern&kPresent == 0 && !e.adoptedFrom(r, p.anotherNode)
}

func (p *peer) anotherNode(q *peer) bool { return q.name != p.name }

// earlierRun says that q is the same node, before it began anew.
func (p *peer) earlierRun(q *peer) bool { return q != p && q.name == p.name }

// adoptedFrom says that entry r was adopted from such a peer.
func (e *Engine) adoptedFrom(r ref, such func(*peer) bool) bool {
	return e.anyListed(r, func(q *peer, c *copyOf) bool { return c.Bits&cache.Adopted != 0 && such(q) })
}

// adopts says that what p tells of copy c is adopted as it comes: while taking over, while p is being merged, and for as long
// as p may read events from when it acted.
func (e *Engine) adopts(p *peer, c *copyOf) bool {
	switch e.role.is {
	case TakingOver:
		return p.adoptable()
	case Active:
		late := p.adoptable() && p.role == Standby && e.now.Sub(p.stepped) <= eventsLate*time.Second
		return late || p.merging && c.Seq <= p.mergeTo
	}
	return false
}
