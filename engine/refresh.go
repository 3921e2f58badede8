package engine

import (
	"time"

	"ctsync/engine/flow"
)

// What a copy's timeout is. The log has the timeout that a flow's last event gave it, which is what a packet gives
// it in that state: later packets refresh the original without any event. So a flow of which nothing is heard may
// have been refreshed just now, or be about to run out, and only the first guess loses no connection: at a takeover
// a copy has at least that whole time left. It is written with some to spare, and written again before that is
// used up.

const (
	// leastTimeout is the shortest timeout a copy is written with; its end is the leader's to tell.
	leastTimeout = 10
	// A copy is written with its timeout and as much again, or a minute, or an eighth of it: so that copies of short
	// timeouts are not renewed all the time, and those of long ones do not outlive a lost end for days.
	mostSpare, spareShare = 60, 8
	// renewEarly is how many seconds before the spare is used up a copy is renewed: a takeover may come in between.
	renewEarly = 2
	// seenWithin is for a flow that only the table shows, with what is left: it may have been refreshed since without
	// an event. It counts as seen just now as far as its state's timeout goes, but not for longer than three hours,
	// which is more than the two after which TCP's own keepalive speaks.
	seenWithin = 3 * 60 * 60
)

// lasting is how many seconds entry r shall have left in our kernel at any time, as copy c says: c's timeout, or
// commit-timeout. What is closed runs down instead.
func (e *Engine) lasting(r ref, c *copyOf) uint32 {
	limit := uint32(e.cfg.CommitTimeout / time.Second)
	left, closed := e.runsDown(r, c)
	switch {
	case closed && limit > 0:
		return max(min(left, limit), 1)
	case closed:
		return max(left, 1)
	case limit > 0:
		return max(limit, leastTimeout)
	}
	return max(c.Value.Timeout, leastTimeout)
}

// spare is what a hot standby's copies have besides.
func (e *Engine) spare(r ref, c *copyOf) uint32 {
	if e.role.is != Standby || !e.writes() || e.isClosed(r, c) {
		return 0
	}
	lasting := e.lasting(r, c)
	return max(min(lasting, mostSpare), lasting/spareShare)
}

// asSeen is the timeout of a flow that the table shows.
func (e *Engine) asSeen(f *flow.Flow) uint32 {
	if f.Kind == flow.KindExpect || flow.Closed(&f.Key, &f.Value) {
		return f.Timeout
	}
	return max(f.Timeout, min(e.timeouts.Of(&f.Key, &f.Value), seenWithin))
}

// setDue says when entry r wants its timeout refreshed, in seconds of the engine.
func (e *Engine) setDue(r ref, due uint32) {
	w := &e.writer
	e.tbl.Entry(r).Due = due
	p := int(r-1) / duePage
	for len(w.pageDue) <= p {
		w.pageDue = append(w.pageDue, neverDue)
	}
	w.pageDue[p] = min(w.pageDue[p], due)
}

// refreshDue makes dirty what has nearly used up its spare time at a hot standby.
func (e *Engine) refreshDue() {
	w := &e.writer
	if e.now.Before(w.nextDue) {
		return
	}
	w.nextDue = e.now.Add(time.Second)
	if e.role.is != Standby || !e.writes() || e.now.Sub(e.peers.leader.lastHeard) > refreshSilent {
		return
	}
	now := e.seconds()
	for p, due := range w.pageDue {
		if due <= now {
			w.pageDue[p] = e.refreshPage(p, now)
		}
	}
}

func (e *Engine) refreshPage(p int, now uint32) uint32 {
	lowest := uint32(neverDue)
	for r := ref(p*duePage + 1); r <= min(ref((p+1)*duePage), e.tbl.Top()); r++ {
		ent := e.tbl.Entry(r)
		if ent.Due == 0 || ent.Kern&(kSuspect|kFailed) != 0 || !e.tbl.Used(r) {
			continue
		}
		if ent.Due > now {
			lowest = min(lowest, ent.Due)
			continue
		}
		ent.Due = 0
		e.dirty(r)
	}
	return lowest
}
