package engine

import "time"

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

// refreshDue makes dirty what has used up half of its timeout at a hot standby: traffic refreshes the
// original without any event.
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
		if ent.Due == 0 || ent.Kern&(kPresent|kSuspect|kFailed) != kPresent || !e.tbl.Used(r) {
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
