package engine

import (
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// The own cache follows this node's kernel, in every role: flows met between the address coming up and the
// notice are in it. At a Standby an event of what is only a copy never gets into it (PROTOCOL K8).

func (e *Engine) kernelEvents(in *KernelEvents) {
	e.count.kernel.Events += uint64(len(in.Events))
	if in.Lost {
		e.count.kernel.Overruns++
		if e.dump.lost.IsZero() {
			e.dump.lost = e.now
		}
		e.note(Note{Kind: NoteOverrun})
		e.dumpAfterLoss()
	}
	for i := range in.Events {
		if i%cache.MaxWarm == 0 {
			e.warm(in.Events[i:])
		}
		e.kernelEvent(&in.Events[i])
	}
}

// warm has the next events' entries loaded.
func (e *Engine) warm(evs []flow.Event) {
	var keys [cache.MaxWarm]*flow.Key
	n := min(len(evs), len(keys))
	for i := range n {
		keys[i] = &evs[i].Flow.Key
	}
	e.tbl.Warm(keys[:n])
}

// dumpAfterLoss begins a dump once the events that were in the queue before the loss have been read: they are
// older than what the dump would tell, and would count as newer.
func (e *Engine) dumpAfterLoss() {
	d := &e.dump
	d.current = false
	e.send.beatNow = true
	d.again = d.running
	d.retryAt = e.now.Add(queueRead)
}

// queueRead is how long it may take to read what was queued at an overrun: the largest queue holds some
// hundred thousand events, which takes a third of that.
const queueRead = 500 * time.Millisecond

func (e *Engine) kernelEvent(ev *flow.Event) {
	f := &ev.Flow
	portable(f)
	e.eventBesideFlowtable(ev)
	if f.Kind == flow.KindExpect && e.isOrphan(ev) {
		return
	}
	r := e.tbl.Find(&f.Key)
	if r == 0 {
		if ev.Kind == flow.EventDestroy && !e.dump.running || !e.accepts(f) {
			return
		}
		r = e.tbl.Insert(&f.Key)
	}
	e.stamp(r)
	switch ev.Kind {
	case flow.EventNew:
		e.born(r, ev)
	case flow.EventUpdate:
		e.changed(r, ev)
	case flow.EventDestroy:
		e.evict.tells = e.evict.tells || ev.Has&flow.HasTimeout != 0
		e.destroyed(r, e.now, e.evict.tells && ev.Has&flow.HasTimeout == 0)
	}
	if f.Kind == flow.KindFlow && ev.Kind != flow.EventDestroy {
		e.masterCame(r)
	}
	e.release(r)
}

// onlyCopy says that entry r is in our kernel because we wrote it there, and nobody's own here.
func (e *Engine) onlyCopy(r ref) bool {
	return e.role.is == Standby && e.tbl.Entry(r).Kern&kPresent != 0 && e.log.Lives(r) == nil
}

func (e *Engine) born(r ref, ev *flow.Event) {
	if e.evict.holds(e.log.Lives(r)) {
		e.keepAside(r, ev) // until it is known whether the one before ended or was evicted
		return
	}
	if !e.accepts(&ev.Flow) {
		return
	}
	ent := e.tbl.Entry(r)
	e.unfail(ent)
	ent.Kern = ent.Kern&^(kLiberal|kRewrite|kSuspect|kEnded|kReplace|kNoMaster|kNoHelper|kReborn) | kPresent
	e.dropAside(r)
	if e.holdsBack(r, ev) {
		return
	}
	if e.isExpect(r) {
		e.announces(&ev.Flow.Extra.Master)
	}
	e.ownFlow(r, ev, true)
	e.overtook(r)
	e.perhapsDeleted(r)
	if e.isExpect(r) {
		e.refreshMaster(&ev.Flow)
	}
}

// overtook has entry r written once more if an operation of ours may have come after what the kernel has just
// told, with what was so before.
func (e *Engine) overtook(r ref) {
	if e.role.is == Standby {
		return
	}
	ent := e.tbl.Entry(r)
	switch {
	case ent.Kern&kFlight != 0:
		ent.Kern |= kAgain
	case ent.Due != 0 && e.seconds() <= ent.Due+eventsLate:
		ent.Due = 0
		e.rewrite(r)
	}
}

// eventsLate is how many seconds an event may be behind the answer to a later operation.
const eventsLate = 2

func (e *Engine) changed(r ref, ev *flow.Event) {
	e.tracksAgain(r, ev)
	own := e.log.Lives(r)
	switch {
	case e.evict.holds(own):
		e.keepAside(r, ev)
	case own == nil && e.onlyCopy(r):
		e.keepAside(r, ev) // touched: a packet met the copy, the kernel knows better than the leader
	case own == nil && e.isYoung(r):
		e.keepAside(r, ev)
	case own == nil && (!e.accepts(&ev.Flow) || e.isOver(&ev.Flow)):
	default:
		ent := e.tbl.Entry(r)
		unknown := own == nil && ent.Kern&(kPresent|kFlight) == 0
		ent.Kern = ent.Kern&^kSuspect | kPresent
		e.ownFlow(r, ev, false)
		e.dropAside(r)
		e.leftStates(r)
		switch {
		case !unknown:
			e.overtook(r)
		case e.dump.current:
			e.askWhether(r) // it may have ended already, by an operation of ours (PROTOCOL K10)
		}
	}
}

// tracksAgain notes that the kernel tracks windows again in an entry of ours: a new connection with the tuple of one that
// ended a moment ago began in it, for which the kernel clears what we wrote (nf_conntrack_proto_tcp.c, on a SYN-ACK out of
// sync).
func (e *Engine) tracksAgain(r ref, ev *flow.Event) {
	if ev.Flow.L4 == flow.TCP && ev.Has&flow.HasProtoInfo != 0 && !isLiberal(&ev.Flow) {
		e.tbl.Entry(r).Kern &^= kLiberal
	}
}

// isLiberal says that the kernel refuses no packet of f, which is TCP, for its window.
func isLiberal(f *flow.Flow) bool { return f.TCPFlags[0]&f.TCPFlags[1]&flow.TCPFlagBeLiberal != 0 }

// destroyed takes the end of our kernel's entry r, which happened after since. expired says that it certainly
// just ran out.
func (e *Engine) destroyed(r ref, since time.Time, expired bool) {
	ent := e.tbl.Entry(r)
	e.writer.somethingWent = true
	wasPresent, written := ent.Kern&kPresent != 0, ent.Kern&(kLiberal|kFlight|kRewrite) != 0
	unwritten := ent.Kern&(kRewrite|kFlight|kDirty) != 0
	if ent.Kern&kFlight != 0 {
		ent.Kern |= kGone // the answer under way is older than this
	}
	if ent.Kern&kRewrite != 0 && e.role.is != Standby {
		ent.Due = max(e.seconds(), 1) // what came after what it told may have met the next one, too, see overtook
	}
	ent.Kern &^= kPresent | kLiberal | kSuspect | kRewrite | kEnded | kReplace | kNoMaster | kNoHelper | kReborn
	own := e.log.Lives(r)
	if e.evict.holds(own) {
		e.dropAside(r) // the one held back has ended too
		return
	}
	e.dropAside(r)
	expired = expired || own != nil && e.ranOut(r, own)
	switch {
	case own != nil && !written && e.goesOn(r, own), own != nil && unwritten && e.oldAtBest(r, own):
		e.dirty(r)
	case own != nil && (written || e.perhapsOlder(own)) && e.role.is != Standby:
		if expired {
			since = time.Time{}
		}
		e.holdTombstone(r, own, since)
		if ent.Kern&kFlight == 0 {
			e.askWhether(r)
		}
	case own != nil && own.Bits&cache.Dead == 0 && !expired && e.mayBeEviction(r, own, since):
		e.holdTombstone(r, own, since)
	case own != nil:
		e.endOwn(r, cache.Ended)
		e.leaderAgain(r)
	case e.role.is == Standby && wasPresent:
		e.againSoon(r) // a copy's fate never harms the original
	case e.role.is != Standby:
		e.markDead(r, ownOwner) // it ended before it was adopted
	}
}

// perhapsOlder says that a DESTROY may tell the end of the entry before the one that a dump has shown as own: it waited in
// the queue, and the event of the new one was lost.
func (e *Engine) perhapsOlder(own *copyOf) bool {
	return own.Bits&cache.Silent != 0 && !e.dump.lost.IsZero()
}

// leaderAgain makes room for what the leader lists under the key of an own flow that ended; at a node that has taken over
// since, for what is still to be adopted there.
func (e *Engine) leaderAgain(r ref) {
	switch {
	case e.role.is != Standby:
		e.eachListed(r, func(p *peer, c *copyOf) {
			if p.adoptable() && (e.role.is == TakingOver || !p.active(e.now)) {
				e.adopt(p, r, c)
			}
		})
	case e.leaderLists(r) != nil:
		e.againSoon(r)
	}
}

// againSoon has what left a standby's kernel looked at again, unless it would write nothing there anyway.
func (e *Engine) againSoon(r ref) {
	switch l := e.leaderLists(r); {
	case !e.writes():
	case l != nil && e.ranOut(r, l):
		e.awaitTidying(r)
	default:
		e.writer.later(e, r)
	}
}

// ownFlow brings the flow of a kernel message into the own cache. What an UPDATE leaves out is as before. What another node ended,
// and a packet meets here all the same, is told as one that has begun anew: else its end would count there.
func (e *Engine) ownFlow(r ref, ev *flow.Event, fresh bool) {
	old := e.log.Lives(r)
	v, x := ev.Flow.Value, ev.Flow.Extra
	partial := false
	if !fresh {
		before := old
		if before == nil {
			before = e.bestCopy(r)
		}
		if partial = before == nil; !partial {
			x = e.merge(&v, x, before, ev.Has)
		}
	}
	fresh = fresh || old != nil && old.Bits&cache.Dead != 0 && e.role.is != Standby
	created := old == nil || fresh
	if old != nil && fresh {
		e.internal(r).Destroyed++
	}
	c := e.log.Put(r, fresh)
	c.Bits &^= cache.Dead | cache.Silent | cache.Told // a packet met it here
	e.setValue(c, &v, x)
	e.noteShape(r, &v.Reply, x)
	if created {
		if partial {
			c.Bits |= cache.Partial
		}
		e.follow(r, 0)
		e.internal(r).Created++
		if e.role.is != Standby {
			e.markAdopted(r)
		}
		return
	}
	e.internal(r).Updated++
}

// noteShape notes what our kernel's entry looks like, of which it has told.
func (e *Engine) noteShape(r ref, reply *flow.Tuple, x *flow.Extra) {
	ent := e.tbl.Entry(r)
	ent.Shape = shape(&ent.Key, reply, x)
	noteRare(ent, x)
}

// merge fills in v from the copy before it what a kernel message did not carry, and gives the extra.
func (e *Engine) merge(v *flow.Value, x *flow.Extra, before *copyOf, has flow.Has) *flow.Extra {
	o := &before.Value
	if has&flow.HasMark == 0 {
		v.Mark = o.Mark
	}
	if has&flow.HasProtoInfo == 0 {
		v.State, v.WScale, v.TCPFlags = o.State, o.WScale, o.TCPFlags
	}
	if has&flow.HasTimeout == 0 {
		v.Timeout = o.Timeout
	}
	if has&flow.HasStatus == 0 {
		v.Status = o.Status
	}
	if has&flow.HasReply == 0 {
		v.Reply = o.Reply
	}
	old := e.extras.get(o.extra)
	if old != nil && v.Reply != o.Reply { // another connection, of whose beginning we have not heard
		old, has = &flow.Extra{Labels: old.Labels, LabelsCleared: old.LabelsCleared, HasSeqAdj: old.HasSeqAdj}, has|flow.HasRare
	}
	return mergeExtra(x, old, has)
}

// endOwn takes entry r out of the own cache and leaves a tombstone of that kind.
func (e *Engine) endOwn(r ref, kind cache.Bits) {
	own := e.log.Lives(r)
	if own == nil {
		return
	}
	e.dump.hidden = e.dump.hidden || kind == cache.Yielded && own.Bits&cache.Silent != 0
	old := own.Seq <= e.role.from && e.now.Sub(e.role.fromAt) <= liveFor
	e.log.End(r, e.asDecided(kind))
	e.unfail(e.tbl.Entry(r))
	e.internal(r).Destroyed++
	if kind == cache.Ended && e.role.is != Standby {
		e.endedAsOurs(r, own, old)
	}
}

// endedAsOurs says of every peer's copy of entry r that it ended with own. One that is translated otherwise is another
// connection: an own one that is old ended before this node took over, most likely, and had hidden it.
func (e *Engine) endedAsOurs(r ref, own *copyOf, old bool) {
	e.mark(r, cache.Dead, func(c *copyOf) bool { return !old || c.Value.Reply == own.Value.Reply })
}

// asDecided adds to an end that this node saw while it acted that this counts (O3).
func (e *Engine) asDecided(kind cache.Bits) cache.Bits {
	if kind == cache.Ended && e.role.is != Standby {
		return kind | cache.Dead
	}
	return kind
}

// markDead says of every peer's copy of entry r, but that of owner, that this incarnation has ended (O3).
func (e *Engine) markDead(r ref, owner uint8) {
	e.mark(r, cache.Dead, func(c *copyOf) bool { return c.Owner != owner })
}

// markAdopted says of every peer's copy of entry r that it need not be adopted any more.
func (e *Engine) markAdopted(r ref) { e.mark(r, cache.Adopted, func(*copyOf) bool { return true }) }

// mark sets bit in such copies of what peers list of entry r.
func (e *Engine) mark(r ref, bit cache.Bits, such func(c *copyOf) bool) {
	e.eachListed(r, func(p *peer, c *copyOf) {
		if such(c) {
			c.Bits |= bit
			p.marked = true
		}
	})
}

// eachListed gives what every peer lists of entry r.
func (e *Engine) eachListed(r ref, visit func(p *peer, c *copyOf)) {
	e.tbl.Each(r, func(c *copyOf) {
		if c.Owner >= firstPeer && c.Live() {
			visit(e.peers.of(c.Owner), c)
		}
	})
}

// anyListed says whether is holds for one of them.
func (e *Engine) anyListed(r ref, is func(p *peer, c *copyOf) bool) (found bool) {
	e.eachListed(r, func(p *peer, c *copyOf) { found = found || is(p, c) })
	return found
}
