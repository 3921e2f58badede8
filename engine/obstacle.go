package engine

import (
	"syscall"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// lookUp asks what stands in the way of entry r.
func (e *Engine) lookUp(r ref, kind flow.OpKind) {
	_, c := e.target(r)
	if c == nil {
		return
	}
	f := flow.Flow{Key: e.tbl.Entry(r).Key, Value: c.Value.Value}
	e.issue(r, kind, &f)
}

// found takes the answer to lookUp (PROTOCOL K4).
func (e *Engine) found(r ref, res *flow.Result) {
	ent := e.tbl.Entry(r)
	_, wanted := e.target(r)
	switch {
	case wanted == nil:
		e.dirtyAgain(r) // it was asked about before the leader ended it
	case res.Errno == 0 && res.Flow.Key == ent.Key:
		e.foundItself(r, &res.Flow, wanted)
	case res.Errno == 0 && ent.Kern&kPresent != 0:
		e.dirtyAgain(r) // a packet has made it meanwhile: nothing is in its way
	case res.Errno == 0:
		e.foundObstacle(r, &res.Flow)
	case res.Errno == syscall.ENOENT && res.Kind == flow.OpGet:
		e.lookUp(r, flow.OpGetReply)
	case res.Errno == syscall.ENOENT:
		e.writer.later(e, r) // it went away meanwhile
	default:
		e.fail(r, flow.OpCreate, res.Errno)
	}
	e.release(r)
}

// foundItself: the key is in the kernel already, with the NAT that it should have, as c, or another.
func (e *Engine) foundItself(r ref, f *flow.Flow, c *copyOf) {
	ent := e.tbl.Entry(r)
	asBelieved := e.asBelieved(r, f)
	if e.role.is == Active && ent.Kern&kPresent == 0 && c.Value.Reply == f.Reply && differs(&c.Value.Value, &f.Value) {
		e.ownAsFound(r, f, false) // packets have met it since
	}
	ent.Kern |= kPresent
	ent.Shape = shape(&ent.Key, &f.Reply, f.Extra)
	if c.Value.Reply == f.Reply {
		ent.Kern &^= kReplace
		if e.role.is != Standby {
			ent.Kern |= kRewrite
		} else if e.log.Lives(r) == nil {
			e.keepAside(r, &flow.Event{Kind: flow.EventNew, Flow: *f})
		}
		e.dirtyAgain(r)
		return
	}
	if e.role.is == TakingOver && asBelieved {
		e.sendDeleteOf(r, f.ID) // it is of an incarnation before, from when we were a Standby
		return
	}
	if e.log.Lives(r) != nil && (e.role.is == Standby || f.Status&flow.SeenReply != 0) {
		e.ownAsFound(r, f, true) // a live flow with another translation: the kernel is right
		e.writer.newFailures++
		e.writer.lastFailure = syscall.EEXIST
		return
	}
	ent.Kern |= kReplace
	e.dirtyAgain(r)
}

// asBelieved says that f, which the kernel shows under the key of entry r, looks as what is known to be there.
func (e *Engine) asBelieved(r ref, f *flow.Flow) bool {
	ent := e.tbl.Entry(r)
	return ent.Kern&kPresent != 0 && ent.Shape == shape(&ent.Key, &f.Reply, f.Extra)
}

// foundObstacle: another flow has the reply tuple. It goes if nobody can need it, else we do without ours.
func (e *Engine) foundObstacle(r ref, f *flow.Flow) {
	o := e.tbl.Find(&f.Key)
	needed := (f.Status|e.ownStatus(o))&flow.SeenReply != 0 // an event may have come after the kernel answered
	if e.role.is == Standby {
		needed = !e.follows() || o != 0 && (e.leaderLists(o) != nil || e.metHere(o)) // before a proof it may list what is not here yet
	}
	if needed && e.log.Lives(r) != nil && e.role.is != Standby {
		e.giveUp(r, syscall.EEXIST) // a peer that listed both could have neither
		return
	}
	if needed {
		e.fail(r, flow.OpCreate, syscall.EEXIST)
		return
	}
	if o != 0 && e.role.is == Standby {
		e.makeWay(o, r)
		return
	}
	if o != 0 {
		e.endOwn(o, cache.Ended)
		e.tbl.Entry(o).Kern &^= kPresent | kLiberal
		e.leaderAgain(o)
		e.release(o)
	}
	e.tbl.Entry(r).Kern |= kFlight
	e.writer.deleted.note(&f.Key, e.seconds())
	e.emit(flow.Op{Kind: flow.OpDelete, Tag: uint64(r) | obstacle, Flow: flow.Flow{Key: f.Key, ID: f.ID}})
}

// ownStatus are the status bits of own entry o, none if there is none.
func (e *Engine) ownStatus(o ref) uint32 {
	if o == 0 {
		return 0
	}
	if own := e.log.Lives(o); own != nil {
		return own.Value.Status
	}
	return 0
}

// makeWay has entry o deleted and then r looked at again.
func (e *Engine) makeWay(o, r ref) {
	e.endOwn(o, cache.Ended)
	ent := e.tbl.Entry(o)
	ent.Kern |= kEnded | kPresent
	busy := ent.Kern&(kFlight|kLater) != 0
	e.dirty(o)
	if busy {
		e.writer.later(e, r)
		return
	}
	e.dirtyAgain(r)
}

// metHere says that a packet made entry r here since we are a Standby: the address may be here before the
// notice.
func (e *Engine) metHere(r ref) bool {
	own := e.log.Lives(r)
	return own != nil && own.Seq > e.purge.last
}
