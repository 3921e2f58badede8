package engine

import (
	"syscall"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// obstacle marks the tag of an operation on an entry that stood in the way of the tagged one.
const obstacle = 1 << 63

// whether marks the tag of a question whether an entry is there at all.
const whether = 1 << 62

// busy marks the tag of a question what an entry is that refused an update.
const busy = 1 << 60

func (e *Engine) kernelResults(results []flow.Result) {
	for i := range results {
		e.kernelResult(&results[i])
	}
	e.reportFailures()
}

func (e *Engine) kernelResult(res *flow.Result) {
	portable(&res.Flow)
	e.besideFlowtable(&res.Flow)
	switch {
	case res.Tag&refreshed != 0:
		e.refresh(res)
		return
	case res.Tag&counted != 0:
		e.countedPackets(res)
		return
	}
	e.writer.outstanding--
	e.writer.answered++
	r := ref(res.Tag &^ (obstacle | whether | busy))
	ent := e.tbl.Entry(r)
	again, gone := ent.Kern&kAgain != 0, ent.Kern&kGone != 0
	ent.Kern &^= kFlight | kAgain | kGone
	e.stamp(r)
	if res.Errno != flow.Unanswered {
		e.writer.unanswered = 0
	}
	if res.Kind == flow.OpGet && res.Errno == 0 && res.Flow.Key == ent.Key && e.role.is == Standby {
		noteRare(ent, res.Flow.Extra)
	}
	switch {
	case res.Tag&whether != 0:
		e.whetherThere(r, res, gone)
	case res.Tag&busy != 0:
		e.wasBusy(r, res, gone)
	case res.Errno == flow.Unanswered:
		switch {
		case res.Kind == flow.OpDelete:
			ent.Kern &^= kPresent | kLiberal // or not: a create tells
		case res.Kind == flow.OpCreate && e.role.is != Active:
			ent.Kern |= kRewrite // it may be there: another create tells
		}
		if res.Kind == flow.OpUpdate && e.role.is != Standby {
			ent.Due = max(e.seconds(), 1) // it may have been carried out, see overtook
			if again {
				ent.Kern |= kRewrite
			}
		}
		again = e.unanswered(r) || again
	case res.Tag&obstacle != 0:
		again = true
	case res.Kind == flow.OpCreate:
		met := again
		if again = e.created(r, res, gone) || again; met && ent.Kern&kPresent != 0 && e.role.is != Standby {
			ent.Kern |= kRewrite // what it was made of is from before
		}
	case res.Kind == flow.OpUpdate:
		if again = e.updated(r, res) || again; again && e.role.is != Standby {
			ent.Kern |= kRewrite // an event came meanwhile, and may be older or newer than what was written
		}
	case res.Kind == flow.OpDelete:
		e.deleted(r, res)
		again = true
	default:
		e.found(r, res)
		return
	}
	if again {
		e.dirtyAgain(r)
	}
	e.release(r)
}

// unanswered says whether to try entry r again at once: not if the kernel has stopped answering, so that a
// takeover ends.
func (e *Engine) unanswered(r ref) bool {
	e.count.kernel.Retried++
	e.writer.unanswered++
	e.writer.answered--
	e.writer.issued--
	if !e.writer.filled {
		e.writer.scanned, e.writer.refill = false, true
	}
	if e.role.is != TakingOver && e.writer.unanswered <= maxOutstanding {
		return true
	}
	e.writer.later(e, r)
	return false
}

// created takes the answer to a create and says whether the entry needs another look.
func (e *Engine) created(r ref, res *flow.Result, gone bool) bool {
	ent := e.tbl.Entry(r)
	switch res.Errno {
	case 0:
		e.count.kernel.Created++
		e.writer.tableCount++
		if e.role.is == TakingOver {
			e.role.lastCreated = e.now
		}
		e.written(r)
		if !gone {
			return e.hasTime(r)
		}
		ent.Kern &^= kPresent // destroyed, before or after: the kernel tells
		if own := e.log.Lives(r); own != nil && own.Bits&cache.Waiting != 0 {
			e.askWhether(r)
			return false
		}
		return true
	case syscall.EEXIST:
		e.lookUp(r, flow.OpGet)
		return false
	case syscall.ENOMEM:
		e.countFailure(r, res.Kind)
		e.pauseCreating()
		e.writer.later(e, r)
		return false
	case syscall.ENOENT:
		return e.withoutMaster(r)
	case syscall.EBUSY:
		if e.tunnel(r) {
			ent.Kern = ent.Kern&^(kRewrite|kReplace|kCommit) | kPresent // the helper's own is there
			return false
		}
	case syscall.EOPNOTSUPP:
		if ent.Kern&kNoHelper == 0 && e.hasHelper(r) {
			ent.Kern |= kNoHelper
			return true
		}
	}
	e.fail(r, flow.OpCreate, res.Errno)
	return false
}

// withoutMaster decides on a flow whose master is not in the kernel: wait for it if it is known, else do
// without it (PROTOCOL K5).
func (e *Engine) withoutMaster(r ref) bool {
	ent := e.tbl.Entry(r)
	_, c := e.target(r)
	if c == nil {
		return false
	}
	x := e.extras.get(c.Value.extra)
	if x == nil || !x.HasMaster || ent.Kern&kNoMaster != 0 {
		e.fail(r, flow.OpCreate, syscall.ENOENT)
		return false
	}
	if l := e.peers.leader; e.role.is == Standby && l != nil && l.rep.Have < l.last {
		e.writer.later(e, r) // a repair brings what changed last at the end
		return false
	}
	if m := e.tbl.Find(&x.Master); m != 0 && e.masterComes(m) {
		if e.tbl.Entry(m).Kern&kLater == 0 {
			return true // behind it in the ring
		}
		e.writer.later(e, r)
		return false
	}
	ent.Kern |= kNoMaster
	return true
}

// masterComes says that entry m is to be in the kernel and is not yet, and sees to it.
func (e *Engine) masterComes(m ref) bool {
	ent := e.tbl.Entry(m)
	if want, _ := e.target(m); want != goalThere || ent.Kern&(kPresent|kFailed) != 0 {
		return false
	}
	e.dirtyAgain(m)
	return true
}

// isRelated says that what entry r should be has a master. Our kernel's entry may lack one all the same, and
// then refuses an update that says so: it was made here by a packet, or when the master was not there.
func (e *Engine) isRelated(r ref) bool {
	_, c := e.target(r)
	return c != nil && c.Value.Status&flow.Expected != 0
}

func (e *Engine) hasHelper(r ref) bool {
	_, c := e.target(r)
	x := (*flow.Extra)(nil)
	if c != nil {
		x = e.extras.get(c.Value.extra)
	}
	return x != nil && x.Helper[0] != 0
}

// written notes that entry r is in the kernel as it was last sent.
func (e *Engine) written(r ref) {
	ent := e.tbl.Entry(r)
	ent.Kern = ent.Kern&^(kRewrite|kReplace|kCommit) | kPresent | kLiberal
	if e.role.is != Standby {
		ent.Due = max(e.seconds(), 1)
		return
	}
	ent.Kern &^= kSuspect
	c := e.leaderLists(r)
	if k := e.tbl.Of(r, kernelOwner); k != nil && c != nil {
		f := e.flowOf(r, c)
		f.Status |= k.Value.Status & sticky // the kernel never forgets these
		if ent.Shape == shape(&ent.Key, &k.Value.Reply, e.extras.get(k.Value.extra)) {
			f.Reply = k.Value.Reply // an update of another translation's entry leaves that
			f.Status = f.Status&^flow.NATStatus | k.Value.Status&flow.NATStatus
		}
		e.setValue(k, &f.Value, f.Extra)
	}
	if c == nil || e.isExpect(r) {
		return
	}
	due := max(e.spare(r, c), renewEarly+1) - renewEarly
	if left, closed := e.runsDown(r, c); closed {
		due = left + e.timeouts.Tidied + 2 // when it is certainly no closed one any more
	}
	e.setDue(r, e.seconds()+due)
}

func (e *Engine) updated(r ref, res *flow.Result) bool {
	ent := e.tbl.Entry(r)
	switch res.Errno {
	case 0:
		e.count.kernel.Updated++
		e.written(r)
		return false
	case syscall.ENOENT:
		ent.Kern &^= kPresent | kLiberal | kNoMaster | kNoHelper
		return true
	case syscall.EBUSY, syscall.EOPNOTSUPP, syscall.EPERM: // EPERM: its timeout is fixed
		if res.Errno == syscall.EBUSY && ent.Kern&kNoMaster == 0 && e.isRelated(r) {
			ent.Kern |= kNoMaster
			return true
		}
		if e.role.is == Standby && e.log.Lives(r) == nil {
			if e.tbl.Of(r, kernelOwner) == nil {
				e.lookUp(r, flow.OpGet) // it has a bit that the leader's has not, and keeps it
				return false
			}
			ent.Kern |= kReplace
			return true
		}
		e.askBusy(r)
		return false
	}
	e.fail(r, flow.OpUpdate, res.Errno)
	return false
}

// askBusy asks what entry r is that refuses an update of an own flow.
func (e *Engine) askBusy(r ref) {
	e.issue(r, flow.OpGet, &flow.Flow{Key: e.tbl.Entry(r).Key})
	e.out.Ops[len(e.out.Ops)-1].Tag |= busy
}

// wasBusy takes the answer. The kernel has gone on, and its event is on the way; or an update of ours met the next
// incarnation and gave it bits that it never loses, of which no event tells.
func (e *Engine) wasBusy(r ref, res *flow.Result, gone bool) {
	own := e.log.Lives(r)
	there := res.Errno == 0 && !gone && res.Flow.Key == e.tbl.Entry(r).Key
	if there && own != nil && !e.evict.holds(own) && res.Flow.Reply != own.Value.Reply && e.role.is == Active {
		e.ownAsFound(r, &res.Flow, true) // the event that told of ours came late: another one was made since
		return
	}
	if there && own != nil && !e.evict.holds(own) && res.Flow.Status&sticky&^own.Value.Status != 0 {
		f := e.flowOf(r, own)
		f.Status |= res.Flow.Status & sticky
		e.setValue(e.log.Put(r, false), &f.Value, f.Extra)
		if e.role.is == TakingOver {
			e.dirtyAgain(r) // what is adopted is written before packets count for more
			return
		}
	}
	e.writer.later(e, r)
}

func (e *Engine) deleted(r ref, res *flow.Result) {
	ent := e.tbl.Entry(r)
	if res.Errno != 0 && res.Errno != syscall.ENOENT {
		e.fail(r, flow.OpDelete, res.Errno)
		return
	}
	if res.Errno == 0 {
		e.count.kernel.Deleted++
		e.writer.deleted.note(&ent.Key, e.seconds())
	}
	if own := e.log.Lives(r); own != nil && e.role.is != Standby && ent.Kern&kReplace == 0 && !e.evict.holds(own) && e.isClosed(r, own) {
		e.endOwn(r, cache.Ended) // a packet met it once more: a closed connection is not worth making again
	}
	ent.Kern &^= kPresent | kLiberal | kReplace | kSuspect | kEnded | kNoMaster | kNoHelper | kReborn
	e.writer.somethingWent = true
	e.dropAside(r)
}
