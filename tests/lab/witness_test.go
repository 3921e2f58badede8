package lab_test

import (
	"strings"
	"testing"

	"ctsync/tests/lab"
)

// bare is a lab in which nothing runs.
func bare(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func differences(t *testing.T, l *lab.Lab, c lab.Comparison) []lab.Difference {
	t.Helper()
	all, err := l.Compare(c)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Equal tables have no differences; each change of one entry is told by both witnesses, with its field.
func TestWitnessesSeeEveryDifference(t *testing.T) {
	l := bare(t)
	for _, r := range l.Routers() {
		if err := r.AddFlows(300); err != nil {
			t.Fatal(err)
		}
	}
	if d := differences(t, l, lab.Comparison{Slack: 2}); len(d) != 0 {
		t.Fatalf("equal tables differ: %v", d)
	}
	const victim = "-p tcp -s 10.11.0.7 -d 203.0.113.8 --sport 1024 --dport 443"
	for _, c := range []struct{ change, library, program string }{
		{"-U " + victim + " -m 9", "mark", "line"},
		{"-U " + victim + " -t 77", "timeout", "timeout"},
		{"-U " + victim + " --state CLOSE_WAIT", "tcp state", "line"},
		{"-D " + victim, "entry", "entry"},
	} {
		if _, err := l.R2.Run("conntrack", strings.Fields(c.change)...); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, d := range differences(t, l, lab.Comparison{Slack: 2}) {
			if !strings.Contains(d.Flow, "10.11.0.7") {
				t.Errorf("after %s: %s", c.change, d)
			}
			seen[d.Witness+" "+d.Field] = true
		}
		if !seen["ti-mo/conntrack "+c.library] || !seen["conntrack(8) "+c.program] {
			t.Errorf("after %s: only %v was told", c.change, seen)
		}
	}
}

// What a router has for itself alone is no difference.
func TestWitnessesLeaveOutOwnConnections(t *testing.T) {
	l := bare(t)
	const own = "-I -p tcp -s 10.10.0.2 -d 10.10.0.10 --sport 5 --dport 22 --state ESTABLISHED -t 60"
	if _, err := l.R1.Run("conntrack", strings.Fields(own)...); err != nil {
		t.Fatal(err)
	}
	if d := differences(t, l, lab.Comparison{}); len(d) != 0 {
		t.Errorf("%v", d)
	}
}
