package lab_test

import (
	"testing"
	"time"

	"ctsync/tests/lab"
)

// small is enough traffic to tell a lab that works from one that does not.
var small = lab.Plan{TCP: 20, Bulk: 2, UDP: 5, Ping: 2}

func talk(t *testing.T, l *lab.Lab, p lab.Plan) *lab.Traffic {
	t.Helper()
	traffic, err := l.StartTraffic(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traffic.Stop)
	return traffic
}

// try does faults one after the other and logs the table.
func try(t *testing.T, l *lab.Lab, p lab.Plan, faults ...lab.Fault) []lab.Result {
	t.Helper()
	traffic := talk(t, l, p)
	var results []lab.Result
	for _, f := range faults {
		r, err := traffic.Try(f)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		t.Logf("%s: %s\n%s", f.Name, r.Reasons(), &r.Timeline)
		results = append(results, r)
		if f.Taker != l.R1 {
			continue
		}
		if err := f.Taker.Peer.WaitSynced(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("\n%s", lab.Table(results))
	return results
}

// Without replication every connection must be lost: a lab that spares them proves nothing.
func TestWithoutReplicationConnectionsAreLost(t *testing.T) {
	for _, nat := range []lab.NAT{lab.SNAT, lab.Masquerade} {
		t.Run(nat.String(), func(t *testing.T) {
			l := lab.Run(t, lab.Options{NAT: nat})
			for _, r := range try(t, l, small, l.Cycle()[0]) {
				if n := r.Count(lab.Survived, lab.TCP, lab.Bulk); n > 0 {
					t.Errorf("%s: %d TCP conversations survived without replication", r.Fault, n)
				}
				if n := r.Count(lab.Survived, lab.UDP); n > 0 {
					t.Errorf("%s: %d UDP conversations kept their translation without replication", r.Fault, n)
				}
			}
		})
	}
}

// With conntrackd most must survive a power cut: a lab that loses them measures itself.
func TestConntrackdSavesConnections(t *testing.T) {
	l := lab.Run(t, lab.Options{Daemon: lab.Conntrackd, IPv6: true})
	for _, r := range try(t, l, small, l.Cycle()...) {
		if n := r.Count(lab.Survived); n < len(r.Verdicts)*2/3 {
			t.Errorf("%s: only %d of %d survived with conntrackd", r.Fault, n, len(r.Verdicts))
		}
	}
}
