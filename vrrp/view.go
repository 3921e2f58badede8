package vrrp

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// grace is how long INSTANCE lines wait for the GROUP line that should follow, where the members are not
// certain or do not agree. Within one transition of a group the lines are at most some ms apart (measured:
// 3 ms with one address each); the number is ours.
const grace = 100 * time.Millisecond

// view is what one source has said about the group, and what follows from it.
type view struct {
	state  State // the opinion; Unknown: none
	reason string
	group  word
	said   map[string]word // by instance
	due    time.Time       // when INSTANCE lines are judged without a GROUP line; zero: nothing to judge
}

// word is the last thing said about one name.
type word struct {
	state State
	heard time.Time
	sent  time.Time // zero: unknown, the order of arrival counts
}

// outdates says that a notice sent at t comes too late to replace w.
func (w word) outdates(t time.Time) bool {
	return !t.IsZero() && !w.sent.IsZero() && t.Before(w.sent)
}

// hearGroup takes a GROUP line, which decides at once. It is false for one that is older than what is known.
func (v *view) hearGroup(now time.Time, n Notice, members []string) bool {
	if v.group.outdates(n.At) {
		return false
	}
	v.group = word{state: n.State, heard: now, sent: n.At}
	for _, name := range v.known(members) { // they move together, heard or not
		if old := v.said[name]; old.state != Deleted && !old.outdates(n.At) {
			v.say(name, v.group)
		}
	}
	v.decide(n.State, fmt.Sprintf("GROUP %q %s", n.Name, n.State))
	return true
}

// hearInstance takes an INSTANCE line. It is false for one that is older than what is known.
func (v *view) hearInstance(now time.Time, n Notice, members []string, certain bool) bool {
	if v.group.outdates(n.At) || v.said[n.Name].outdates(n.At) {
		return false
	}
	v.say(n.Name, word{state: n.State, heard: now, sent: n.At})
	if !contains(members, n.Name) || (len(members) == 0 && !v.group.heard.IsZero()) {
		return true // nobody's, or perhaps another group's: ours has lines of its own
	}
	v.due = now.Add(grace)
	if s, complete := v.derive(members); certain && complete && s != Unknown {
		v.decide(s, derivedReason(s, n.Name))
	}
	return true
}

// judge decides by the INSTANCE lines alone: the GROUP line has not come in time. With priority 255 it
// never comes, and D-Bus knows no groups.
func (v *view) judge(members []string) {
	v.due = time.Time{}
	if s, _ := v.derive(members); s != Unknown && s != v.state {
		v.decide(s, derivedReason(s, ""))
	}
}

func (v *view) decide(s State, reason string) {
	v.state, v.reason, v.due = s, reason, time.Time{}
}

func derivedReason(s State, last string) string {
	if s == Master {
		return "every INSTANCE of the group MASTER"
	}
	if last == "" {
		return fmt.Sprintf("INSTANCE of the group %s", s)
	}
	return fmt.Sprintf("INSTANCE %q %s", last, s)
}

// derive says what the group's state must be by its instances. It is Unknown while some are MASTER and some
// are not: members of a sync group move together, so that is either a moment within a transition, or an
// instance that no longer belongs to the group (one that a reload removed says FAULT as its last word
// unless it has a notify_deleted). Deleted instances do not count unless all are; complete
// says that every member has been heard.
func (v *view) derive(members []string) (s State, complete bool) {
	complete = true
	var count [Gone + 1]int
	for _, name := range v.known(members) {
		st := v.said[name].state
		count[st]++
		complete = complete && st != Unknown
	}
	others := count[Fault] + count[Stop] + count[Backup]
	switch {
	case count[Master] > 0 && others > 0:
		return Unknown, complete
	case count[Master] > 0:
		return Master, complete
	case count[Fault] > 0:
		return Fault, complete
	case count[Stop] > 0:
		return Stop, complete
	case count[Backup] > 0:
		return Backup, complete
	case count[Deleted] > 0:
		return Deleted, complete
	}
	return Unknown, false
}

func (v *view) say(name string, w word) {
	if v.said == nil {
		v.said = map[string]word{}
	}
	v.said[name] = w
}

// known are the members, or all instances that were heard where no members are known.
func (v *view) known(members []string) []string {
	if len(members) > 0 {
		return members
	}
	return slices.Collect(maps.Keys(v.said))
}

// forget drops what was heard up to then; what came later stays.
func (v *view) forget(until time.Time) {
	for name, w := range v.said {
		if !w.heard.After(until) {
			delete(v.said, name)
		}
	}
	if v.group.heard.After(until) {
		return
	}
	v.group = word{}
	if len(v.said) == 0 {
		*v = view{}
		return
	}
	v.state, v.due = Unknown, until // the rest is judged at the next tick
}

// contains is true for every name where no members are known.
func contains(members []string, name string) bool {
	return len(members) == 0 || slices.Contains(members, name)
}
