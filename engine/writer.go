package engine

import (
	"math"
	"syscall"
	"time"

	"ctsync/engine/flow"
)

// The kernel writer is level-triggered (PROTOCOL section 6): for a dirty entry the operation is computed from
// the caches when it is sent, and at most one is under way. A queue of operations would bring back what
// ended meanwhile.

// Marks of an entry.
const (
	kPresent  uint16 = 1 << iota // in our kernel, as far as we know
	kDirty                       // in the ring
	kFlight                      // an operation is under way
	kAgain                       // dirty again meanwhile
	kGone                        // destroyed meanwhile
	kLater                       // in the list of those that wait
	kLiberal                     // the kernel's entry was written by us, window tracking is liberal
	kRewrite                     // active: to be written once although the kernel leads; a standby's copy: a create stayed unanswered
	kReplace                     // to be deleted before it is created
	kFailed                      // the kernel refused it; waits for a change
	kNoMaster                    // create it without its master; in the kernel: it has none there
	kNoHelper                    // create it without its helper
	kSuspect                     // Due holds when it would expire, for the purge
	kCommit                      // the operator asked for it
	kEnded                       // the leader ended it, it is to go
	kReborn                      // Standby: as kReplace, what is there is of an incarnation before
)

type writer struct {
	ring        queue[ref]
	outstanding int
	waiting     []held // kLater, in order of time
	paused      time.Time
	reading     time.Time // nothing is written before: events are read that waited while the machine slept
	pause       time.Duration
	deleted     deletions
	tableCount  int
	unanswered  int // operations in a row without an answer

	failures      map[syscall.Errno]int // entries with kFailed, by reason
	failing       int
	newFailures   int
	lastFailure   syscall.Errno
	refused       []held   // own flows that never got in
	somethingWent bool     // from the kernel, since refused entries were tried
	pageDue       []uint32 // lowest Due of each page of entries
	nextDue       time.Time

	// How far it has got through what a new leader lists: entries that were put into the ring, taken out of
	// it, operations given out and answered.
	pushed, popped, issued, answered uint64
	filling                          uint64
	fillTo, fillOps                  uint64
	scanned, filled                  bool
	recent                           []ref // changed before the leader's proof
	refill                           bool  // some of it stayed unanswered
	left                             bool  // some of it came while the leader did not act
}

const (
	maxOutstanding = 512
	maxOpsPerStep  = 128
	retryAfter     = time.Second
	minPause       = time.Second
	maxPause       = 30 * time.Second
	tableHigh      = 95 // per cent of nf_conntrack_max
	duePage        = 1024
	neverDue       = math.MaxUint32
	// refreshSilent is how long copies of a leader that is not heard are kept alive.
	refreshSilent = 10 * time.Minute
)

// dirty asks for entry r to be looked at.
func (e *Engine) dirty(r ref) {
	ent := e.tbl.Entry(r)
	e.unfail(ent)
	if ent.Kern&kPresent == 0 {
		ent.Kern &^= kNoMaster | kNoHelper
	}
	e.dirtyAgain(r)
}

func (e *Engine) dirtyAgain(r ref) {
	ent := e.tbl.Entry(r)
	if ent.Kern&kFlight != 0 {
		ent.Kern |= kAgain
		return
	}
	if ent.Kern&(kDirty|kLater) != 0 {
		return
	}
	ent.Kern |= kDirty
	e.writer.pushed++
	e.writer.ring.push(r)
}

// rewrite has our kernel's entry r written once more although the kernel leads.
func (e *Engine) rewrite(r ref) {
	e.tbl.Entry(r).Kern |= kRewrite
	e.dirty(r)
}

// now has everything that waits looked at now.
func (w *writer) now(e *Engine) {
	late := w.waiting
	w.waiting = nil
	for _, h := range late {
		e.tbl.Entry(h.r).Kern &^= kLater
		e.dirtyAgain(h.r)
	}
}

// follow notes when what was to be written for a new leader is.
func (w *writer) follow() {
	switch {
	case w.filled || !w.scanned || w.popped < w.fillTo:
		return
	case w.fillOps == 0:
		w.fillOps = w.issued
	}
	w.filled = w.answered >= w.fillOps && len(w.waiting) == 0
}

// later asks for entry r to be looked at after a while, and not before creating goes on.
func (w *writer) later(e *Engine, r ref) {
	ent := e.tbl.Entry(r)
	if ent.Kern&(kDirty|kLater) != 0 {
		return
	}
	ent.Kern |= kLater
	at := e.now.Add(retryAfter)
	if at.Before(w.paused) {
		at = w.paused
	}
	w.waiting = append(w.waiting, held{r: r, at: at})
}

func (w *writer) pending() int { return w.ring.len() }

// idle says that nothing is to be written now.
func (w *writer) idle() bool { return w.pending() == 0 && w.outstanding == 0 }

func (w *writer) canFill(now time.Time) bool {
	return w.pending() > 0 && w.outstanding < maxOutstanding && !now.Before(w.reading)
}

func (w *writer) deadline() time.Time {
	if len(w.waiting) > 0 {
		return w.waiting[0].at
	}
	return time.Time{}
}

// writeKernel fills the output with operations for dirty entries.
func (e *Engine) writeKernel() {
	w := &e.writer
	for len(w.waiting) > 0 && !w.waiting[0].at.After(e.now) {
		r := w.waiting[0].r
		w.waiting = w.waiting[1:]
		e.tbl.Entry(r).Kern &^= kLater
		e.dirtyAgain(r)
	}
	for w.canFill(e.now) && len(e.out.Ops) < maxOpsPerStep {
		r := w.ring.pop()
		w.popped++
		e.tbl.Entry(r).Kern &^= kDirty
		if !e.operation(r) {
			e.release(r)
		}
	}
	w.follow()
	e.hasRoom()
}

// hasRoom notes when everything that waited for room in the table is in it.
func (e *Engine) hasRoom() {
	w := &e.writer
	if w.pause > 0 && !w.paused.After(e.now) && w.idle() && len(w.waiting) == 0 {
		w.pause = 0
		e.note(Note{Kind: NoteTableFreed})
	}
}

// operation sends what entry r needs, if anything.
func (e *Engine) operation(r ref) bool {
	ent := e.tbl.Entry(r)
	if ent.Kern&kFailed != 0 {
		return false
	}
	want, c := e.target(r)
	present := ent.Kern&kPresent != 0
	switch {
	case want == goalThere && !present && e.endedInDoubt(r):
		e.askWhether(r)
	case want == goalThere && !present && e.tableFull():
		e.writer.later(e, r)
	case want == goalThere && !present:
		e.send1(r, flow.OpCreate, c)
	case want == goalThere && (e.role.is == Standby && (ent.Kern&(kReplace|kReborn) != 0 || isFixed(ent)) || ent.Shape != e.shapeOf(ent, c)):
		e.replace(r)
	case want == goalThere:
		e.send1(r, flow.OpUpdate, c)
	case want == goalAbsent:
		e.sendDelete(r)
	case !present && (e.heldInDoubt(r) || e.endedInDoubt(r)):
		e.askWhether(r)
	default:
		e.writer.left = e.writer.left || e.leftAlone(r)
		e.awaitTidying(r)
		if e.role.is == Standby && !present {
			ent.Kern &^= kRewrite // nobody lists it
		}
		return false
	}
	return true
}

// isFixed says that what we wrote of ent has a fixed timeout (see flow.Op): it lasts longer as a new one only.
func isFixed(ent *entry) bool {
	return ent.Key.L4 == flow.GRE && ent.Key.Kind == flow.KindFlow && ent.Kern&(kPresent|kLiberal) == kPresent|kLiberal
}

// shape is how that is remembered which changes and which the kernel cannot be told to change: the reply tuple,
// and whether an expectation is active.
func shape(k *flow.Key, reply *flow.Tuple, x *flow.Extra) uint32 {
	t := flow.Key{Tuple: *reply, L3: flow.IPv6}
	h := uint32(t.Hash(0))
	if inactive(k, x) {
		h = ^h
	}
	return h
}

// shapeOf is the shape that the copy c of an entry has.
func (e *Engine) shapeOf(ent *entry, c *copyOf) uint32 {
	return shape(&ent.Key, &c.Value.Reply, e.extras.get(c.Value.extra))
}

// replace makes way for what should be in the kernel instead. A node that has the address looks first what is
// there: a packet may have made another one, and once active this node follows its kernel.
func (e *Engine) replace(r ref) {
	if e.role.is != Standby {
		e.lookUp(r, flow.OpGet)
		return
	}
	e.sendDelete(r)
}

func (e *Engine) send1(r ref, kind flow.OpKind, c *copyOf) {
	f, ent := e.flowOf(r, c), e.tbl.Entry(r)
	if f.Kind == flow.KindFlow { // packets do not refresh an expectation
		f.Timeout = e.lasting(r, c)
	}
	if f.Kind == flow.KindFlow && f.Status&flow.FixedTime == 0 {
		f.Timeout += e.spare(r, c)
	}
	if kind == flow.OpUpdate {
		e.keepOwn(r, &f)
	}
	if f.Extra != nil && ent.Kern&kNoMaster != 0 {
		f.Extra.HasMaster = false
	}
	if f.Extra != nil && ent.Kern&kNoHelper != 0 {
		f.Extra.Helper = [16]byte{}
	}
	if kind == flow.OpUpdate {
		if ent.Rare() != 0 {
			e.clearRare(&f, ent.Rare())
		}
		if ent.Kern&kNoMaster != 0 {
			f.Status &^= flow.Expected
		}
		if isFixed(ent) {
			f.Status |= flow.FixedTime
		}
	} else {
		ent.Shape = shape(&f.Key, &f.Reply, f.Extra)
		ent.SetRare(0)
	}
	noteRare(ent, f.Extra)
	e.issue(r, kind, &f)
}

// sticky are status bits that the kernel refuses to clear (EBUSY).
const sticky = flow.SeenReply | flow.Assured

// keepOwn keeps in an update what the kernel's entry has already: what is sticky, and all of an own flow but
// its timeout, since a packet of it may just have met this node.
func (e *Engine) keepOwn(r ref, f *flow.Flow) {
	if c := e.log.Lives(r); e.ownIsThere(r, c) {
		timeout := max(f.Timeout, c.Value.Timeout)
		switch closed := e.isClosed(r, c); {
		case closed && flow.Closed(&f.Key, &f.Value):
			timeout = max(f.Timeout, e.lasting(r, c))
		case closed:
			timeout = e.lasting(r, c) // here, as the leader has not heard
		}
		*f = e.told(r, c)
		f.Timeout = timeout
	}
	if c := e.tbl.Of(r, kernelOwner); c != nil {
		f.Status |= c.Value.Status & sticky
	}
}

// clearRare has an update clear what our kernel's entry may have of another incarnation, and f has not. What adjusts the sequence
// numbers of a flow that the leader's kernel adjusts stays in any case, and at a node that acts: no event tells of that.
func (e *Engine) clearRare(f *flow.Flow, rare uint8) {
	if f.Extra == nil {
		f.Extra = &flow.Extra{}
	}
	if rare&rareLabels != 0 && f.Extra.Labels == [16]byte{} {
		f.Extra.LabelsCleared = true
	}
	if rare&rareAdjusted != 0 && f.Status&flow.SeqAdjust == 0 && e.role.is == Standby {
		f.Extra.HasSeqAdj = true
	}
}

// sendDelete deletes entry r: what our kernel said of it goes with it, and is nothing to adopt meanwhile.
func (e *Engine) sendDelete(r ref) {
	e.dropAside(r)
	e.sendDeleteOf(r, 0)
}

// sendDeleteOf deletes entry r if it has that identity still; 0 is any.
func (e *Engine) sendDeleteOf(r ref, id uint32) {
	e.issue(r, flow.OpDelete, &flow.Flow{Key: e.tbl.Entry(r).Key, ID: id})
}

func (e *Engine) issue(r ref, kind flow.OpKind, f *flow.Flow) {
	ent := e.tbl.Entry(r)
	ent.Kern = ent.Kern&^(kAgain|kGone) | kFlight
	if kind == flow.OpCreate {
		ent.Kern &^= kReborn // what comes up while this is under way is about the next one
	}
	e.emit(flow.Op{Kind: kind, Tag: uint64(r), Flow: *f})
}

// emit gives out an operation.
func (e *Engine) emit(op flow.Op) {
	e.writer.outstanding++
	e.writer.issued++
	e.out.Ops = append(e.out.Ops, op)
}

// tableFull says that creating has to wait: the table is full, or nearly (early_drop would trade copies for
// copies for ever).
func (e *Engine) tableFull() bool {
	w := &e.writer
	if w.paused.After(e.now) {
		return true
	}
	if w.tableCount*100 <= e.cfg.TableMax*tableHigh {
		return false
	}
	e.pauseCreating()
	return true
}

func (e *Engine) pauseCreating() {
	w := &e.writer
	if w.paused.After(e.now) {
		return
	}
	if w.pause == 0 {
		e.note(Note{Kind: NoteTableFull, Count: w.tableCount})
	}
	w.pause = min(max(w.pause*2, minPause), maxPause)
	w.paused = e.now.Add(w.pause)
}
