package vrrp

import (
	"strings"
	"time"
)

// daemon takes what is known of keepalived as a whole.
func (t *Tracker) daemon(now time.Time, n Notice) {
	switch {
	case n.Event == EventRestarted:
		t.alive = true
		t.restarted(now)
	case n.Event == EventLinesLost:
		t.views[n.Source] = view{}
		t.note("lines of keepalived's FIFO were lost: the state is not known from it until its next line")
	case n.Event != "": // RELOADED changes no state, BUS_LOST tells nothing
		if n.Event == EventBusLost {
			t.views[SourceDBus] = view{}
		}
	case n.Source == SourceDBus:
		t.bus(now, n)
	case n.State == Gone:
		t.gone(now, n.Source, "keepalived has died")
	default:
		t.alive = true
		if t.state == Gone {
			t.set(now, Unknown, n.Source, "keepalived is back and has not spoken yet")
		}
	}
}

// gone forgets everything: it was said by a process that is no more, and the next one may use other sources.
func (t *Tracker) gone(now time.Time, s Source, reason string) {
	t.views, t.offBus = [sources]view{}, time.Time{}
	t.set(now, Gone, s, reason)
}

// restarted forgets what the former process said. What came within RestartWindow was said by the new one.
func (t *Tracker) restarted(now time.Time) {
	for i := range t.views {
		t.views[i].forget(now.Add(-RestartWindow))
	}
	if _, ok := t.driver(); !ok {
		t.set(now, Unknown, SourceProcess, "keepalived was restarted and has not spoken yet")
	}
}

// bus takes keepalived's coming to and leaving the D-Bus. Leaving is a hint, not death: after a restart of
// the bus keepalived runs on but never comes back to it.
func (t *Tracker) bus(now time.Time, n Notice) {
	if n.State != Gone {
		t.offBus = time.Time{}
		return
	}
	deciding := t.source == SourceDBus && t.state != Unknown
	t.views[SourceDBus] = view{}
	if !deciding {
		return
	}
	if t.alive {
		t.note("keepalived has left the D-Bus, the only source: its state stands until keepalived is restarted")
		return
	}
	t.offBus = now
}

func (t *Tracker) judgeOffBus(now time.Time) {
	if t.offBus.IsZero() || now.Sub(t.offBus) < offBusGrace {
		return
	}
	t.gone(now, SourceDBus, "keepalived has left the D-Bus, and no other source is in use")
}

// latest is when the newest word on an instance was heard.
func (v *view) latest() (at time.Time) {
	for _, w := range v.said {
		if w.heard.After(at) {
			at = w.heard
		}
	}
	return at
}

func (t *Tracker) decision(now time.Time, before State) Decision {
	d := Decision{
		Changed:      t.state != before,
		State:        t.state,
		Source:       t.source,
		Reason:       t.reason,
		Disagreement: strings.Join(t.notes, "; "),
	}
	t.notes = t.notes[:0]
	return d
}
