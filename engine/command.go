package engine

import (
	"fmt"
	"syscall"
	"time"

	"ctsync/engine/cache"
)

// waiters are commands whose answer takes more than one Step.
type waiters struct {
	commits []waiting
	resyncs []waiting
}

type waiting struct {
	id     uint64
	began  time.Time
	ops    uint64
	failed map[syscall.Errno]int
}

func (e *Engine) command(c *Command) {
	switch c.Verb {
	case VerbCommit:
		e.commit(c.ID)
	case VerbResync:
		e.wait.resyncs = append(e.wait.resyncs, waiting{id: c.ID, began: e.now})
		e.startDump()
	case VerbFlushInternal:
		e.reply(c.ID, e.flushInternal())
		e.startDump()
	case VerbFlushExternal:
		e.reply(c.ID, e.flushExternal())
	case VerbBulk:
		e.reply(c.ID, e.bulk())
	case VerbRequestResync:
		e.reply(c.ID, e.requestResync())
	case VerbResetStatistics:
		e.count.reset(e.log.Live, e.externalLive())
		e.reply(c.ID, 0)
	}
}

func (e *Engine) reply(id uint64, done int) {
	e.out.Replies = append(e.out.Replies, Reply{ID: id, Done: done})
}

// commit puts the external flows into the kernel, in every role. An active node has done so; it adopts what
// is left over. A warm standby writes what its leader lists without making it its own.
func (e *Engine) commit(id uint64) {
	failed := make(map[syscall.Errno]int, len(e.writer.failures))
	for k, v := range e.writer.failures {
		failed[k] = v
	}
	e.wait.commits = append(e.wait.commits, waiting{id: id, began: e.now, ops: e.opsDone(), failed: failed})
	if e.role.is != Standby {
		e.adoptAll()
		return
	}
	j := e.scanEntries(func(r ref) {
		if e.role.is == Standby && e.leaderLists(r) != nil && e.tbl.Entry(r).Kern&kPresent == 0 {
			e.tbl.Entry(r).Kern |= kCommit
			e.dirty(r)
		}
	})
	j.name = jobAdopt
	e.addJob(j)
}

func (e *Engine) opsDone() uint64 { return e.count.kernel.Created + e.count.kernel.Updated }

// answerWaiters answers commits once every operation is answered.
func (e *Engine) answerWaiters() {
	if len(e.wait.commits) == 0 || e.hasJob(jobAdopt) || !e.writer.idle() {
		return
	}
	for _, w := range e.wait.commits {
		r := Reply{ID: w.id, Done: int(e.opsDone() - w.ops), Duration: e.now.Sub(w.began), Failed: map[string]int{}}
		n := 0
		for errno, v := range e.writer.failures {
			if more := v - w.failed[errno]; more > 0 {
				r.Failed[failureReason(errno)] += more
				n += more
			}
		}
		if n += len(e.writer.waiting); n > 0 {
			r.Err = fmt.Sprintf("%d flows could not be committed", n)
		}
		e.out.Replies = append(e.out.Replies, r)
	}
	e.wait.commits = e.wait.commits[:0]
}

// resynced answers resyncs: a dump is over.
func (e *Engine) resynced(differing int) {
	for _, w := range e.wait.resyncs {
		e.out.Replies = append(e.out.Replies, Reply{ID: w.id, Done: differing, Duration: e.now.Sub(w.began)})
	}
	e.wait.resyncs = e.wait.resyncs[:0]
}

// flushInternal forgets the own cache and reads it again from the kernel. Peers keep what they wrote: a flow that is yielded
// goes on. What the kernel is being told or asked of stays: its table would not bring that back.
func (e *Engine) flushInternal() int {
	n := e.log.Live
	e.startDump()
	for r := ref(1); r <= e.tbl.Top(); r++ {
		own := e.log.Lives(r)
		if own == nil || e.tbl.Entry(r).Kern&(kFlight|kDirty|kLater) != 0 || e.evict.holds(own) {
			continue
		}
		e.endOwn(r, cache.Yielded)
		if e.writes() && e.leaderLists(r) != nil {
			e.dirty(r) // the entry is the leader's now, and was kept as our own was
		}
	}
	return n - e.log.Live
}

// flushExternal forgets every replica and asks for it again. An active node only doubts what it took over or saw end, until
// it hears of it again: forgotten, it would be taken over once more.
func (e *Engine) flushExternal() int {
	n := 0
	e.peers.each(func(p *peer) {
		n += p.rep.Live
		if p.marked && e.role.is != Standby {
			p.rep.Restart(e.release)
		} else {
			p.rep.Clear(e.release)
		}
		p.floor, p.base, p.ask, p.provenAt = max(p.floor, p.beat, p.data), p.last, asking{}, time.Time{}
	})
	e.recountExternal()
	return n
}

// bulk has every peer read our log again from the beginning.
func (e *Engine) bulk() int {
	e.peers.each(func(p *peer) {
		if p.live(e.now) {
			e.restartAsked(p)
		}
	})
	return e.log.Live
}

// requestResync reads every live peer's log again.
func (e *Engine) requestResync() int {
	n := 0
	e.peers.each(func(p *peer) {
		if p.live(e.now) {
			n++
			e.restartPeer(p, p.last, "asked for by the operator")
		}
	})
	return n
}

func (e *Engine) externalLive() (n int) {
	e.peers.each(func(p *peer) {
		if e.external(p) {
			n += p.rep.Live
		}
	})
	return n
}
