package engine

import "ctsync/engine/flow"

// What our kernel says of an entry that is not our own, or not yet: it is kept beside the own cache, under kernelOwner.

// bestCopy is what is known of entry r besides the own cache: what our kernel said, else the leader's copy.
func (e *Engine) bestCopy(r ref) *copyOf {
	if c := e.tbl.Of(r, kernelOwner); c != nil {
		return c
	}
	if l := e.peers.leader; l != nil {
		return e.tbl.Of(r, l.owner)
	}
	return nil
}

// dropAside forgets what our kernel says of entry r beside the own cache.
func (e *Engine) dropAside(r ref) {
	if c := e.tbl.Of(r, kernelOwner); c != nil && c.Seq != 0 {
		e.young.waiting--
	}
	e.tbl.Drop(r, kernelOwner)
}

// keepAside keeps what our kernel says of entry r beside the own cache.
func (e *Engine) keepAside(r ref, ev *flow.Event) {
	v, x := ev.Flow.Value, ev.Flow.Extra
	if ev.Kind == flow.EventUpdate {
		if before := e.bestCopy(r); before != nil {
			x = e.merge(&v, x, before, ev.Has)
		}
	}
	_, c := e.tbl.Add(r, kernelOwner)
	e.setValue(c, &v, x)
	e.noteShape(r, &v.Reply, x)
}
