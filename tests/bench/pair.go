package main

import (
	"fmt"
	"time"
)

// pair is one of the compared programs on both routers: the first is active.
type pair interface {
	// start begins with empty tables and waits until both nodes know each other.
	start(l *lab, hot bool) error
	// own is how many flows the active node has in its cache, theirs how many of them the standby holds.
	own() (int, error)
	theirs() (int, error)
	// takeover makes the standby the one that forwards.
	takeover() (takeover, error)
	active() *process
	standby() *process
}

// takeover is how long it took, from the order or notice until every flow was in the kernel, and until all was done.
type takeover struct{ forwarding, whole time.Duration }

// nodes are the two processes.
type nodes [2]*process

func (n *nodes) active() *process  { return n[0] }
func (n *nodes) standby() *process { return n[1] }

// contender is a program with what it is told.
type contender struct {
	name  string // in the tables
	make  func() pair
	cases []string // nil: all
}

// stopPair ends both nodes.
func stopPair(p pair) {
	for _, n := range []*process{p.active(), p.standby()} {
		if n != nil {
			n.stop()
		}
	}
}

// await asks ever more slowly.
func await(what string, limit time.Duration, ok func() bool) error {
	began := time.Now()
	for pause := 5 * time.Millisecond; !ok(); pause = min(2*pause, 100*time.Millisecond) {
		if time.Since(began) > limit {
			return fmt.Errorf("bench: waited %s for %s", limit, what)
		}
		time.Sleep(pause)
	}
	return nil
}

// settled waits until ok and then until both nodes have nothing to do any more.
func settled(p pair, what string, ok func() bool) error {
	if err := await(what, time.Minute, ok); err != nil {
		return err
	}
	idleAgain(p.active(), p.standby())
	return nil
}

// idleAgain waits until the processes have nothing to do any more.
func idleAgain(ps ...*process) {
	const look, busy = 200 * time.Millisecond, 4 * time.Millisecond
	for range 100 {
		before := used(ps)
		time.Sleep(look)
		if used(ps)-before < busy {
			return
		}
	} // never idle: what they do all the time is their own, and counts
}

// used is the CPU that all of them have used so far.
func used(ps []*process) (sum time.Duration) {
	for _, p := range ps {
		sum += p.cpu()
	}
	return sum
}
