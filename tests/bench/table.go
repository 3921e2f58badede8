package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// report is a run: what was measured, how, and what came of it.
type report struct {
	Date     time.Time         `json:"date"`
	Command  string            `json:"command"`
	Machine  map[string]string `json:"machine"`
	Versions map[string]string `json:"versions"`
	How      []string          `json:"how"`
	Rounds   int               `json:"rounds"`
	Load     [2]string         `json:"load_average"` // at the beginning and the end
	Quiet    bool              `json:"quiet"`
	Rows     []result          `json:"rows"`
	Floors   []floor           `json:"floors"`
}

// result is one row for one of our variants.
type result struct {
	Key        string    `json:"key"`
	Title      string    `json:"title"`
	Unit       string    `json:"unit"`
	Contender  string    `json:"contender"`
	Ours       float64   `json:"ours"`       // median
	Conntrackd float64   `json:"conntrackd"` // median
	Ratio      float64   `json:"ratio"`      // median of the rounds' ratios
	Low        float64   `json:"ratio_low"`
	High       float64   `json:"ratio_high"`
	Least      float64   `json:"limit,omitempty"`
	Goal       float64   `json:"goal,omitempty"`
	Verdict    string    `json:"verdict"`
	Note       string    `json:"note,omitempty"`
	OursAll    []float64 `json:"ours_rounds"`
	TheirsAll  []float64 `json:"conntrackd_rounds"`
}

type floor struct {
	Key    string    `json:"key"`
	Title  string    `json:"title"`
	Unit   string    `json:"unit"`
	Value  float64   `json:"value"`
	Rounds []float64 `json:"rounds"`
}

// Names of contenders; variants of ours begin with ours.
const (
	theirs  = "conntrackd"
	ours    = "ctsync"
	nothing = "no daemon"
)

// results evaluates one variant of ours.
func results(s samples, variant string) (out []result) {
	for _, r := range rows() {
		v := s[r.key]
		if len(v[variant]) == 0 {
			continue
		}
		if variant != ours && r.seal[0] > 0 {
			r.least, r.goal = r.seal[0], r.seal[1]
		}
		them := v[theirs]
		if r.key == rowTakeover {
			them = s[rowCommit][theirs]
		}
		mid, low, high := ratio(v[variant], them)
		x := result{
			Key: r.key, Title: r.title, Unit: r.unit, Contender: variant, Ours: finite(median(v[variant])), Conntrackd: finite(median(them)),
			Ratio: finite(mid), Low: finite(low), High: finite(high), Least: r.least, Goal: r.goal, Note: r.note,
			OursAll: v[variant], TheirsAll: them,
		}
		x.Verdict = r.judge(low, high)
		x.special(s)
		out = append(out, x)
	}
	return out
}

// special judges what is not a ratio.
func (x *result) special(s samples) {
	switch x.Key {
	case rowLost:
		x.Verdict = verdictGoal
		for _, v := range x.OursAll {
			if v > 0 {
				x.Verdict = verdictMissed
			}
		}
	case rowIdle:
		x.Verdict = limits(x.Ours-x.Conntrackd, 0.1, 0.02)
	case rowTakeover:
		if x.Verdict == verdictReached && x.Ours < 10 {
			x.Verdict = verdictGoal
		}
	case rowLag99:
		if x.Verdict == verdictReached && x.Ours < 5000 {
			x.Verdict = verdictGoal
		}
	case rowCPUHot + "established":
		inject := median(s[rowFloorInject][nothing])
		x.Goal = finite((inject + 0.6) / x.Conntrackd)
		if x.Verdict == verdictReached && x.Ours <= inject+0.6 {
			x.Verdict = verdictGoal
		}
	}
}

func limits(v, least, goal float64) string {
	switch {
	case v <= goal:
		return verdictGoal
	case v <= least:
		return verdictReached
	}
	return verdictMissed
}

// finite: JSON has no NaN.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func floorResults(s samples) (out []floor) {
	for _, r := range floors() {
		if v := s[r.key][nothing]; len(v) > 0 {
			out = append(out, floor{r.key, r.title, r.unit, finite(median(v)), v})
		}
	}
	return out
}

// print writes the table for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d rounds, %s\n", r.Date.Format("2006-01-02 15:04"), r.Rounds, r.Command)
	fmt.Fprintf(w, "%s, %s CPUs, Linux %s; ctsync %s, conntrackd %s, %s\n",
		r.Machine["cpu"], r.Machine["cpus"], r.Versions["linux"], r.Versions["ctsync"], r.Versions["conntrackd"], r.Versions["go"])
	quiet := "quiet"
	if !r.Quiet {
		quiet = "NOT QUIET: the figures are not to be trusted"
	}
	fmt.Fprintf(w, "load average %s before, %s after: %s\n\n", r.Load[0], r.Load[1], quiet)
	fmt.Fprintf(w, "%-52s %-11s %10s %10s %7s  %-13s %6s %6s  %s\n", "", "", "ctsync", "conntrackd", "ratio", "of the rounds", "limit", "goal", "")
	for _, x := range r.Rows {
		fmt.Fprintf(w, "%-52s %-11s %10s %10s %7s  %-13s %6s %6s  %s\n", x.Title, x.Unit, figure(x.Ours), figure(x.Conntrackd), cell(x.Ratio),
			span(x), cell(x.Least), cell(x.Goal), x.Verdict+suffix(x.Contender))
	}
	fmt.Fprintln(w, "\nfloors")
	for _, f := range r.Floors {
		fmt.Fprintf(w, "%-52s %-11s %10s\n", f.Title, f.Unit, figure(f.Value))
	}
	fmt.Fprintln(w)
	said := map[string]bool{}
	for _, x := range r.Rows {
		if x.Note != "" && !said[x.Note] {
			said[x.Note] = true
			fmt.Fprintf(w, "%s: %s\n", x.Title, x.Note)
		}
	}
	for _, line := range r.How {
		fmt.Fprintln(w, line)
	}
}

func suffix(contender string) string {
	if contender == ours {
		return ""
	}
	return " (" + contender + ")"
}

func figure(v float64) string {
	switch {
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func cell(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", v)
}

func span(x result) string {
	if x.Ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f to %.2f", x.Low, x.High)
}

func (r *report) save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
