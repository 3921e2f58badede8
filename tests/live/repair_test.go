package live

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// So many connections begin at once, or are there when the standby's daemon begins, while the link loses datagrams both ways
// and goes on to: the standby has them soon all the same.
func TestRepairUnderLoss(t *testing.T) {
	losses := []int{30}
	if long {
		losses = []int{0, 1, 10, 30}
	}
	for _, percent := range losses {
		t.Run(fmt.Sprintf("%d of 100 lost", percent), func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			flows := pick(20000, 100_000)
			room(t, flows+5000)
			l := run(t, patient, "standby warm")
			if err := errors.Join(l.R1.Lose(percent), l.R2.Lose(percent)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := l.R1.AddFlows(flows); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			all := func() bool { return glance(l.R2).External.Active >= flows }
			flood := await(t, "every connection", 120*time.Second, all)
			asked := glance(l.R2).Messages.Lost

			if err := errors.Join(l.R2.Daemon.Stop(), l.R2.Restart()); err != nil {
				t.Fatal(err)
			}
			first := await(t, "every connection from the beginning", 120*time.Second, all)
			t.Logf("%d connections begin in %s, %d of 100 lost: on the standby %s after the last (asked for %d); from nothing in %s",
				flows, took.Round(time.Millisecond), percent, flood.Round(time.Millisecond), asked, first.Round(time.Millisecond))
			if limit := 10 * time.Second; max(flood, first) > limit {
				t.Errorf("more than %s", limit)
			}
			if err := errors.Join(l.R1.Lose(0), l.R2.Lose(0)); err != nil {
				t.Fatal(err)
			}
			settled(t, l)
		})
	}
}
