package engine

import (
	"slices"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// An expectation is an entry like any other: the log, the replicas, the ownership and the kernel writer do not
// look at what kind an entry is. What is its own is here.

// accepts says whether f is replicated.
func (e *Engine) accepts(f *flow.Flow) bool {
	if f.Kind == flow.KindExpect {
		reply, known := e.masterReply(f.Extra)
		return known && e.filter.Expects(f, reply)
	}
	return e.filter.Accepts(&f.Key, &f.Value)
}

// ownMaster is the own flow that announced what x is of, and its entry; nil if there is none.
func (e *Engine) ownMaster(x *flow.Extra) (ref, *copyOf) {
	if x == nil {
		return 0, nil
	}
	m := e.tbl.Find(&x.Master)
	if m == 0 {
		return 0, nil
	}
	return m, e.log.Lives(m)
}

// masterReply is the reply direction of an expectation's master, if that is known.
func (e *Engine) masterReply(x *flow.Extra) (reply flow.Tuple, known bool) {
	if x == nil {
		return reply, false
	}
	r := e.tbl.Find(&x.Master)
	if r == 0 {
		return reply, false
	}
	if own := e.log.Lives(r); own != nil {
		return own.Value.Reply, true
	}
	if c := e.bestCopy(r); c != nil {
		return c.Value.Reply, true
	}
	return reply, false
}

// orphans are events on expectations whose master is not known, oldest first: the kernel tells of a flow when its
// first packet leaves, and a helper may have announced another one by that packet before. What a filter leaves
// out never becomes known.
type orphans []orphan

type orphan struct {
	ev    flow.Event
	extra flow.Extra
	until time.Time
}

// orphanWait is how long a master may be behind its expectation; both are told within one packet's way.
const (
	orphanWait = time.Second
	maxOrphans = 1024
)

// isOrphan puts ev, on an expectation, aside until its master is known, if that is not known yet.
func (e *Engine) isOrphan(ev *flow.Event) bool {
	for len(e.orphans) > 0 && (e.orphans[0].until.Before(e.now) || len(e.orphans) >= maxOrphans) {
		e.orphans = e.orphans[1:]
	}
	e.orphans = slices.DeleteFunc(e.orphans, func(o orphan) bool { return o.ev.Flow.Key == ev.Flow.Key })
	if ev.Kind == flow.EventDestroy || ev.Flow.Extra == nil {
		return false
	}
	if _, known := e.masterReply(ev.Flow.Extra); known {
		return false
	}
	e.orphans = append(e.orphans, orphan{*ev, *ev.Flow.Extra, e.now.Add(orphanWait)})
	return true
}

// masterCame takes in what waited for entry r.
func (e *Engine) masterCame(r ref) {
	if len(e.orphans) == 0 {
		return
	}
	var children []orphan
	e.orphans = slices.DeleteFunc(e.orphans, func(o orphan) bool {
		mine := o.extra.Master == e.tbl.Entry(r).Key
		if mine {
			children = append(children, o)
		}
		return mine
	})
	for i := range children {
		children[i].ev.Flow.Extra = &children[i].extra
		e.kernelEvent(&children[i].ev)
	}
}

// countExpects follows how many expectations p lists.
func (e *Engine) countExpects(p *peer, r ref, what cache.Applied) {
	if !e.isExpect(r) {
		return
	}
	switch what {
	case cache.Added:
		p.expects++
	case cache.Removed:
		p.expects--
	}
}

// externalExpects is how many of the external cache are expectations.
func (e *Engine) externalExpects() (n int) {
	e.peers.each(func(p *peer) {
		if e.external(p) {
			n += p.expects
		}
	})
	return n
}

// isExpect says that entry r is an expectation.
func (e *Engine) isExpect(r ref) bool { return e.tbl.Entry(r).Key.Kind == flow.KindExpect }

// internal and external are the counters of the cache that entry r belongs to.
func (e *Engine) internal(r ref) *CacheStats {
	if e.isExpect(r) {
		return &e.count.expectInternal
	}
	return &e.count.internal
}

func (e *Engine) externalOf(r ref) *CacheStats {
	if e.isExpect(r) {
		return &e.count.expectExternal
	}
	return &e.count.external
}

// hasTime has a new expectation written once more: the kernel gives it the time that its helper's policy has for a
// new one, and takes another with an update only. Packets do not refresh it, so that once is enough.
func (e *Engine) hasTime(r ref) bool {
	if !e.isExpect(r) {
		return false
	}
	if e.role.is != Standby {
		e.tbl.Entry(r).Kern |= kRewrite
	}
	return true
}
