package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	less := row{least: 0.5, goal: 0.3}
	more := row{least: 1, more: true}
	for _, c := range []struct {
		r         row
		low, high float64
		want      string
	}{
		{less, 0.2, 0.3, verdictGoal},
		{less, 0.2, 0.4, verdictReached},
		{less, 0.4, 0.5, verdictReached},
		{less, 0.4, 0.6, verdictUndecided},
		{less, 0.51, 0.6, verdictMissed},
		{more, 1, 1.3, verdictReached},
		{more, 0.9, 1.1, verdictUndecided},
		{more, 0.7, 0.9, verdictMissed},
		{row{}, 0.7, 0.9, ""},
		{less, math.NaN(), math.NaN(), ""},
	} {
		if got := c.r.judge(c.low, c.high); got != c.want {
			t.Errorf("%v: %.2f to %.2f is %q, want %q", c.r, c.low, c.high, got, c.want)
		}
	}
}

// TestRatioIsOfRounds: a machine that is half as fast in one round changes no ratio.
func TestRatioIsOfRounds(t *testing.T) {
	mid, low, high := ratio([]float64{1, 2, 1.2}, []float64{4, 8, 4})
	if mid != 0.25 || low != 0.25 || high != 0.3 {
		t.Errorf("%v, %v to %v", mid, low, high)
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{3, 1, 2}); m != 2 {
		t.Error(m)
	}
	if m := median([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Error(m)
	}
}

// TestReport: whatever was not measured is left out, and all that is there can be written.
func TestReport(t *testing.T) {
	s := samples{}
	for _, r := range append(rows(), floors()...) {
		s.add(r.key, ours, 1)
		s.add(r.key, theirs, 2)
		s.add(r.key, nothing, 3)
	}
	s["wire-udp"] = nil
	r := report{Rows: results(s, ours), Floors: floorResults(s)}
	if len(r.Rows) != len(rows())-1 || len(r.Floors) != len(floors()) {
		t.Errorf("%d rows of %d, %d floors", len(r.Rows), len(rows()), len(r.Floors))
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	r.print(&text)
	if !strings.Contains(text.String(), "warm commit of all flows") || strings.Contains(text.String(), "NaN") {
		t.Error(text.String())
	}
	for _, x := range r.Rows {
		switch x.Key {
		case rowLost, rowTakeover:
			if x.Verdict != verdictMissed {
				t.Errorf("%s: %s", x.Key, x.Verdict)
			}
		case rowIdle:
			if x.Verdict != verdictGoal {
				t.Errorf("%s: %s", x.Key, x.Verdict)
			}
		}
	}
}
