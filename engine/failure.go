package engine

import (
	"syscall"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// giveUp drops an own flow that cannot be in our kernel.
func (e *Engine) giveUp(r ref, errno syscall.Errno) {
	e.role.refused++
	e.countFailure(r, flow.OpCreate)
	e.writer.newFailures++
	e.writer.lastFailure = errno
	e.endOwn(r, cache.Yielded)
	e.leaderAgain(r) // another node's under the same key is perhaps in nobody's way
	e.release(r)
}

// fail notes that the kernel refused entry r, until something changes. The reason is kept in Due.
func (e *Engine) fail(r ref, kind flow.OpKind, errno syscall.Errno) {
	ent := e.tbl.Entry(r)
	ent.Kern &^= kCommit
	if ent.Kern&kFailed != 0 {
		return
	}
	e.countFailure(r, kind)
	ent.Kern |= kFailed
	ent.Due = uint32(errno)
	e.writer.failures[errno]++
	e.writer.failing++
	e.writer.newFailures++
	e.writer.lastFailure = errno
	if own := e.log.Lives(r); own != nil && ent.Kern&kPresent == 0 && e.role.is != Standby {
		wait := min(time.Duration(own.Value.Timeout)*time.Second, reconcileEvery)
		e.writer.refused = append(e.writer.refused, held{r: r, seq: own.Seq, at: e.now.Add(wait)})
	}
}

// countFailure counts an operation that the kernel refused with the cache that wanted it. What had to be looked up
// first was to be created.
func (e *Engine) countFailure(r ref, kind flow.OpKind) {
	c := e.internal(r)
	if e.log.Lives(r) == nil {
		c = e.externalOf(r)
	}
	switch kind {
	case flow.OpUpdate:
		c.UpdateFailed++
	case flow.OpDelete:
		c.DestroyFailed++
	default:
		c.CreateFailed++
	}
}

// retryRefused gives entries that the kernel refused another try after something went away in it, and gives up
// own flows that were never there for as long as they would have lived without a packet.
func (e *Engine) retryRefused() {
	w := &e.writer
	if w.somethingWent && w.failing > 0 {
		e.addJob(e.scanEntries(e.retryFailed))
	}
	w.somethingWent = false
	if w.refill && e.role.is == Standby && e.peers.settled {
		w.refill = false
		e.fill()
	}
	kept := w.refused[:0]
	for _, h := range w.refused {
		c := e.still(h, anyBits)
		switch {
		case c == nil || e.tbl.Entry(h.r).Kern&kPresent != 0:
		case h.at.After(e.now):
			kept = append(kept, h)
		default:
			e.endOwn(h.r, cache.Yielded)
			e.release(h.r)
		}
	}
	w.refused = kept
}

func (e *Engine) unfail(ent *entry) {
	if ent.Kern&kFailed == 0 {
		return
	}
	ent.Kern &^= kFailed
	e.writer.failing--
	if errno := syscall.Errno(ent.Due); e.writer.failures[errno] > 1 {
		e.writer.failures[errno]--
	} else {
		delete(e.writer.failures, errno)
	}
	ent.Due = 0
}

// reportFailures tells once per burst what the kernel refused.
func (e *Engine) reportFailures() {
	if w := &e.writer; w.newFailures > 0 && w.pending() == 0 {
		e.note(Note{Kind: NoteFailures, Count: w.newFailures, Reason: failureReason(w.lastFailure)})
		w.newFailures = 0
	}
}

// failureReason is what an operator should read for errno.
func failureReason(errno syscall.Errno) string {
	switch errno {
	case syscall.EEXIST:
		return "another flow has the same reply tuple or another translation"
	case syscall.ENOMEM:
		return "the conntrack table is full: raise net.netfilter.nf_conntrack_max"
	case syscall.EOPNOTSUPP:
		return "not supported by this kernel: is the helper's module loaded?"
	case syscall.EINVAL:
		return "refused as invalid by the kernel"
	case syscall.EPERM:
		return "not permitted: CAP_NET_ADMIN is missing"
	}
	return errno.Error()
}

// retryFailed gives entry r another try.
func (e *Engine) retryFailed(r ref) {
	if ent := e.tbl.Entry(r); ent.Kern&kFailed != 0 {
		e.unfail(ent)
		e.dirty(r)
	}
}
