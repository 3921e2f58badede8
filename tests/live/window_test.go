package live

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/tests/lab"
)

// What a power cut may cost: connections that began so shortly before it that the standby had not heard of them. The
// active node's daemon is killed while connections begin: what it has not sent by then is what a cut would lose.
func TestPowerCutWindow(t *testing.T) {
	for _, rate := range []int{0, pick(1000, 10000)} { // events per second besides
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			l := run(t, patient)
			coming := &churn{router: l.R1}
			if err := coming.turn(1000, 0, 0); err != nil {
				t.Fatal(err)
			}
			settled(t, l)
			if rate > 0 {
				defer coming.start(t, rate)()
			}
			var windows []time.Duration
			lost, made := 0, 0
			for range pick(3, 100) {
				began := beginUntilKilled(t, l, 5_000_000+made)
				killed := time.Now()
				time.Sleep(100 * time.Millisecond) // what is on its way arrives
				oldest, missing := -1, 0
				for i := range began {
					if !has(t, l.R2, 5_000_000+made+i) {
						if missing++; oldest < 0 {
							oldest = i
						}
					}
				}
				w := time.Duration(0)
				if oldest >= 0 {
					w = killed.Sub(began[oldest])
				}
				windows, lost, made = append(windows, w), lost+missing, made+len(began)
				if err := l.R1.Restart(); err != nil {
					t.Fatal(err)
				}
				bothSynced(t, l, 20*time.Second)
			}
			t.Logf("%d events/s besides, %d connections begun, %d kills: %d had not arrived, the oldest of each %s old", rate, made, len(windows), lost, durations(windows))
			if worst := sortedCopy(windows)[len(windows)-1]; worst > 500*time.Millisecond {
				t.Errorf("a connection %s old was not on the standby", worst)
			}
		})
	}
}

// beginUntilKilled begins connections in r1's kernel for a while, kills its daemon, and gives when each began.
func beginUntilKilled(t *testing.T, l *lab.Lab, first int) (began []time.Time) {
	t.Helper()
	w := writerOf(t, l.R1)
	defer w.Close()
	for end := time.Now().Add(50*time.Millisecond + rand.N(50*time.Millisecond)); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		f := lab.FurtherFlow(first + len(began))
		if r := w.Do([]flow.Op{{Kind: flow.OpCreate, Flow: f}}, nil); r[0].Errno != 0 {
			t.Fatal(r[0].Errno)
		}
		began = append(began, time.Now())
	}
	if err := syscall.Kill(l.R1.Daemon.Process().Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.R1.Daemon.Kill9() // and waits
	return began
}

// has says whether the router's kernel has a connection.
func has(t *testing.T, r *lab.Router, number int) bool {
	t.Helper()
	w := writerOf(t, r)
	defer w.Close()
	return w.Do([]flow.Op{{Kind: flow.OpGet, Flow: lab.FurtherFlow(number)}}, nil)[0].Errno == 0
}
