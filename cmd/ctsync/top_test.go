package main

import (
	"strings"
	"testing"
)

// TestTopNeedsTerminal: without one it refuses and says what to use.
func TestTopNeedsTerminal(t *testing.T) {
	for _, words := range [][]string{{"top"}, {"top", "--output", "json"}} {
		if got := ctsync(words...); got.exit != 1 || got.stdout != "" || !strings.Contains(got.stderr, "ctsync status --output json") {
			t.Errorf("%v: %+v", words, got)
		}
	}
}
