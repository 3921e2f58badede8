package top

import (
	"fmt"
	"time"
)

// keptEvents bounds what is remembered; a screen shows fewer.
const keptEvents = 200

// Model is what is shown.
type Model struct {
	at       time.Time // of the last answer
	last     *Status   // nil: none yet
	before   *Status   // the answer before, for rates
	span     time.Duration
	err      error // why there is no newer answer
	events   []Event
	observed bool // events are made of answers, as there is no journal
}

// Observe makes events of what changes between answers: where there is no journal.
func (m *Model) Observe() { m.observed = true }

// Answer takes the daemon's status, or why there is none, at the time at which it came.
func (m *Model) Answer(at time.Time, st *Status, err error) {
	if m.observed {
		m.compare(at, st, err)
	}
	m.err = err
	if err != nil {
		m.before = nil
		m.at = at
		return
	}
	m.before, m.span = m.last, at.Sub(m.at)
	m.last, m.at = st, at
}

// Happened takes an event of the journal.
func (m *Model) Happened(e Event) {
	m.events = append(m.events, e)
	if len(m.events) > keptEvents {
		m.events = m.events[len(m.events)-keptEvents:]
	}
}

// rate is how much a counter grew in a second. Where it was set back there is none.
func (m *Model) rate(counter func(*Status) uint64) (perSecond float64, known bool) {
	if m.before == nil || m.span <= 0 {
		return 0, false
	}
	old, now := counter(m.before), counter(m.last)
	if now < old {
		return 0, false
	}
	return float64(now-old) / m.span.Seconds(), true
}

// compare makes events of two answers.
func (m *Model) compare(at time.Time, st *Status, err error) {
	say := func(bad bool, format string, args ...any) { m.Happened(Event{at, fmt.Sprintf(format, args...), bad}) }
	switch {
	case err != nil && m.err == nil:
		say(true, "no answer: %v", err)
		return
	case err != nil:
		return
	case m.last == nil:
		return
	case m.err != nil:
		say(false, "answers again")
	}
	old := m.last
	if st.Verdict != old.Verdict {
		say(st.Code != 0, "%s, was %s", st.Verdict, old.Verdict)
	}
	if st.Role != old.Role {
		say(false, "%s, was %s (%s)", st.Role, old.Role, st.RoleReason)
	}
	if st.Kernel.Overruns > old.Kernel.Overruns {
		say(true, "the kernel dropped events")
	}
	comparePeers(old, st, say)
}

func comparePeers(old, now *Status, say func(bad bool, format string, args ...any)) {
	states := map[string]string{}
	for _, p := range old.Peers {
		states[p.Name+p.Epoch] = p.State
	}
	for _, p := range now.Peers {
		was, known := states[p.Name+p.Epoch]
		switch {
		case !known:
			say(false, "peer %s is heard", p.Name)
		case was != p.State:
			say(p.State == "silent", "peer %s: %s, was %s", p.Name, p.State, was)
		}
	}
}
