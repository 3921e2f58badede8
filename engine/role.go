package engine

import (
	"fmt"
	"time"

	"ctsync/engine/cache"
	"ctsync/vrrp"
)

// roleState is what this node does, and about its last takeover.
type roleState struct {
	is         Role
	since      time.Time
	reason     string
	activation uint64
	from       uint64    // own log's end at fromAt
	fromAt     time.Time // the first takeover since a leader was settled
	led        bool      // a leader was settled since
	lastLeader *peer
	readyAt    time.Time // a standby was ready, by proof
	drainedAt  time.Time // the kernel writer had nothing to catch up with

	adopted  int
	failedAt int
	opsAt    uint64
	refused  int // own flows given up
	began    time.Time

	lastCreated time.Time // while taking over, in the kernel
	compared    bool      // Active: with the table, since the takeover
}

func (e *Engine) notice(n vrrp.Notice) {
	e.count.activity.Notices++
	e.decided(e.tracker.Notice(e.now, n))
}

// decided takes what the tracker made of a notice.
func (e *Engine) decided(d vrrp.Decision) {
	if d.Disagreement != "" {
		e.note(Note{Kind: NoteNotice, Text: d.Disagreement})
	}
	if !d.Changed {
		return
	}
	reason := fmt.Sprintf("%s by %s", d.State, d.Source)
	if d.Reason != "" {
		reason += ": " + d.Reason
	}
	e.role.reason = reason
	switch to := react(e.role.is, d.State).Becomes; {
	case to == e.role.is:
	case to == Standby:
		e.stepDown(reason)
	default:
		e.takeOver(reason)
	}
}

// become takes a role, and gives its note, to which figures may be added.
func (e *Engine) become(r Role, reason string) *Note {
	was := e.role.is
	e.role.is, e.role.since, e.role.reason = r, e.now, reason
	e.send.beatNow = true
	e.note(Note{Kind: NoteRole, From: was, To: r, Reason: reason})
	return &e.out.Notes[len(e.out.Notes)-1]
}

func (e *Engine) action(text string, count int) {
	e.note(Note{Kind: NoteAction, Text: text, Count: count, Duration: e.now.Sub(e.role.began)})
}

// takeOver begins an activation: adopt what active nodes left, write what the kernel lacks.
func (e *Engine) takeOver(reason string) {
	e.role.lastLeader = e.peers.leader
	e.role.began, e.role.lastCreated, e.role.adopted, e.role.refused = e.now, e.now, 0, 0
	e.role.failedAt, e.role.opsAt = e.writer.failing, e.count.kernel.Created+e.count.kernel.Updated
	if e.role.led || e.role.activation == 0 {
		e.role.from, e.role.fromAt, e.role.led = e.log.Last, e.now, false
	}
	e.role.activation++
	e.role.compared = false
	e.count.activity.Takeovers++
	e.become(TakingOver, reason)
	e.recountExternal()
	e.purge.reset()
	e.writer.now(e)
	e.adoptAll()
	own := e.scanEntries(func(r ref) {
		kern := e.tbl.Entry(r).Kern
		switch c := e.log.Lives(r); {
		case c == nil || c.Bits&cache.Waiting != 0:
		case kern&(kPresent|kFlight) == 0 && e.timeIsOver(r, c):
			e.endOwn(r, cache.Yielded) // it left with an address, and nobody misses it
		case kern&kPresent == 0 || kern&kRewrite != 0:
			e.dirty(r)
		case kern&kLiberal != 0 && c.Bits&cache.Told == 0 && e.isClosed(r, c):
			e.rewrite(r) // it may have been written as the leader listed it, which had not heard of that
		}
	})
	own.name = jobAdopt
	e.addJob(own)
}

// progressTakeover ends the takeover when everything is adopted and every operation answered.
func (e *Engine) progressTakeover() {
	if e.role.is != TakingOver || e.hasJob(jobAdopt) || !e.writer.idle() {
		return
	}
	a, r := &e.count.activity, &e.role
	a.LastTakeover, a.TakeoverDuration = e.now, e.now.Sub(r.began)
	a.TakeoverForwarding = r.lastCreated.Sub(r.began)
	a.TakeoverAdopted = r.adopted
	a.TakeoverWritten = int(e.count.kernel.Created + e.count.kernel.Updated - r.opsAt)
	a.TakeoverFailed = max(e.writer.failing-r.failedAt, 0) + r.refused + len(e.writer.waiting)
	e.action("commit", r.adopted)
	e.action("bulk", e.log.Live)
	n := e.become(Active, r.reason)
	n.Count, n.Duration = r.adopted, a.TakeoverDuration
	n.Written, n.Failed, n.Forwarding = a.TakeoverWritten, a.TakeoverFailed, a.TakeoverForwarding
	e.mergeRest()
	e.beginDump() // what else is in the kernel is ours now too
}

// stepDown ends an activation at once, wherever it is. What is under way finishes; nothing is undone.
func (e *Engine) stepDown(reason string) {
	e.allGrowUp()
	e.role.began = e.now
	e.dropJobs(jobAdopt)
	e.become(Standby, reason)
	e.peers.leader, e.peers.settled = nil, false
	e.writer.filled = false
	e.recountExternal()
	e.purge.reset()
	e.purge.last = e.log.Last
	e.leaveHeld()
	e.peers.each(func(p *peer) { p.merging = false })
	e.action("purge scheduled", e.log.Live)
}

// readiness is what keepalived's track_file should say (PROTOCOL section 7). There is no time-out: 0 only
// lowers the priority, and a lone node still becomes MASTER.
func (e *Engine) readiness() Readiness {
	r := e.ready()
	if r != e.count.ready {
		e.count.ready = r
		if r != LeaveAsItIs {
			e.note(Note{Kind: NoteReady, Text: r.String(), Reason: e.whyNotReady(r)})
		}
	}
	return r
}

// whyNotReady is in the verdict's words where they say it.
func (e *Engine) whyNotReady(r Readiness) string {
	if r == Ready {
		return ""
	}
	if v, why := e.verdict(); v != InSync {
		return why
	}
	return "until everything is proven to be here"
}

func (r Readiness) String() string { return [...]string{"unknown", "not ready", "ready"}[r] }

func (e *Engine) ready() Readiness {
	state, _, _, _ := e.tracker.State()
	switch {
	case e.role.is == Active:
		return Ready
	case e.role.is == TakingOver:
		return e.count.ready
	case state == vrrp.Unknown:
		return LeaveAsItIs
	case !e.leaderSettled() && e.readyStill():
		return Ready
	case !e.leaderSettled() || !e.complete():
		return NotReady
	case e.cfg.Hot && (!e.writer.filled || e.behind() || e.tooManyFailures()):
		return NotReady
	}
	e.role.readyAt = e.now
	return Ready
}

// Followed says that a peer has, or had within the last seconds, every flow of this node.
func (e *Engine) Followed() bool {
	return e.peers.any(func(p *peer) bool { return p.live(e.now) && p.keepsUp(e.now) })
}

// readyFor is how long a node stays ready after its leader stepped down or fell silent. That is just when it is
// needed: were its priority lowered then, keepalived would begin its waiting anew, and the address would be
// nowhere for as long (300 ms at adverts of 0.1 s, measured).
const readyFor = time.Minute

// readyStill says that this node was ready, and that no node has been active since which may have more.
func (e *Engine) readyStill() bool {
	if e.role.readyAt.IsZero() || e.now.Sub(e.role.readyAt) > readyFor || !e.complete() {
		return false
	}
	return !e.peers.anyActs(e.now)
}

// behindFor is how long a ready node may be behind with writing to its kernel: a burst of new flows must not move
// keepalived's priorities to and fro.
const behindFor = 5 * time.Second

// behind says that the kernel writer is too far behind.
func (e *Engine) behind() bool {
	if e.drained() {
		e.role.drainedAt = e.now
		return false
	}
	return e.count.ready != Ready || e.now.Sub(e.role.drainedAt) > behindFor
}

// drained says that the kernel writer has nothing to catch up with.
func (e *Engine) drained() bool {
	return e.writer.pending() < maxOutstanding && len(e.writer.waiting) < maxOutstanding
}

// tooManyFailures is one flow in a hundred that the kernel refused, or has no room for now.
func (e *Engine) tooManyFailures() bool {
	l, n := e.peers.leader, e.writer.failing+len(e.writer.waiting)
	return n > 10 && l != nil && n*100 > l.rep.Live
}

// Untold says that this node acts and a peer that is heard has not acknowledged all that is here.
func (e *Engine) Untold() bool {
	return e.role.is != Standby && e.peers.any(func(p *peer) bool { return p.live(e.now) && p.theyHave < e.log.Last })
}

// leave is the last word before the daemon stops.
func (e *Engine) leave() {
	e.allGrowUp()
	e.send.leaving, e.send.beatNow = true, true
}
