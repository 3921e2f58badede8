package lab

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// Result is what one fault did to the traffic.
type Result struct {
	Fault    string
	Verdicts []Verdict
	Gap      Gap
	Timeline Timeline
}

// Judge is a result without a timeline.
func Judge(fault string, verdicts []Verdict) Result {
	return Result{Fault: fault, Verdicts: verdicts}
}

// Count is how many conversations of the kinds had the outcome; no kinds means all.
func (r *Result) Count(o Outcome, kinds ...Talk) int {
	n := 0
	for _, v := range r.Verdicts {
		if v.Outcome == o && among(v.Kind, kinds) {
			n++
		}
	}
	return n
}

// Lost is how many did not survive.
func (r *Result) Lost() int { return len(r.Verdicts) - r.Count(Survived) }

// Stall is the longest that a conversation of the kinds had to wait; no kinds means all.
func (r *Result) Stall(kinds ...Talk) time.Duration {
	var longest time.Duration
	for _, v := range r.Verdicts {
		if among(v.Kind, kinds) {
			longest = max(longest, v.Stall)
		}
	}
	return longest
}

func among(k Talk, kinds []Talk) bool {
	for _, kind := range kinds {
		if kind == k {
			return true
		}
	}
	return len(kinds) == 0
}

// Reasons counts why conversations were lost, in the order of their text; empty when none was.
func (r *Result) Reasons() string {
	counts := map[string]int{}
	for _, v := range r.Verdicts {
		if v.Outcome != Survived {
			reason := v.Reason
			if v.Outcome != Reset { // the rest of the text differs from one conversation to the next
				reason = v.Outcome.String()
			}
			kind := v.Kind.String()
			if v.IPv6 {
				kind += " over IPv6"
			}
			counts[kind+": "+reason]++
		}
	}
	texts := make([]string, 0, len(counts))
	for text, n := range counts {
		texts = append(texts, fmt.Sprintf("%d %s", n, text))
	}
	sort.Strings(texts)
	return strings.Join(texts, "; ")
}

// dwell is how long after a takeover the traffic is left alone before it is judged, so that what a late
// clean-up or a second announcement breaks is seen too.
const dwell = 1500 * time.Millisecond

// silence is how long a conversation may give no answer before it counts as silent: TCP, which doubles its
// retransmission timeout from 200 ms, has tried again several times by then.
const silence = 6 * time.Second

// Try does the fault under the traffic, waits until the router that should take over is master, and judges
// every conversation. Then it renews the traffic for the next fault.
func (t *Traffic) Try(f Fault) (Result, error) {
	watch, err := f.Taker.watchAddresses()
	if err != nil {
		return Result{}, err
	}
	defer close(watch.stop)
	t.Forget()
	began := time.Now()
	if err := f.Do(); err != nil {
		return Result{}, err
	}
	if err := t.lab.WaitMaster(f.Taker, settleLimit); err != nil {
		return Result{}, err
	}
	time.Sleep(dwell)
	r := Judge(f.Name, t.Check(silence))
	r.Gap = t.Gap()
	r.Timeline = f.Taker.timeline(began, watch, t.probe.firstOf(f.Taker))
	return r, t.Renew()
}

// Table lays the results out, one line each.
func Table(results []Result) string {
	var b strings.Builder
	const row = "  %-30s %9s %6s %7s %6s %12s %12s %14s\n"
	fmt.Fprintf(&b, row, "fault", "survived", "reset", "silent", "moved", "TCP stall", "UDP stall", "no forwarding")
	for _, r := range results {
		count := func(o Outcome) string { return fmt.Sprint(r.Count(o)) }
		fmt.Fprintf(&b, row, r.Fault, fmt.Sprintf("%d/%d", r.Count(Survived), len(r.Verdicts)),
			count(Reset), count(Silent), count(Moved),
			milliseconds(r.Stall(TCP, Bulk)), milliseconds(r.Stall(UDP, Ping)), milliseconds(r.Gap.Length))
	}
	return b.String()
}
