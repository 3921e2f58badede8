package main

import (
	"math"
	"slices"
)

// samples holds what was measured: by row and contender, one value a round.
type samples map[string]map[string][]float64

func (s samples) add(key, contender string, v float64) {
	if s[key] == nil {
		s[key] = map[string][]float64{}
	}
	s[key][contender] = append(s[key][contender], v)
}

func median(vs []float64) float64 {
	if len(vs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(vs))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// ratio is the median of the ratios of the rounds, with the smallest and the largest: both programs of one round
// met the machine in the same mood.
func ratio(ours, theirs []float64) (mid, low, high float64) {
	var rs []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] != 0 {
			rs = append(rs, ours[i]/theirs[i])
		}
	}
	if len(rs) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	return median(rs), slices.Min(rs), slices.Max(rs)
}

// Verdicts on a row.
const (
	verdictGoal      = "goal"
	verdictReached   = "reached"
	verdictMissed    = "missed"
	verdictUndecided = "undecided" // counts as missed
)

// judge compares the smallest and the largest ratio with the limits of its row. Where the rounds are on both sides of the limit, nothing is
// decided.
func (r *row) judge(low, high float64) string {
	if math.IsNaN(low) || r.least == 0 {
		return ""
	}
	least, goal := r.least, r.goal
	if r.more {
		low, high = 1/high, 1/low
	}
	switch {
	case low > least:
		return verdictMissed
	case high > least:
		return verdictUndecided
	case goal > 0 && high <= goal:
		return verdictGoal
	}
	return verdictReached
}
