package engine

import (
	"sort"
	"time"

	"ctsync/engine/flow"
)

// A TCP connection that both sides have closed only waits for its time to be over, here as elsewhere: packets hardly
// refresh it any more, and its port is soon used again. Its copies run down with the original, over any number of
// takeovers. Were each to give it its whole time anew, they would pile up where takeovers follow one another, and
// stand in the way of new connections.

// timeline says when a log's sequence numbers were given, to markEvery. Older than what it holds is as old as that.
type timeline struct{ marks []timeMark }

type timeMark struct {
	at   time.Time
	last uint64 // the log's end
}

// timelineSpan marks are kept at least, which are four minutes: a closed connection lasts two, and is then tidied away.
const (
	markEvery    = 250 * time.Millisecond
	timelineSpan = 1024
)

func (t *timeline) note(at time.Time, last uint64) {
	n := len(t.marks)
	if n > 0 && at.Sub(t.marks[n-1].at) < markEvery {
		return
	}
	if n == 2*timelineSpan {
		t.marks = t.marks[:copy(t.marks, t.marks[timelineSpan:])]
	}
	t.marks = append(t.marks, timeMark{at, last})
}

// age is how long ago seq was given, at least.
func (t *timeline) age(now time.Time, seq uint64) time.Duration {
	i := sort.Search(len(t.marks), func(i int) bool { return t.marks[i].last >= seq })
	if i == len(t.marks) {
		return 0
	}
	return now.Sub(t.marks[i].at)
}

// runsDown says that copy c of entry r is of a closed TCP connection, and how many seconds of it are left. If it is
// still listed when its node's kernel should have tidied it away, packets refresh it all the same, and it is as any.
// What a node lists is known up to when nothing of its log was missing here: an end may be in what is missing.
func (e *Engine) runsDown(r ref, c *copyOf) (left uint32, closed bool) {
	if !flow.Closed(&e.tbl.Entry(r).Key, &c.Value.Value) {
		return 0, false
	}
	passed, listed := uint32(0), uint32(0) // seconds since its last event
	switch {
	case c.Owner == ownOwner:
		passed = wholeSeconds(e.send.timeline.age(e.now, c.Seq))
		listed = passed
	case c.Owner >= firstPeer:
		p := e.peers.of(c.Owner)
		passed = wholeSeconds(p.timeline.age(e.now, c.Seq))
		listed = wholeSeconds(p.timeline.age(p.whole, c.Seq))
	}
	return c.Value.Timeout - min(c.Value.Timeout, passed), listed < c.Value.Timeout+e.timeouts.Tidied
}

// wholeSeconds is an age, which is below 0 where a clock went back.
func wholeSeconds(age time.Duration) uint32 {
	return uint32(max(age, 0).Round(time.Second) / time.Second)
}

func (e *Engine) isClosed(r ref, c *copyOf) bool {
	_, closed := e.runsDown(r, c)
	return closed
}

// ranOut says that copy c is of a closed connection whose time is over: nobody misses it.
func (e *Engine) ranOut(r ref, c *copyOf) bool {
	left, closed := e.runsDown(r, c)
	return closed && left == 0
}

// timeIsOver is ranOut of an own flow that our kernel has not: no packet can have refreshed it.
func (e *Engine) timeIsOver(r ref, own *copyOf) bool {
	left, _ := e.runsDown(r, own)
	return left == 0 && flow.Closed(&e.tbl.Entry(r).Key, &own.Value.Value)
}

// timeoutOf is copy c's timeout in seconds: what its last packet gave it, or what is left of that.
func (e *Engine) timeoutOf(r ref, c *copyOf) uint32 {
	if left, closed := e.runsDown(r, c); closed {
		return left
	}
	return c.Value.Timeout
}

// awaitTidying has entry r looked at again if it is not written because its connection has closed and its time is over:
// packets may refresh it all the same.
func (e *Engine) awaitTidying(r ref) {
	l := e.leaderLists(r)
	if e.role.is == Standby && e.writes() && l != nil && e.tbl.Entry(r).Kern&kPresent == 0 && e.ranOut(r, l) {
		e.setDue(r, e.seconds()+e.timeouts.Tidied+2)
	}
}
