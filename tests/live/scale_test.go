package live

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
	"ctsync/tests/lab"
)

// So many flows a second, created in the active node's kernel: all of them are on the standby within 2 s of the
// last, and none is lost on the way.
func TestScale(t *testing.T) {
	flows, rate := pick(200000, 300000), 60000
	room(t, flows+1000)
	l := run(t, lab.Options{})
	bothSynced(t, l, 10*time.Second)
	began := time.Now()
	create(t, l.R1, 0, flows, rate)
	took := time.Since(began)
	late := await(t, "every flow to be on the standby", 10*time.Second, func() bool {
		s := state(t, l.R2)
		return s.External.Active >= flows && s.Code == 0 && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
	})
	s1, s2 := state(t, l.R1), state(t, l.R2)
	t.Logf("%d flows created in %s (%.0f/s), all on the standby %s after the last; overruns %d, asked again for %d",
		flows, took, float64(flows)/took.Seconds(), late, s1.Kernel.Overruns, s2.Messages.Lost)
	if late > 2*time.Second {
		t.Errorf("the last flow was on the standby only %s after it was created", late)
	}
	if held := count(t, l.R2); held < flows {
		t.Errorf("the standby's kernel has %d flows of %d", held, flows)
	}
	if s1.Internal.Active < flows || len(s2.Kernel.Failed) > 0 {
		t.Errorf("internal %d, external %d, failed %v", s1.Internal.Active, s2.External.Active, s2.Kernel.Failed)
	}
}

// count is how many entries the router's kernel has.
func count(t *testing.T, r *lab.Router) (n int) {
	t.Helper()
	err := r.Do(func() (err error) {
		_, n, err = kernel.Limits()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// create makes the further flows from first to before last in the router's kernel at so many a second.
func create(t *testing.T, r *lab.Router, first, last, rate int) {
	t.Helper()
	err := r.Write(func(w *kernel.Writer) error {
		const batch = 128
		ops, results := make([]flow.Op, 0, batch), make([]flow.Result, 0, batch)
		for i, began := first, time.Now(); i < last; {
			ops = ops[:0]
			for ; i < last && len(ops) < batch; i++ {
				ops = append(ops, flow.Op{Kind: flow.OpCreate, Flow: lab.FurtherFlow(i)})
			}
			results = w.Do(ops, results[:0])
			for j := range results {
				if results[j].Errno != 0 {
					t.Errorf("create: %v", results[j].Errno)
				}
			}
			time.Sleep(time.Until(began.Add(time.Duration(i-first) * time.Second / time.Duration(rate))))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
