package vrrp

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is said, in whatever order: the FIFO's GROUP line is the state, a tick at the deadline settles
// what was due (a loop must not spin on it), a decision says what State says, and a change is one.
func TestAnything(t *testing.T) {
	notice := rapid.Custom(func(t *rapid.T) Notice {
		n := Notice{
			Source: Source(rapid.IntRange(0, int(sources)-1).Draw(t, "source")),
			Kind:   Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
			Name:   rapid.SampledFrom([]string{"VG", "OTHER", "A", "B", "X", ""}).Draw(t, "name"),
			State:  State(rapid.IntRange(0, int(Gone)).Draw(t, "state")),
			Event: rapid.SampledFrom([]string{"", "", "", EventRxLowerPriority, EventRestarted, EventLinesLost,
				EventBusLost, EventReloaded}).Draw(t, "event"),
		}
		if ms := rapid.IntRange(-20, 50).Draw(t, "sent"); n.Source == SourceScript && ms > 0 {
			n.At = time.Unix(0, int64(ms)*int64(time.Millisecond))
		}
		return n
	})
	rapid.Check(t, func(t *rapid.T) {
		tr := NewTracker("VG", rapid.SampledFrom([][]string{nil, {"A", "B"}}).Draw(t, "members"))
		now := time.Unix(1000, 0)
		check := func(d Decision, before State) {
			if s, src, _, _ := tr.State(); d.State != s || d.Source != src || d.Changed != (s != before) {
				t.Fatalf("%+v, but the state is %v by %v, and was %v", d, s, src, before)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
			n := notice.Draw(t, "notice")
			before, _, _, _ := tr.State()
			d := tr.Notice(now, n)
			check(d, before)
			if n.Source == SourceFIFO && n.Kind == Group && n.Name == "VG" && n.Event == "" && n.State != Unknown &&
				d.State != n.State && d.Source != SourceOperator && d.Source != SourceCluster {
				t.Fatalf("the FIFO says %v, got %+v", n.State, d)
			}
			for range 20 {
				due := tr.Deadline()
				if due.IsZero() || due.After(now.Add(50*time.Millisecond)) {
					break
				}
				if now.Before(due) {
					now = due
				}
				before, _, _, _ = tr.State()
				check(tr.Tick(now), before)
				if again := tr.Deadline(); !again.IsZero() && !again.After(now) {
					t.Fatalf("the deadline %v stays after a tick at %v", again, now)
				}
			}
		}
	})
}
