package engine

import (
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// Young flows (sync-after): most connections are over before anybody could need them elsewhere. While this node is
// active, a flow that begins waits beside the own cache until it is old enough; what ends before is never told of.
// Its copy under kernelOwner has in Seq the number by which the list knows it again; other copies there have 0.
//
// Waiting ends early where the flow is about to be needed: at a step-down, and when a helper announces another one by it;
// and when enough packets have passed.
type nursery struct {
	list    queue[infant] // in the order of their beginning, some ended since
	last    uint64
	waiting int // that have not ended
	counts  counts
}

type infant struct {
	r     ref
	id    uint64
	began time.Duration // since the engine's start
}

// holdsBack takes the new flow of ev, entry r, into the nursery, if it has to wait.
func (e *Engine) holdsBack(r ref, ev *flow.Event) bool {
	if e.filter.After == 0 || e.role.is != Active || e.log.Lives(r) != nil || e.isExpect(r) || e.tbl.Entry(r).Kern&kFlight != 0 {
		return false
	}
	e.keepAside(r, ev)
	y := &e.young
	y.last++
	e.tbl.Of(r, kernelOwner).Seq = y.last
	y.waiting++
	i := infant{r, y.last, e.now.Sub(e.start)}
	y.list.push(i)
	if e.filter.Packets > 0 {
		y.counts[0].push(i)
	}
	e.markAdopted(r)
	return true
}

// isYoung says that entry r waits.
func (e *Engine) isYoung(r ref) bool {
	c := e.tbl.Of(r, kernelOwner)
	return c != nil && c.Seq != 0 && e.log.Lives(r) == nil
}

// isOver says that nobody needs f any more who has not got it.
func (e *Engine) isOver(f *flow.Flow) bool {
	return e.filter.After > 0 && flow.Closed(&f.Key, &f.Value)
}

// growUp tells of what is old enough, so much of it that no Step takes long.
func (e *Engine) growUp() {
	for n := 0; e.young.due(e) && n < sliceEntries; n++ {
		e.nextInfant()
	}
}

// due says that the first of the list is old enough.
func (y *nursery) due(e *Engine) bool {
	return y.list.len() > 0 && e.now.Sub(e.start)-y.list.first().began >= e.filter.After
}

// allGrowUp ends all waiting.
func (e *Engine) allGrowUp() {
	for e.young.list.len() > 0 {
		e.nextInfant()
	}
}

func (e *Engine) nextInfant() {
	if i := e.young.list.pop(); e.waits(i) {
		e.growsUp(i.r)
	}
}

// growsUp brings the waiting entry r into the own cache, unless it is over.
func (e *Engine) growsUp(r ref) {
	ev := flow.Event{Kind: flow.EventNew, Flow: e.flowOf(r, e.tbl.Of(r, kernelOwner))}
	e.dropAside(r)
	if !e.isOver(&ev.Flow) && e.accepts(&ev.Flow) {
		e.ownFlow(r, &ev, true)
	}
	e.release(r)
}

// announces tells at once of the master of a new expectation, which would be of no use elsewhere without it.
func (e *Engine) announces(master *flow.Key) {
	if m := e.tbl.Find(master); m != 0 && e.isYoung(m) {
		e.growsUp(m)
	}
}

// leftStates takes the own flow of entry r out of the own cache if a change brought it into a state that is not
// replicated: for the others it has ended.
func (e *Engine) leftStates(r ref) {
	own := e.log.Lives(r)
	if !e.filter.SomeStates || e.role.is == Standby || e.isExpect(r) {
		return
	}
	if f := e.flowOf(r, own); !e.accepts(&f) {
		e.endOwn(r, cache.Ended)
	}
}
