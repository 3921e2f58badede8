package engine

import (
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// Eviction is not an end (PROTOCOL K12). When a node loses an address or a link, its kernel destroys the
// masqueraded flows of it with ordinary DESTROY events; as tombstones they would kill every such connection
// on the new active node. So the tombstone of a source-NATed flow waits, in the copy's Waiting bit, until the
// address has had time to be seen leaving; a flow whose address left is kept, Evicted, until this node steps
// down or has stayed active for long enough.
type evictor struct {
	left    map[flow.Host]time.Time
	waiting []held
	evicted []held
	kept    int  // since the last note
	tells   bool // the kernel tells in a DESTROY what was left of the timeout: without it, it just ran out
}

type held struct {
	r     ref
	seq   uint64 // of the copy, to know it again
	at    time.Time
	since time.Time // an address that left after this took the flow with it; 0: none did
}

const (
	// tombstoneWait is how long rtnetlink may come after conntrack's event.
	tombstoneWait = 100 * time.Millisecond
	// decideTogether is how much longer one waits if nothing happens meanwhile: where connections end all the time, a Step of
	// its own for each, and the datagram that tells of it, would be half of all wake-ups.
	decideTogether = 10 * time.Millisecond
	// leftBefore is how long rtnetlink may come before it.
	leftBefore = time.Second
	// rememberLeft bounds how long a lost event, which only a dump brings to light, may have been lost before.
	rememberLeft = time.Minute
	// evictedFor is how long an active node keeps what it no longer has the address for.
	evictedFor = 3 * time.Second
)

func (v *evictor) init() { v.left = map[flow.Host]time.Time{} }

// addressesNow notes which addresses have left, whether or not they came back.
func (v *evictor) addressesNow(own, before map[flow.Host]bool, now time.Time) {
	for a, at := range v.left {
		if now.Sub(at) > rememberLeft {
			delete(v.left, a)
		}
	}
	for a := range before {
		if !own[a] {
			v.left[a] = now
		}
	}
}

// holds says that the copy's fate is not known yet.
func (v *evictor) holds(c *copyOf) bool { return c != nil && c.Bits&(cache.Waiting|cache.Evicted) != 0 }

func (v *evictor) deadline() time.Time {
	if len(v.waiting) > 0 {
		return v.waiting[0].at.Add(decideTogether)
	}
	if len(v.evicted) > 0 {
		return v.evicted[0].at
	}
	return time.Time{}
}

// mayBeEviction says that the end of entry r after since may be one. What a flow announced goes with it, and after it
// (nf_ct_delete); a dump shows in any order what is gone.
func (e *Engine) mayBeEviction(r ref, own *copyOf, since time.Time) bool {
	_, nat := e.translatedTo(r, own)
	if !nat || !e.isExpect(r) || since.Before(e.now) {
		return nat
	}
	_, master := e.ownMaster(e.extras.get(own.Value.extra))
	return e.evict.holds(master)
}

// translatedTo is the address to which the source of entry r is translated, of an expectation that of its master: the kernel
// takes both when that address leaves.
func (e *Engine) translatedTo(r ref, c *copyOf) (to flow.Addr, nat bool) {
	k, v := &e.tbl.Entry(r).Key, &c.Value.Value
	if e.isExpect(r) {
		m, master := e.ownMaster(e.extras.get(c.Value.extra))
		if master == nil {
			return to, false
		}
		k, v = &e.tbl.Entry(m).Key, &master.Value.Value
	}
	to, _, nat = flow.SourceNAT(k, v)
	return to, nat
}

// holdTombstone has the end of entry r wait, which happened after since, or was certainly no eviction.
func (e *Engine) holdTombstone(r ref, own *copyOf, since time.Time) {
	own.Bits |= cache.Waiting
	if !since.IsZero() {
		since = since.Add(-leftBefore)
	}
	e.evict.waiting = append(e.evict.waiting, held{r, own.Seq, e.now.Add(tombstoneWait), since})
}

// askWhether asks the kernel whether entry r is there: an event may tell the end of the entry that was there
// before ours.
func (e *Engine) askWhether(r ref) {
	e.issue(r, flow.OpGet, &flow.Flow{Key: e.tbl.Entry(r).Key})
	e.out.Ops[len(e.out.Ops)-1].Tag |= whether
}

// whetherThere takes the answer.
func (e *Engine) whetherThere(r ref, res *flow.Result, gone bool) {
	ent := e.tbl.Entry(r)
	own := e.log.Lives(r)
	switch {
	case res.Errno == flow.Unanswered || gone:
		e.askWhether(r)
	case res.Errno != 0 && own != nil && own.Bits&cache.Waiting == 0:
		e.destroyed(r, e.now, false)
	case res.Errno != 0 || res.Flow.Key != ent.Key || own == nil:
		return
	case own.Bits&cache.Waiting == 0:
		ent.Kern |= kPresent
		e.learnRare(r, own, &res.Flow)
	case e.tbl.Of(r, kernelOwner) != nil:
		own.Bits &^= cache.Waiting
		e.endHeld(r) // a packet has made another one meanwhile
	default:
		own.Bits &^= cache.Waiting
		e.thereAfterAll(r, own, &res.Flow)
	}
}

// thereAfterAll takes f for entry r, the end of which was told of the entry before it. What was told of that one may be
// what own says.
func (e *Engine) thereAfterAll(r ref, own *copyOf, f *flow.Flow) {
	ent := e.tbl.Entry(r)
	ent.Kern |= kPresent
	if f.L4 != flow.TCP && own.Bits&cache.Silent == 0 || isLiberal(f) {
		ent.Kern |= kLiberal // it is the one that we wrote
	}
	another := own.Value.Reply != f.Reply
	if another || differs(&own.Value.Value, &f.Value) {
		e.ownAsFound(r, f, another)
	}
	ent.Shape = shape(&ent.Key, &f.Reply, f.Extra)
}

// evictions decides what has waited long enough.
func (e *Engine) evictions() {
	v := &e.evict
	n := 0
	for ; n < len(v.waiting) && !v.waiting[n].at.After(e.now); n++ {
		e.decideWaiting(v.waiting[n])
	}
	v.waiting = v.waiting[n:]
	n = 0
	for ; n < len(v.evicted) && !v.evicted[n].at.After(e.now); n++ {
		e.giveUpEvicted(v.evicted[n])
	}
	v.evicted = v.evicted[n:]
	if v.kept > 0 && len(v.waiting) == 0 {
		e.note(Note{Kind: NoteEvicted, Count: v.kept})
		v.kept = 0
	}
}

const anyBits = ^cache.Bits(0)

// still gives the copy that h is about, if it still is as it was put aside.
func (e *Engine) still(h held, bit cache.Bits) *copyOf {
	if !e.tbl.Used(h.r) {
		return nil
	}
	c := e.log.Lives(h.r)
	if c == nil || c.Seq != h.seq || bit != anyBits && c.Bits&bit == 0 {
		return nil
	}
	return c
}

func (e *Engine) decideWaiting(h held) {
	c := e.still(h, cache.Waiting)
	if c == nil {
		return
	}
	ent := e.tbl.Entry(h.r)
	if ent.Kern&(kFlight|kDirty|kLater) != 0 && ent.Kern&kPresent == 0 {
		h.at = e.now.Add(tombstoneWait)
		e.evict.waiting = append(e.evict.waiting, h)
		return // the kernel is being asked
	}
	c.Bits &^= cache.Waiting
	if ent.Kern&kPresent != 0 {
		if e.tbl.Of(h.r, kernelOwner) != nil {
			e.endHeld(h.r) // another one is there
		}
		return
	}
	if c.Bits&cache.Dead != 0 || !e.addressLeft(h, c) {
		e.endHeld(h.r)
		return
	}
	e.count.activity.Evicted++
	e.evict.kept++
	if e.role.is == Standby {
		e.dropAside(h.r)
		e.leaderAgain(h.r)
		return // it is the active node's now
	}
	if e.role.began.After(h.since.Add(leftBefore)) {
		e.ownAgain(h.r)
		return
	}
	c.Bits |= cache.Evicted
	e.evict.evicted = append(e.evict.evicted, held{r: h.r, seq: h.seq, at: e.now.Add(evictedFor)})
}

// ownAgain brings back entry r, which left with its address before this activation began.
func (e *Engine) ownAgain(r ref) {
	if e.tbl.Of(r, kernelOwner) != nil {
		e.endHeld(r) // a packet has made another one since
		return
	}
	e.dirty(r)
}

// addressLeft says whether the address to which c is translated left after the end of h.
func (e *Engine) addressLeft(h held, c *copyOf) bool {
	to, nat := e.translatedTo(h.r, c)
	at, ok := e.evict.left[flow.Host{Addr: to, L3: e.tbl.Entry(h.r).Key.L3}]
	return nat && ok && !h.since.IsZero() && at.After(h.since)
}

func (e *Engine) giveUpEvicted(h held) {
	if c := e.still(h, cache.Evicted); c != nil {
		c.Bits &^= cache.Evicted
		e.endHeld(h.r)
	}
}

// endHeld publishes the end that was held back, and the flow that followed it.
func (e *Engine) endHeld(r ref) {
	next := e.tbl.Of(r, kernelOwner)
	if next == nil {
		e.endOwn(r, cache.Ended)
		e.leaderAgain(r)
		e.release(r)
		return
	}
	ev := flow.Event{Kind: flow.EventNew, Flow: e.flowOf(r, next)}
	e.endOwn(r, cache.Ended)
	e.dropAside(r)
	if e.accepts(&ev.Flow) {
		e.tbl.Entry(r).Kern |= kPresent
		e.ownFlow(r, &ev, true)
		e.overtook(r)
		if e.role.is == Standby && e.writes() && e.leaderLists(r) != nil {
			e.dirty(r) // it was looked at as the one before
		}
	}
	e.release(r)
}

// leaveHeld ends every wait at a step-down: the flows are the new active node's, and what came after them
// met a node without the address.
func (e *Engine) leaveHeld() {
	for _, hs := range [][]held{e.evict.waiting, e.evict.evicted} {
		for _, h := range hs {
			c := e.still(h, cache.Waiting|cache.Evicted)
			if c == nil || c.Bits&cache.Waiting != 0 && !e.addressLeft(h, c) {
				continue // decided when its time is up
			}
			c.Bits &^= cache.Waiting | cache.Evicted
			e.dropAside(h.r)
		}
	}
	e.evict.evicted = nil
}
