package engine

import (
	"time"

	"ctsync/engine/wire"
)

// What is missing of a peer's log is asked for by ranges, and answered with what the log has of them now (PROTOCOL R3):
// one question at a time, for all that is missing. The next one goes out as soon as the answer has ended, or, where its
// end was lost, when nothing of it has come for a while. So a link that loses a third of all costs some more questions
// and little time, and one that is slow is not asked again for what is under way.

const (
	creditFull = 64 // datagrams of one answer; they fit into a socket's buffer
	askAgain   = 20 * time.Millisecond
	askAtMost  = time.Second
)

// giving is what a peer asked for: what is left of it, lowest first, and how many datagrams it will take.
type giving struct {
	left         []wire.Range // of all
	all          []wire.Range
	base, credit uint64
}

// asking is what we asked a peer for, one question at a time.
type asking struct {
	to      uint64    // the end of the highest range; 0: nothing is asked
	arrived int       // datagrams with something that was missing
	ended   bool      // the last one of the answer was among them
	first   time.Time // when it was asked for first, while nothing has come
	at      time.Time // of the next question
	delay   time.Duration
	counted uint64 // up to here what was missing is counted as lost
	have    uint64 // at the last look, to see progress
	seen    time.Time
}

// hearWant takes a peer's question, which takes the place of the one before. A question from before what we still know
// of ends is answered by RESTART (PROTOCOL R4), unless the asker began so late that those ends do not concern it. One that
// was overtaken by a heartbeat that says that its beginning has come is over.
func (e *Engine) hearWant(p *peer, h *wire.Header, body []byte) error {
	a := &e.send.asked
	if err := wire.DecodeAsk(body, a); err != nil {
		return err
	}
	e.count.messages.Wants++
	if h.Counter < p.beat && a.From < p.theyHave {
		return nil
	}
	g := &p.give
	g.all, g.base, g.credit = append(append(g.all[:0], a.Range), a.Further...), a.Base, 0
	g.left = g.all
	if e.forgotten(g) {
		e.restartAsked(p)
		return nil
	}
	for n := len(g.left) - 1; n >= 0 && g.left[n].To > e.log.Last; n-- {
		g.left[n].To = e.log.Last
		if g.left[n].From >= e.log.Last {
			g.left = g.left[:n]
		}
	}
	if len(g.left) > 0 && g.left[0].From < g.left[0].To {
		g.credit = min(a.Credit, creditFull)
	}
	return nil
}

// forgotten says that ends which concern the asker are not known any more: what is left of its ranges would
// silently lack them. That holds for a question from 0, too: the asker may have met the log when it was empty, and
// hold what it heard since.
func (e *Engine) forgotten(g *giving) bool { return max(g.left[0].From, g.base) < e.log.Horizon }

// repair gives peers what they asked for.
func (e *Engine) repair() {
	for _, p := range e.peers.list {
		if p == nil {
			continue
		}
		g := &p.give
		if g.credit > 0 && e.forgotten(g) { // since the question
			e.restartAsked(p)
			g.credit = 0
		}
		for n := 0; n < repairBudget && g.credit > 0; n++ {
			g.gave(e.sendRange(g.left[0].From, g.left[0].To, p))
			e.count.messages.Repairs++
		}
	}
}

// gave notes that one more datagram went out, which reached up to last.
func (g *giving) gave(last uint64) {
	g.credit--
	if g.left[0].From = last; last >= g.left[0].To {
		g.left = g.left[1:]
	}
	if len(g.left) == 0 {
		g.credit = 0
	}
}

// endsAt says that the datagram that reaches up to last is the last one of the answer.
func (g *giving) endsAt(last uint64) bool {
	return g.credit == 1 || len(g.left) == 1 && last >= g.left[0].To
}

// answered counts a DATA that came because we asked. One that brought nothing is of a question before.
func (e *Engine) answered(p *peer, h *wire.Header) {
	if h.Dest == (wire.Epoch{}) {
		return
	}
	a := &p.ask
	if !a.first.IsZero() {
		p.tripped(e.now.Sub(a.first))
		a.first = time.Time{}
	}
	a.arrived++
	a.ended = a.ended || h.Final
	a.at = e.now.Add(askAgain)
}

// tripped notes how long an answer was on its way. Those to questions that were lost took longer, and count little.
func (p *peer) tripped(d time.Duration) {
	if p.trip == 0 || d < p.trip {
		p.trip = d
		return
	}
	p.trip += (d - p.trip) / 8
}

// patience is how long an answer of p is waited for at first.
func (p *peer) patience() time.Duration { return min(max(askAgain, p.trip*3/2), askAtMost/2) }

// over says that nothing more is to come of the answer, when everything up to have is known.
func (a *asking) over(have uint64) bool {
	return a.ended || a.arrived >= creditFull || have >= a.to
}

// askFor asks for what is missing (PROTOCOL R3).
func (e *Engine) askFor(p *peer) {
	from, to, missing := p.rep.Gap(p.last)
	a := &p.ask
	if !missing || !p.live(e.now) || p.over {
		a.to, a.delay, a.first = 0, 0, time.Time{}
		a.have, a.seen = p.rep.Have, e.now
		return
	}
	if from != a.have {
		a.have, a.seen, a.delay = from, e.now, 0
	}
	if from >= a.to {
		a.to = 0 // all of it has come
	}
	switch {
	case a.to == 0 && p.rep.Intervals() == 0 && from > 0 && e.now.Sub(a.seen) < askAgain:
		return // the tail is on its way
	case a.to != 0 && !a.over(from) && e.now.Before(a.at):
		return
	}
	if from == 0 && p.rep.Live == p.rep.Stale && p.rep.Intervals() == 0 {
		// Nothing is held, so no end before this concerns us, if nothing older comes.
		p.base, p.floor = p.last, max(p.floor, p.beat, p.data)
	}
	if a.delay = min(max(a.delay*2, p.patience()), askAtMost); a.arrived > 0 {
		a.delay = p.patience()
	}
	if a.first.IsZero() {
		a.first = e.now
	}
	jitter := time.Duration(e.rng.Int63n(int64(a.delay/4) + 1))
	a.arrived, a.ended, a.at = 0, false, e.now.Add(a.delay+jitter)
	e.ask(p, wire.Range{From: from, To: to})
}

// ask posts a question for the range first, which is the lowest that is missing, and for those beyond it.
func (e *Engine) ask(p *peer, first wire.Range) {
	q := &e.send.asking
	*q = wire.Ask{Range: first, Base: p.base, Credit: creditFull, Further: q.Further[:0]}
	e.lost(p, first)
	for i := 0; i < p.rep.Intervals() && i < wire.MaxFurther && wire.AskSize(i+1) <= e.room(); i++ {
		from, to := p.rep.GapAfter(i, p.ask.counted) // what comes after all that was asked for is on its way
		if r := (wire.Range{From: from, To: to}); from < to {
			q.Further = append(q.Further, r)
			e.lost(p, r)
		}
	}
	p.ask.to = first.To
	if n := len(q.Further); n > 0 {
		p.ask.to = q.Further[n-1].To
	}
	e.send.body = wire.AppendAsk(e.send.body[:0], q)
	e.post(wire.Want, p, e.send.body)
}

// lost counts what is asked for, once.
func (e *Engine) lost(p *peer, r wire.Range) {
	if before := max(r.From, p.ask.counted); r.To > before {
		e.count.messages.Lost += r.To - before
		p.ask.counted = r.To
	}
}

// wantDeadline is when a question wants another look.
func (e *Engine) wantDeadline() (d time.Time) {
	e.peers.each(func(p *peer) {
		if _, _, missing := p.rep.Gap(p.last); !missing || !p.live(e.now) || p.over {
			return
		}
		at := p.ask.at
		if p.ask.to == 0 {
			at = p.ask.seen.Add(askAgain)
		}
		if d.IsZero() || at.Before(d) {
			d = at
		}
	})
	return d
}
