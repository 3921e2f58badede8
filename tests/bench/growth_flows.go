package main

import (
	"fmt"
	"os"
	"time"

	"ctsync/tests/bigtable"
	"ctsync/tests/load"
)

// apart is the number from which on the connections beside a table are no flows of it.
const apart = 8_000_000

// size measures a table of n flows. What needs a larger one than the machine has raises it meanwhile. Two routers share the
// hash here, so that it has room for both: with half of it what is measured would be long chains.
func (g *growth) size(n int) error {
	if os.Getenv("BIG") != "" {
		restore, err := bigtable.Raise(2 * (n + g.churn))
		if err != nil {
			return err
		}
		defer restore()
	}
	for _, hot := range []bool{false, true} {
		if err := g.pair(n, hot); err != nil {
			return err
		}
	}
	return g.lab.flush()
}

// pair takes two nodes through everything: it fills the table, changes what is beside it, starts the standby anew,
// and makes it the active one.
func (g *growth) pair(n int, hot bool) error {
	if err := g.lab.flush(); err != nil {
		return err
	}
	c := &ctsync{program: g.program}
	defer func() { stopPair(c) }()
	if err := c.start(g.lab, hot); err != nil {
		return err
	}
	for _, step := range []func(*ctsync, int) error{g.fill, g.busy, g.firstSync, g.takeOver, g.restart} {
		if err := step(c, n); err != nil {
			return err
		}
	}
	return nil
}

// kind is which standby it is, in a key.
func (c *ctsync) kind() string {
	if c.hot {
		return "hot"
	}
	return "warm"
}

func (g *growth) flowsAdd(key string, n int, v float64) { g.add(alongFlows, key, n, v) }

func (g *growth) fill(c *ctsync, n int) error {
	cost, err := g.lab.carry(c, work{shape: "established", n: n, rate: g.rate, batch: load.Burst})
	if err != nil {
		return err
	}
	g.flowsAdd("fill-"+c.kind(), n, cost.perEvent(cost.standby))
	g.flowsAdd("rss-"+c.kind(), n, float64(c.standby().rss())/1e6)
	g.flowsAdd("flow-"+c.kind(), n, float64(cost.rss[1])/float64(n))
	if !c.hot {
		g.flowsAdd("fill-active", n, cost.perEvent(cost.active))
		g.flowsAdd("rss-active", n, float64(c.active().rss())/1e6)
		g.flowsAdd("flow-active", n, float64(cost.rss[0])/float64(n))
		return nil
	}
	g.flowsAdd("idle", n, idle(c, g.idle))
	return nil
}

// busy: connections begin and end beside the table, whose entries nothing happens to.
func (g *growth) busy(c *ctsync, n int) error {
	cost, err := g.lab.carry(c, work{shape: "short", n: g.churn, rate: g.rate, batch: load.Burst, first: apart, there: n})
	if err != nil {
		return err
	}
	g.flowsAdd("churn-"+c.kind(), n, cost.perEvent(cost.standby))
	if !c.hot {
		g.flowsAdd("churn-active", n, cost.perEvent(cost.active))
	}
	return nil
}

// firstSync: the standby begins with nothing, its kernel neither.
func (g *growth) firstSync(c *ctsync, n int) error {
	took, used, err := g.beginAnew(c.node[1], c.active())
	if err != nil {
		return err
	}
	have, err := c.theirs()
	if err != nil || have < n {
		return fmt.Errorf("bench: after a first sync the standby has %d of %d flows (%v)", have, n, err)
	}
	g.flowsAdd("sync-"+c.kind(), n, milliseconds(took))
	g.flowsAdd("sync-"+c.kind()+"-cpu", n, float64(used.Nanoseconds())/1000/float64(n))
	return nil
}

// beginAnew starts a standby with an empty kernel, and waits until it is in sync: how long that took, and what it and
// the active node used.
func (g *growth) beginAnew(s *node, active *process) (took, cpu time.Duration, err error) {
	s.stop()
	if err := run("ip", "netns", "exec", s.ns, "conntrack", "-F"); err != nil {
		return 0, 0, err
	}
	idleAgain(active)
	began, before := time.Now(), active.cpu()
	if err := s.start(); err != nil {
		return 0, 0, err
	}
	if err := s.standBy(); err != nil {
		return 0, 0, err
	}
	for !s.ready() {
		if took = time.Since(began); took > 2*time.Minute {
			return took, 0, fmt.Errorf("bench: not in sync after %s: %s", took, s.tail())
		}
		time.Sleep(2 * time.Millisecond)
	}
	took = time.Since(began)
	idleAgain(active, s.process)
	return took, active.cpu() - before + s.cpu(), nil
}

func (g *growth) takeOver(c *ctsync, n int) error {
	took, err := c.takeover()
	if err != nil {
		return err
	}
	have, err := count(c.lab.b)
	if err != nil || have < n {
		return fmt.Errorf("bench: after a takeover the kernel has %d of %d flows (%v)", have, n, err)
	}
	if c.hot {
		g.flowsAdd("takeover", n, milliseconds(took.forwarding))
		g.flowsAdd("takenover", n, milliseconds(took.whole))
		return nil
	}
	g.flowsAdd("commit", n, milliseconds(took.forwarding))
	return nil
}

// restart: the node that has just taken over reads its kernel's table, with nobody to hear from.
func (g *growth) restart(c *ctsync, n int) error {
	if !c.hot {
		return nil
	}
	c.node[0].stop()
	c.node[1].stop()
	began := time.Now()
	if err := c.node[1].start(); err != nil {
		return err
	}
	for have := 0; have < n; {
		if time.Since(began) > time.Minute {
			return fmt.Errorf("bench: after a start the daemon knows %d of %d flows: %s", have, n, c.standby().tail())
		}
		if s, err := c.node[1].status(); err == nil {
			have = s.Internal.Active
		}
	}
	g.flowsAdd("start", n, milliseconds(time.Since(began)))
	return nil
}
