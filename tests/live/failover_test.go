package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// A cycle is three failovers, each with its failback: power cut, graceful stop, one link down.
const failoversInCycle = 3

// trial is try or tryWarm.
type trial func(*testing.T, *lab.Traffic, lab.Fault) lab.Result

// cycles runs the pair through its faults until there were that many failovers, and gives the results.
func cycles(t *testing.T, l *lab.Lab, traffic *lab.Traffic, try trial, failovers int, synced time.Duration) []lab.Result {
	t.Helper()
	var results []lab.Result
	for done := 0; done < failovers; done += failoversInCycle {
		for _, f := range l.Cycle() {
			results = append(results, try(t, traffic, f))
			if f.Taker != l.R1 {
				continue
			}
			if err := f.Taker.Peer.WaitSynced(synced); err != nil {
				t.Fatal(err)
			}
		}
	}
	return results
}

// No connection is lost, whatever the translation and the kind of standby.
func TestFailover(t *testing.T) {
	for _, nat := range []lab.NAT{lab.SNAT, lab.Masquerade} {
		for standby, try := range map[string]trial{"hot": try, "warm": tryWarm} {
			t.Run(nat.String()+" "+standby, func(t *testing.T) {
				t.Parallel()
				l := run(t, lab.Options{NAT: nat}, "standby "+standby)
				traffic := talk(t, l, usual)
				bothSynced(t, l, 10*time.Second)
				results := cycles(t, l, traffic, try, pick(3, 100), 10*time.Second)
				t.Logf("\n%s", lab.Table(results))
				balanced(t, l.R1)
				quiet(t, l.R2, len(results))
			})
		}
	}
}

// quiet fails the test if a router's journal has more lines than its role changes can explain.
func quiet(t *testing.T, r *lab.Router, changes int) {
	t.Helper()
	kinds := map[string]int{}
	total := 0
	for line := range strings.Lines(said(r, time.Time{})) {
		_, event, _ := strings.Cut(line, "event=")
		event, _, _ = strings.Cut(strings.TrimSpace(event), " ")
		kinds[event]++
		total++
	}
	if total > 10+12*changes {
		t.Errorf("%s: %d lines in the journal for %d role changes: %v", r.Name, total, changes, kinds)
	}
	t.Logf("%s: journal %v", r.Name, kinds)
}

// Nor with a large table. A hot standby forwards as soon as it has the address, however many flows there are.
func TestFailoverAtSize(t *testing.T) {
	sizes := []int{20, 200000}
	if long {
		sizes = append(sizes, 500000)
	}
	var table strings.Builder
	for _, further := range sizes {
		t.Run(fmt.Sprint(further), func(t *testing.T) {
			room(t, further+10000)
			l := run(t, lab.Options{})
			if err := l.R1.AddFlows(further); err != nil {
				t.Fatal(err)
			}
			traffic := talk(t, l, usual)
			synced := 10*time.Second + time.Duration(further)*100*time.Microsecond
			if err := l.R2.WaitSynced(synced); err != nil {
				t.Fatal(err)
			}
			results := cycles(t, l, traffic, try, pick(3, 30), synced)
			t.Logf("\n%s", lab.Table(results))
			forwarded, answered := afterAddress(results)
			fmt.Fprintf(&table, "%8d further flows: first packet forwarded %s\n%32s first answer %s\n",
				further, durations(forwarded), "", durations(answered))
			if long && median(forwarded) > 20*time.Millisecond {
				t.Errorf("the first packet is forwarded %s after the address is up (median)", median(forwarded))
			}
		})
	}
	t.Logf("after the address was up:\n%s", &table)
}

// afterAddress is how long after the LAN address came up, to which the client sends, the first packet was
// forwarded, and how long after both were up the first answer was back.
func afterAddress(results []lab.Result) (forwarded, answered []time.Duration) {
	for i := range results {
		line := &results[i].Timeline
		lan, ok1 := line.After(lab.AddressUpLAN)
		wan, ok2 := line.After(lab.AddressUp)
		first, ok3 := line.After(lab.FirstForwarded)
		answer, ok4 := line.After(lab.FirstAnswer)
		if ok1 && ok2 && ok3 && ok4 {
			forwarded = append(forwarded, max(0, first-lan))
			answered = append(answered, max(0, answer-max(lan, wan)))
		}
	}
	return forwarded, answered
}

// balanced fails the test unless what was created less what was destroyed is what is active.
func balanced(t *testing.T, r *lab.Router) {
	t.Helper()
	s := state(t, r)
	for name, c := range map[string]cache{"internal": s.Internal, "external": s.External} {
		if int(c.Created)-int(c.Destroyed) != c.Active {
			t.Errorf("%s, %s cache: %d created, %d destroyed, %d active", r.Name, name, c.Created, c.Destroyed, c.Active)
		}
	}
}
