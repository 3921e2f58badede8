package engine

import (
	"time"

	"ctsync/engine/flow"
)

// Some of what helpers do no event tells. It is asked for: the master of a new expectation once, since the packet
// that announced it has mostly changed its length too; and an expectation that is not active yet again and again,
// since SIP's helper makes it active, and gives it its time, when the registrar agrees.

// refreshed marks the tag of a get that asks how the tagged entry is now.
const refreshed = 1 << 61

// asked are the entries that are asked for again, oldest first, by how often they have been.
type asked [8][]held

// followAfter is the first pause; each next one is twice as long, up to the last, which recurs.
const followAfter = 50 * time.Millisecond

func (a *asked) deadline() (d time.Time) {
	for _, list := range a {
		if len(list) > 0 && (d.IsZero() || list[0].at.Before(d)) {
			d = list[0].at
		}
	}
	return d
}

// inactive says that what k and x are is an expectation that meets no connection yet.
func inactive(k *flow.Key, x *flow.Extra) bool {
	return k.Kind == flow.KindExpect && x != nil && x.Expect.Flags&flow.ExpectInactive != 0
}

// refreshMaster asks for the master of a new expectation.
func (e *Engine) refreshMaster(f *flow.Flow) {
	if m, own := e.ownMaster(f.Extra); own != nil {
		e.askNow(m)
	}
}

// follow has entry r asked for after a while if it is an own expectation that is inactive.
func (e *Engine) follow(r ref, times int) {
	own := e.log.Lives(r)
	if own == nil || !inactive(&e.tbl.Entry(r).Key, e.extras.get(own.Value.extra)) {
		return
	}
	times = min(times, len(e.asked)-1)
	e.asked[times] = append(e.asked[times], held{r: r, seq: own.Born, at: e.now.Add(followAfter << times)})
}

// askFollowed asks for what is due. Of an incarnation that is over nothing is asked.
func (e *Engine) askFollowed() {
	for times, list := range e.asked {
		n := 0
		for ; n < len(list) && !list[n].at.After(e.now); n++ {
			h := list[n]
			if e.isStill(h) {
				e.askNow(h.r)
				e.follow(h.r, times+1)
			}
		}
		e.asked[times] = e.asked[times][n:]
	}
}

// isStill says that the incarnation that h is about goes on.
func (e *Engine) isStill(h held) bool {
	if !e.tbl.Used(h.r) {
		return false
	}
	own := e.log.Lives(h.r)
	return own != nil && own.Born == h.seq
}

func (e *Engine) askNow(r ref) {
	e.emit(flow.Op{Kind: flow.OpGet, Tag: uint64(r) | refreshed, Flow: flow.Flow{Key: e.tbl.Entry(r).Key}})
}

// refresh takes the answer, and of it what no event tells: of the rest an event may have told something newer.
func (e *Engine) refresh(res *flow.Result) {
	e.writer.outstanding--
	e.writer.answered++
	r, f := ref(res.Tag&^refreshed), &res.Flow
	if res.Errno != 0 || !e.tbl.Used(r) || e.tbl.Entry(r).Key != f.Key {
		return
	}
	own := e.log.Lives(r)
	if own == nil || e.evict.holds(own) || f.Extra == nil {
		return
	}
	v, x := own.Value.Value, flow.Extra{}
	if old := e.extras.get(own.Value.extra); old != nil {
		x = *old
	}
	if !untold(f, &v, &x) {
		return
	}
	e.setValue(e.log.Put(r, false), &v, &x)
	if e.tbl.Entry(r).Kern&kPresent != 0 {
		e.noteShape(r, &v.Reply, &x)
	}
	e.internal(r).Updated++
}

// untold brings into v and x what of f no event tells, and says whether there was any.
func untold(f *flow.Flow, v *flow.Value, x *flow.Extra) bool {
	switch {
	case inactive(&f.Key, x) && f.Extra.Expect.Flags&flow.ExpectInactive == 0:
		x.Expect.Flags, v.Timeout = f.Extra.Expect.Flags, f.Timeout
		return true
	case f.Extra.HasSeqAdj && (!x.HasSeqAdj || x.SeqAdj != f.Extra.SeqAdj):
		x.HasSeqAdj, x.SeqAdj = true, f.Extra.SeqAdj
		v.Status |= flow.SeqAdjust
		return true
	}
	return false
}
