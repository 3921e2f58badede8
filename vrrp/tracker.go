package vrrp

import (
	"fmt"
	"time"
)

// Times of the tracker. They are ours.
const (
	// disputeGrace is how long a lower source may differ before it is told: a FIFO line and the D-Bus
	// signal of one transition are within ms of each other, a script can be seconds late on a loaded host.
	disputeGrace = 5 * time.Second
	// offBusGrace is how long a keepalived that left the bus has to come back (the respawn of a killed
	// child takes 50 ms) where nothing but the bus tells of its life.
	offBusGrace = 3 * time.Second
	// lowerInterval parts notes on adverts of lower priority, which come with every advert.
	lowerInterval = 30 * time.Second
)

// rank is the order in which sources are believed. The process comes last: its dump tells the state at one
// moment, for a daemon that starts late.
var rank = [...]Source{SourceFIFO, SourceDBus, SourceScript, SourceProcess}

// Tracker derives the state of one sync group from all that is said about it. One goroutine owns it; it
// has no clock: time comes in with each call.
//
// Each of the sources in rank can drive alone, and is in use as soon as what it said tells the group's
// state. The highest in use decides; the others only raise a note where they differ. The state stands when
// a source falls silent: that alone says nothing about the group.
//
// The operator (promote, demote) and a cluster manager (start, stop) decide at once. Where keepalived
// speaks too, their word holds until what the deciding source says changes, or keepalived dies; saying it
// again is no change. Their Unknown gives the word back.
type Tracker struct {
	members membership
	views   [sources]view

	state  State
	source Source
	since  time.Time
	reason string

	alive    bool             // keepalived's process has been seen
	offBus   time.Time        // the deciding source, D-Bus, lost its keepalived then; zero: it did not
	disputes [sources]dispute // by the source that differs
	lower    time.Time        // when adverts of lower priority were last told
	renamed  map[string]bool  // names of groups that were told to have our members
	notes    []string         // of this call
}

// dispute is one source's difference from the deciding one.
type dispute struct {
	since time.Time // zero: it agrees
	told  bool
}

// Decision is what one call of the tracker came to.
type Decision struct {
	Changed bool
	State   State
	Source  Source
	Reason  string
	// Disagreement is what an operator should know although it changed nothing: a source that differs from
	// the deciding one, a notice that came too late. Empty: nothing.
	Disagreement string
}

// NewTracker tracks the sync group of that name. members are its instances as configured; none: they are
// learned from the order of the lines.
func NewTracker(group string, members []string) *Tracker {
	t := &Tracker{members: membership{group: group, hint: members}, renamed: map[string]bool{}}
	return t
}

// SetMembers replaces the configured members. What was heard before is judged anew at the next Tick.
func (t *Tracker) SetMembers(members []string) {
	t.members.hint = members
	for i := range t.views {
		if v := &t.views[i]; len(v.said) > 0 {
			v.due = v.latest()
		}
	}
}

// State returns the group's state, who said it, since when it is so, and why.
func (t *Tracker) State() (State, Source, time.Time, string) {
	return t.state, t.source, t.since, t.reason
}

// Notice takes one notice.
func (t *Tracker) Notice(now time.Time, n Notice) Decision {
	before := t.state
	switch {
	case n.Kind == Daemon:
		t.daemon(now, n)
	case n.Source == SourceOperator || n.Source == SourceCluster:
		t.ordered(now, n)
	case n.Event != "":
		t.event(now, n)
	case n.Kind == Group:
		t.groupLine(now, n)
	default:
		t.instanceLine(now, n)
	}
	t.judgeDue(now)
	return t.decision(now, before)
}

// Tick does what is due by now.
func (t *Tracker) Tick(now time.Time) Decision {
	before := t.state
	t.judgeDue(now)
	return t.decision(now, before)
}

// Deadline is when Tick has something to do; zero: never.
func (t *Tracker) Deadline() (d time.Time) {
	for _, s := range rank {
		d = earlier(d, t.views[s].due)
		if p := t.disputes[s]; !p.told && !p.since.IsZero() {
			d = earlier(d, p.since.Add(disputeGrace))
		}
	}
	if !t.offBus.IsZero() {
		d = earlier(d, t.offBus.Add(offBusGrace))
	}
	return d
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func (t *Tracker) groupLine(now time.Time, n Notice) {
	if n.Source == SourceFIFO && t.members.claim(n) && !t.renamed[n.Name] {
		t.renamed[n.Name] = true
		t.note("keepalived calls the group %q now, not %q: set the sync-group to its name", n.Name, t.members.group)
	}
	if n.Name != t.members.group {
		return
	}
	members, _ := t.members.known()
	v := &t.views[n.Source]
	old := v.state
	if !v.hearGroup(now, n, members) {
		t.late(n)
		return
	}
	t.heard(now, n.Source, old)
}

func (t *Tracker) instanceLine(now time.Time, n Notice) {
	if n.Source == SourceFIFO {
		t.members.instance(n)
	}
	members, certain := t.members.known()
	v := &t.views[n.Source]
	old := v.state
	if !v.hearInstance(now, n, members, certain) {
		t.late(n)
		return
	}
	if t.members.has(n.Name) {
		t.heard(now, n.Source, old)
	}
}

// event takes a word about an instance that is not a state. Only a MASTER complains of lower priorities,
// which tells its state where nothing else has; the *_PRIORITY words do not: keepalived before 2.4 gets
// them wrong at a reload.
func (t *Tracker) event(now time.Time, n Notice) {
	if n.Event != EventRxLowerPriority || n.Kind != Instance || !t.members.has(n.Name) {
		return
	}
	if t.lower.IsZero() || now.Sub(t.lower) >= lowerInterval {
		t.lower = now
		t.note("instance %q is MASTER and hears adverts of a lower priority: another node believes that it is MASTER", n.Name)
	}
	if t.views[n.Source].said[n.Name].state == Unknown {
		t.instanceLine(now, Notice{Source: n.Source, Kind: Instance, Name: n.Name, State: Master, At: n.At})
	}
}

// ordered takes the word of the operator or of a cluster manager.
func (t *Tracker) ordered(now time.Time, n Notice) {
	if n.Name != "" && n.Name != t.members.group {
		return
	}
	if n.State == Unknown {
		t.release(now)
		return
	}
	t.set(now, n.State, n.Source, fmt.Sprintf("ordered by %s", n.Source))
}

func (t *Tracker) release(now time.Time) {
	if s, ok := t.driver(); ok {
		t.set(now, t.views[s].state, s, t.views[s].reason)
		return
	}
	t.set(now, Unknown, SourceOperator, "nothing heard of the group")
}

// driver is the highest source with an opinion.
func (t *Tracker) driver() (Source, bool) {
	for _, s := range rank {
		if t.views[s].state != Unknown {
			return s, true
		}
	}
	return 0, false
}

// heard follows what the source s just said, where s decides. old is its opinion before.
func (t *Tracker) heard(now time.Time, s Source, old State) {
	if d, ok := t.driver(); !ok || d != s {
		return
	}
	v := &t.views[s]
	if t.overridden() && v.state == old {
		return
	}
	t.set(now, v.state, s, v.reason)
}

func (t *Tracker) overridden() bool {
	return (t.source == SourceOperator || t.source == SourceCluster) && t.state != Unknown
}

func (t *Tracker) set(now time.Time, st State, s Source, reason string) {
	if st == t.state && s == t.source {
		return
	}
	if st != t.state {
		t.since, t.reason = now, reason
	}
	t.state, t.source = st, s
}

// judgeDue judges the INSTANCE lines for which no GROUP line came, in order of trust.
func (t *Tracker) judgeDue(now time.Time) {
	members, _ := t.members.known()
	for _, s := range rank {
		v := &t.views[s]
		if v.due.IsZero() || now.Before(v.due) {
			continue
		}
		old := v.state
		v.judge(members)
		t.heard(now, s, old)
	}
	t.judgeOffBus(now)
	t.judgeDisputes(now)
}

func (t *Tracker) judgeDisputes(now time.Time) {
	d, ok := t.driver()
	for _, s := range rank {
		p, v := &t.disputes[s], &t.views[s]
		agrees := !ok || s == d || s == SourceProcess || v.state == Unknown ||
			(v.state == Master) == (t.views[d].state == Master)
		switch {
		case agrees:
			*p = dispute{}
		case p.since.IsZero():
			p.since = now
		case !p.told && now.Sub(p.since) >= disputeGrace:
			p.told = true
			t.note("%s says %s (%s), but %s says %s and decides", s, v.state, v.reason, d, t.views[d].state)
		}
	}
}

func (t *Tracker) late(n Notice) {
	t.note("a notice came too late and is dropped: %s says %s of %q, but a newer one is known", n.Source, n.State, n.Name)
}

func (t *Tracker) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}
