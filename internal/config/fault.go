package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Fault is one thing that is wrong with a configuration, or with the host for it.
type Fault struct {
	File    string // as named to Parse; empty if the configuration came from no file
	Line    int    // from 1; 0: no single line, as for a setting that is missing
	Word    string // the offending word
	Problem string // what is wrong with it, and what to do
	Allowed string // what may stand there; empty if Problem says all
}

// Error is `file:line: word: problem; allowed: ...`, on one line.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(shown(f.Word) + ": " + f.Problem)
	if f.Allowed != "" {
		b.WriteString("; allowed: " + f.Allowed)
	}
	return b.String()
}

// shown is word as it can be read in a message: quoted where its ends would not be seen, shortened where it
// would hide the rest.
func shown(word string) string {
	const longest = 80
	if r := []rune(word); len(r) > longest {
		word = string(r[:longest]) + "..."
	}
	odd := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) }
	if word == "" || strings.TrimSpace(word) != word || strings.ContainsFunc(word, odd) {
		return strconv.Quote(word)
	}
	return word
}

// sortFaults orders by line; what has no line comes last.
func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
}
