package notify

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// ScriptStart is StartOf, of a process that has ended: line is its id, a blank, its stat file, a bar.
func ScriptStart(t testing.TB, line string) time.Time {
	t.Helper()
	pid, rest, _ := strings.Cut(line, " ")
	stat, _, _ := strings.Cut(rest, "|")
	ticks, err := startTicks([]byte(stat))
	n, err2 := strconv.Atoi(pid)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return startTime(ticks, n)
}
