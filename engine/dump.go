package engine

import (
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// A dump of the kernel's table is compared with what is known (PROTOCOL K9): at start, after an overrun, after a sleep,
// and every few minutes while there may be flows that emit no events. Events and own operations go on meanwhile and
// know better: each stamps its entry with the dump's generation, and a dump entry counts only for an entry without
// that stamp. What was known to be in the kernel and has no stamp at the end is gone.
type dumper struct {
	running    bool
	again      bool      // an overrun during the dump
	lost       time.Time // the first overrun that no dump has made good yet
	id         uint64
	generation uint8
	began      time.Time
	next       time.Time // of the periodic one
	differing  int
	failed     bool
	first      bool // the first dump is over
	retry      backoff
	retryAt    time.Time // after one that failed
	current    bool      // the own cache describes the whole table
	shown      shown     // by the last dump
	counting   shown     // by the one under way
	mute       bool      // the kernel makes flows that emit no events, now
	hidden     bool      // such a flow was left to the leader, and may be in our kernel still
}

// shown is what a dump counts.
type shown struct {
	silent   int // flows of which no event has ever told
	suspects int // entries that are the purge's
}

// reconcileEvery bounds how long the end of a silent flow goes unnoticed. The kernel gives a flow what it needs to emit
// events when the flow begins, and only if nf_conntrack_events was 1 then, or 2 while somebody listened; one without
// emits none, ever. Which flows those are it does not say. They can only be among those that a dump found and of which
// no event has told since: while there are none, nothing is compared.
const reconcileEvery = 5 * time.Minute

// retryDump is the first pause after a dump that failed.
const retryDump = 100 * time.Millisecond

// startDump asks for a dump, or for another one after the one under way. The own cache is not complete
// until it is over.
func (e *Engine) startDump() {
	e.dump.current = false
	e.send.beatNow = true
	e.beginDump()
}

// beginDump asks for a dump without doubting the own cache.
func (e *Engine) beginDump() {
	d := &e.dump
	if d.running {
		d.again = true
		return
	}
	d.running, d.again, d.failed, d.differing, d.counting = true, false, false, 0, shown{}
	d.began, d.retryAt = e.now, time.Time{}
	e.purge.dumpBegins(e.now, e.cfg.PurgeTimeout)
	d.id++
	if d.generation++; d.generation == 0 {
		d.generation = 1
		for r := ref(1); r <= e.tbl.Top(); r++ {
			e.tbl.Entry(r).Stamp = 0
		}
	}
	e.count.kernel.Dumps++
	e.out.Dump = d.id
}

// reconcile dumps again: after a failure, and now and then where an event may never come. What the kernel has refused
// is tried again after a dump, since the end of what is in its way may be nothing that we follow.
func (e *Engine) reconcile() {
	d := &e.dump
	again := !d.retryAt.IsZero() && !e.now.Before(d.retryAt)
	may := d.shown.silent > 0 || d.hidden || d.mute || e.writer.failing > 0
	if !d.running && (again || may && d.first && !e.now.Before(d.next)) {
		e.beginDump()
	}
}

// muted notes whether the kernel makes flows that emit no events. Those of meanwhile are looked for at the end.
func (e *Engine) muted(mute bool) {
	if was := e.dump.mute; was && !mute {
		e.beginDump()
	}
	e.dump.mute = mute
}

func (e *Engine) stamp(r ref) {
	if e.dump.running {
		e.tbl.Entry(r).Stamp = e.dump.generation
	}
}

func (e *Engine) kernelDump(in *KernelDump) {
	d := &e.dump
	if !d.running || in.Dump != d.id {
		return
	}
	for i := range in.Flows {
		e.dumped(&in.Flows[i])
	}
	d.failed = d.failed || in.Failed
	if !in.Done {
		return
	}
	if d.failed {
		d.running = false
		e.purge.again = e.purge.again || e.purge.judges // what it did not show
		d.retry.ready(e.now, retryDump, retryAfter*10)
		d.retryAt = d.retry.next
		return
	}
	if d.again {
		d.running = false
		if !e.now.Before(d.retryAt) {
			e.beginDump()
		}
		return
	}
	gen := d.generation
	e.addJob(e.scanEntries(func(r ref) { e.missing(r, gen); e.countShown(r) }))
	e.addJob(finish(e.endDump))
}

func (e *Engine) endDump() {
	d := &e.dump
	if !d.first && e.role.is == Standby {
		e.purge.last = e.log.Last // what was here before us is no newer than a step-down
	}
	d.running, d.first, d.shown = false, true, d.counting
	e.role.compared = e.role.is == Active
	d.next, d.retry.delay = e.now.Add(reconcileEvery), 0
	again := d.again
	if !again {
		d.current, d.lost = true, time.Time{}
		e.send.beatNow = true
	}
	e.addJob(e.scanEntries(func(r ref) { e.retryFailed(r) })) // and entries kept for their stamp go
	e.note(Note{Kind: NoteResynced, Count: d.differing, Duration: e.now.Sub(d.began)})
	e.purgeDumped()
	e.resynced(d.differing)
	if again && !e.now.Before(d.retryAt) {
		e.beginDump()
	}
}

// dumped compares one entry of the kernel's table.
func (e *Engine) dumped(f *flow.Flow) {
	portable(f)
	e.besideFlowtable(f)
	r := e.tbl.Find(&f.Key)
	if r == 0 {
		if !e.accepts(f) || e.isOver(f) {
			return
		}
		r = e.tbl.Insert(&f.Key)
	}
	ent := e.tbl.Entry(r)
	own := e.log.Lives(r)
	if ent.Stamp == e.dump.generation {
		if own != nil && own.Bits&cache.Partial != 0 && own.Value.Reply == f.Reply {
			own.Bits &^= cache.Partial
			e.learnRare(r, own, f)
		}
		return
	}
	ent.Stamp = e.dump.generation
	if e.role.is == Standby {
		noteRare(ent, f.Extra)
	}
	if own != nil {
		own.Bits &^= cache.Partial
	}
	if own == nil && !e.isCopy(r) && (!e.accepts(f) || e.isOver(f) || e.isYoung(r)) {
		return
	}
	if e.passing(r, own, f) {
		return
	}
	switch {
	case e.isCopy(r) && (own == nil || own.Value.Reply != f.Reply && e.asBelieved(r, f)):
		e.dumpedCopy(r, f)
	case own == nil:
		ent.Kern |= kPresent
		e.dumpedOwn(r, f, true)
		e.outlivesItsEnd(r)
		e.fromBefore(r, f)
	case e.evict.holds(own): // decided by the addresses; what is there came after it, and its event was lost
		ev := e.asEvent(f)
		if e.tbl.Of(r, kernelOwner) == nil {
			ev.Kind = flow.EventNew
		}
		e.keepAside(r, &ev)
	case own.Value.Reply != f.Reply:
		ent.Kern |= kPresent
		e.dumpedOwn(r, f, true)
	case differs(&own.Value.Value, &f.Value), showsMore(f.Extra, e.extras.get(own.Value.extra)),
		inactive(&ent.Key, f.Extra) != inactive(&ent.Key, e.extras.get(own.Value.extra)):
		ent.Kern |= kPresent
		e.dumpedOwn(r, f, false)
	default:
		ent.Kern |= kPresent
	}
	e.suspect(r, f)
}

// passing says that an operation is under way that makes of what a dump shows of entry r another one, or takes it away.
func (e *Engine) passing(r ref, own *copyOf, f *flow.Flow) bool {
	switch {
	case e.tbl.Entry(r).Kern&kFlight == 0:
		return false
	case e.evict.holds(own) && e.tbl.Of(r, kernelOwner) != nil:
		return false // a packet made it
	}
	return own == nil || own.Value.Reply != f.Reply
}

// isCopy says that what the kernel has of entry r came from a peer: we wrote it, or the leader lists it.
func (e *Engine) isCopy(r ref) bool {
	if e.role.is != Standby {
		return false
	}
	if e.tbl.Entry(r).Kern&(kPresent|kEnded) != 0 {
		return true // kEnded: that its delete was carried out is perhaps not known
	}
	l := e.leads(r)
	return l != nil && l.Live()
}

// fromBefore marks a TCP flow that is older than this run of the daemon: through which node its packets went
// while nobody watched is not known, and window tracking would refuse them here if it was another. Once active
// this node writes the entry once, for the windows (with the daemon killed on a pair whose addresses moved and came
// back meanwhile, 31 of 234 connections fell silent, measured).
func (e *Engine) fromBefore(r ref, f *flow.Flow) {
	if e.dump.first || f.L4 != flow.TCP || isLiberal(f) {
		return
	}
	e.tbl.Entry(r).Kern |= kRewrite
	if e.role.is != Standby {
		e.dirty(r)
	}
}

// outlivesItsEnd notes of an entry that a dump shows at an active node that the leader ended it before, and that our
// delete was perhaps not carried out: it is ours, but does not come back once the kernel has it no more.
func (e *Engine) outlivesItsEnd(r ref) {
	if ent := e.tbl.Entry(r); ent.Kern&kEnded != 0 {
		ent.Kern &^= kEnded
		e.log.Lives(r).Bits |= cache.Dead
	}
}

func (e *Engine) dumpedCopy(r ref, f *flow.Flow) {
	ent := e.tbl.Entry(r)
	l := e.leads(r)
	wrong := l != nil && l.Live() && l.Value.Reply != f.Reply
	ent.Shape = shape(&ent.Key, &f.Reply, f.Extra)
	if wrong || ent.Kern&kPresent == 0 {
		ent.Kern |= kPresent
		e.dirty(r)
	}
}

func (e *Engine) dumpedOwn(r ref, f *flow.Flow, fresh bool) {
	e.dump.differing++
	if ent := e.tbl.Entry(r); ent.Kern&kFlight != 0 && e.role.is != Standby {
		ent.Kern |= kAgain // what is under way is older
	}
	e.ownAsFound(r, f, fresh)
}

// asEvent is the event that would have told what the kernel answered.
func (e *Engine) asEvent(f *flow.Flow) flow.Event {
	seen := *f
	seen.Timeout = e.asSeen(f)
	ev := flow.Event{Kind: flow.EventUpdate, Flow: seen, Has: flow.HasMark | flow.HasTimeout | flow.HasStatus | flow.HasReply}
	if f.L4 == flow.TCP || f.State != 0 {
		ev.Has |= flow.HasProtoInfo
	}
	return ev
}

// ownAsFound brings what the kernel answered into the own cache.
func (e *Engine) ownAsFound(r ref, f *flow.Flow, fresh bool) {
	ev := e.asEvent(f)
	if e.tbl.Entry(r).Rare() == 0 { // nor was it told of anything that it might not show
		ev.Has |= flow.HasRare
	}
	before := e.log.Lives(r)
	silent := before == nil || fresh || before.Bits&cache.Silent != 0 || !e.dump.lost.IsZero()
	e.ownFlow(r, &ev, fresh)
	if silent {
		e.log.Lives(r).Bits |= cache.Silent
	}
}

func (e *Engine) countShown(r ref) {
	if own := e.log.Lives(r); own != nil && own.Bits&cache.Silent != 0 {
		e.dump.counting.silent++
	}
	if e.tbl.Entry(r).Kern&(kPresent|kSuspect|kEnded) == kPresent|kSuspect {
		e.dump.counting.suspects++
	}
}

// differs says whether a dump shows something that peers should know; a timeout alone is not.
func differs(a, b *flow.Value) bool {
	return a.Status != b.Status || a.Mark != b.Mark || a.State != b.State || a.WScale != b.WScale
}

// missing looks at an entry after a dump: what should be in the kernel and was not seen is not there.
func (e *Engine) missing(r ref, gen uint8) {
	ent := e.tbl.Entry(r)
	if ent.Stamp != gen && e.evict.holds(e.log.Lives(r)) {
		e.dropAside(r) // what came after the one that is held back has gone too
	}
	if ent.Stamp == gen || ent.Kern&(kPresent|kFlight) != kPresent {
		return
	}
	e.dump.differing++
	if e.lostAsCopy(r) {
		ent.Kern &^= kPresent | kLiberal | kRewrite
		e.dirty(r)
		return
	}
	since := e.dump.began
	if l := e.dump.lost; !l.IsZero() && l.Before(since) {
		since = l
	}
	e.destroyed(r, since, false)
}

// lostAsCopy says that entry r was adopted with what was believed of our kernel, and that this was wrong: the loss of events
// before the takeover was not made good, or the first dump since shows it, and nothing was met of it here. So it was a copy
// that went, and a copy's fate never harms the original. That a flow ends in the moment between takeover and dump is rarer
// than that a table was flushed, or that an entry ran down, and an entry too many runs out.
func (e *Engine) lostAsCopy(r ref) bool {
	own, lost := e.log.Lives(r), e.dump.lost
	if own == nil || !e.adoptedNow(r, own) {
		return false
	}
	due := e.tbl.Entry(r).Due // of what was written since, when that was
	unmet := own.Seq == own.Born && (due < e.secondsAt(e.role.began) || due > e.seconds())
	return !lost.IsZero() && !lost.After(e.role.began) || !e.role.compared && unmet
}

// adoptedNow says that own entry r was adopted in this activation.
func (e *Engine) adoptedNow(r ref, own *copyOf) bool {
	if e.role.is == Standby || own.Born <= e.role.from {
		return false
	}
	return e.anyListed(r, func(_ *peer, c *copyOf) bool { return c.Bits&(cache.Adopted|cache.Dead) == cache.Adopted })
}

// oldAtBest says that our kernel's entry r, which is to be written because its connection went on elsewhere, is from before:
// this node is taking over, or has adopted it and met nothing of it since. If it goes before it is written, it has run down
// while the packets went elsewhere. A copy's fate never harms the original.
func (e *Engine) oldAtBest(r ref, own *copyOf) bool {
	return e.role.is == TakingOver || own.Seq == own.Born && e.adoptedNow(r, own)
}

// leads is the leader's copy of entry r, tombstones included, or nil.
func (e *Engine) leads(r ref) *copyOf {
	if e.peers.leader == nil {
		return nil
	}
	return e.tbl.Of(r, e.peers.leader.owner)
}

// leaderLists is the leader's copy of entry r if it is live and not in doubt, or nil.
func (e *Engine) leaderLists(r ref) *copyOf {
	if c := e.leads(r); c != nil && c.Live() && c.Bits&cache.Stale == 0 {
		return c
	}
	return nil
}
