package main

import (
	"fmt"
	"slices"
	"time"

	"ctsync/tests/load"
)

// round is everything that one contender goes through once. Each case begins with empty tables and new daemons.
type round struct {
	lab     *lab
	plan    *plan
	samples samples
	c       contender
	first   bool // the first of the run: what takes long is done only then
}

// plan is how much of everything.
type plan struct {
	flows, rate int           // of the established load; the others follow from it
	lagRate     int           // events/s
	packets     int           // connections through the router
	packetRate  int           // connections/s
	idle        time.Duration // how long an idle pair is watched
	later       time.Duration // how long a garbage collector is given to settle, 0: not looked at
	shapes      []string
	only        map[string]bool // cases, nil: all
}

// aCase is one thing that is done with a fresh pair.
type aCase struct {
	name  string
	hot   bool
	do    func(*round, pair) error // nil: one pair per shape, see run
	batch int                      // events at a time, 0: one
}

var cases = []aCase{
	{name: "warm", do: (*round).warm},
	{name: "hot", hot: true, do: (*round).hot},
	{name: "full", do: (*round).full},
	{name: "shapes-warm"},
	{name: "shapes-hot", hot: true},
	{name: "bursts", batch: load.Burst},
	{name: "lag", hot: true, do: (*round).lag},
	{name: "packets", do: (*round).packets},
}

func (r *round) run() error {
	for _, c := range cases {
		if r.plan.only != nil && !r.plan.only[c.name] || r.c.cases != nil && !slices.Contains(r.c.cases, c.name) {
			continue
		}
		if c.do != nil {
			if err := r.with(c.hot, c.name, func(p pair) error { return c.do(r, p) }); err != nil {
				return err
			}
			continue
		}
		for _, s := range r.plan.shapes {
			if s == "established" && c.batch == 0 {
				continue // that one has cases of its own
			}
			if err := r.with(c.hot, c.name+" "+s, func(p pair) error { return r.shape(p, s, c) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// with gives f a fresh pair, and ends it.
func (r *round) with(hot bool, name string, f func(pair) error) error {
	progress("  %-12s %s", r.c.name, name)
	if err := r.lab.flush(); err != nil {
		return err
	}
	p := r.c.make()
	err := p.start(r.lab, hot)
	if err == nil {
		err = f(p)
	}
	stopPair(p)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", r.c.name, name, err)
	}
	return nil
}

func (r *round) add(key string, v float64) { r.samples.add(key, r.c.name, v) }

// amount is how many connections of a shape: about as many events as the established load has, or somewhat more.
func (p *plan) amount(shape string) work {
	n := p.flows
	switch shape {
	case "short":
		n /= 4
	case "udp":
		n /= 2
	}
	return work{shape: shape, n: n, rate: p.rate}
}

func (r *round) warm(p pair) error {
	r.add(rowEmpty, float64(p.active().rss())/1e6)
	w := r.plan.amount("established")
	before := newMeter(p)
	c, err := r.lab.carry(p, w)
	if err != nil {
		return err
	}
	r.addCost("established", false, &c)
	r.add(rowMemActive, float64(c.rss[0])/float64(w.n))
	r.add(rowMemStandby, float64(c.rss[1])/float64(w.n))
	r.add(rowIdle, idle(p, r.plan.idle))
	if r.first && r.plan.later > 0 {
		time.Sleep(r.plan.later - r.plan.idle)
		before.read(&c)
		r.add(rowMemActive2, float64(c.rss[0])/float64(w.n))
		r.add(rowMemStandby2, float64(c.rss[1])/float64(w.n))
	}
	took, err := p.takeover()
	if err != nil {
		return err
	}
	have, err := count(r.lab.b)
	if err != nil {
		return err
	}
	if have < w.n {
		return fmt.Errorf("bench: %d of %d flows were committed", have, w.n)
	}
	r.add(rowCommit, milliseconds(took.whole))
	return nil
}

func (r *round) addCost(shape string, hot bool, c *cost) {
	if hot {
		r.add(rowCPUHot+shape, c.perEvent(c.standby))
		return
	}
	r.add(rowCPUActive+shape, c.perEvent(c.active))
	r.add(rowCPUWarm+shape, c.perEvent(c.standby))
	r.add(rowWire+shape, float64(c.wire.bytes)/float64(c.generator.Events))
	r.add(rowGenerator+shape, float64(c.generator.CPUPerEvent().Nanoseconds())/1000)
}

func (r *round) shape(p pair, shape string, of aCase) error {
	w := r.plan.amount(shape)
	w.batch = of.batch
	c, err := r.lab.carry(p, w)
	switch {
	case err != nil:
		return err
	case of.batch > 0:
		r.add(rowCPUBursts+shape, c.perEvent(c.active))
		r.add(rowCPUWarmBursts+shape, c.perEvent(c.standby))
	default:
		r.addCost(shape, of.hot, &c)
	}
	return nil
}

// hot: conntrackd's takeover is its commit, which its warm case has measured.
func (r *round) hot(p pair) error {
	c, err := r.lab.carry(p, r.plan.amount("established"))
	if err != nil {
		return err
	}
	r.addCost("established", true, &c)
	if _, theirs := p.(*conntrackd); theirs {
		return nil
	}
	have, err := count(r.lab.b)
	if err != nil {
		return err
	}
	if n := r.plan.amount("established").n; have < n {
		return fmt.Errorf("bench: a hot standby has %d of %d flows", have, n)
	}
	took, err := p.takeover()
	if err != nil {
		return err
	}
	r.add(rowTakeover, milliseconds(took.forwarding))
	r.add(rowTakenOver, milliseconds(took.whole))
	return nil
}

func (r *round) full(p pair) error {
	w := r.plan.amount("established")
	w.rate = 0
	c, err := r.lab.carry(p, w)
	if err != nil {
		return err
	}
	r.add(rowLost, float64(c.dropped))
	r.add(rowFullSpeed, c.generator.PerSecond()/1000)
	return nil
}

// lag: the same load for both; conntrackd once more with its external cache, since that is how it is mostly used.
func (r *round) lag(p pair) error {
	w := r.plan.amount("established")
	w.rate = r.plan.lagRate
	lags, err := r.lab.lagToKernel(w)
	if err != nil {
		return err
	}
	r.add(rowLag50+"-kernel", quantile(lags, 0.5))
	r.add(rowLag99+"-kernel", quantile(lags, 0.99))
	if _, theirs := p.(*conntrackd); !theirs {
		r.add(rowLag50, quantile(lags, 0.5))
		r.add(rowLag99, quantile(lags, 0.99))
		return nil
	}
	return r.with(false, "lag warm", func(p pair) error {
		lags, err := r.lab.lagToCache(w, p.theirs)
		r.add(rowLag50, quantile(lags, 0.5))
		r.add(rowLag99, quantile(lags, 0.99))
		return err
	})
}

func (r *round) packets(p pair) error {
	before := newMeter(p)
	sent, err := r.lab.packets(r.plan.packets, r.plan.packetRate)
	if err != nil {
		return err
	}
	if err := settled(p, "idleness", func() bool { return true }); err != nil {
		return err
	}
	c := cost{generator: sent}
	before.read(&c)
	r.add(rowPacketsCPU, c.perEvent(c.active))
	if err := r.lab.flush(); err != nil {
		return err
	}
	return r.forwarding(r.plan.packets)
}

// forwarding is how fast new connections go through the router, and what the kernel's part of each costs.
func (r *round) forwarding(n int) error {
	sent, err := r.lab.packets(n, 0)
	if err != nil {
		return err
	}
	have, err := count(r.lab.a)
	if err != nil {
		return err
	}
	if have < n {
		return fmt.Errorf("bench: the router tracks %d of %d connections", have, n)
	}
	r.add(rowPacketsRate, float64(n)/sent.Elapsed.Seconds()/1000)
	r.add(rowPacketsCost, float64(sent.CPU.Microseconds())/float64(n))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// floor measures what no daemon can do for less, as a contender without a daemon.
func (r *round) floor() error {
	progress("  %-12s", r.c.name)
	if err := r.lab.flush(); err != nil {
		return err
	}
	made, err := r.lab.generate(r.lab.b, work{shape: "established", n: r.plan.flows})
	if err != nil {
		return err
	}
	r.add(rowFloorInject, float64(made.CPUPerEvent().Nanoseconds())/1000)
	r.add(rowFullSpeed, made.PerSecond()/1000)
	if err := r.forwarding(r.plan.packets); err != nil {
		return err
	}
	for _, f := range []struct {
		row   string
		batch int
		ring  bool
	}{{rowFloorRecv, 0, true}, {rowFloorBursts, load.Burst, true}, {rowFloorQueue, 0, false}, {rowFloorQueueB, load.Burst, false}} {
		if err := r.lab.flush(); err != nil {
			return err
		}
		if err := r.receive(f.row, f.batch, f.ring); err != nil {
			return err
		}
	}
	return nil
}

// receive: the floor of an active node, under the same load.
func (r *round) receive(row string, batch int, ring bool) error {
	w := r.plan.amount("established")
	w.batch = batch
	got := make(chan error, 1)
	go func() {
		rep, err := r.lab.generator(r.lab.a, "receive", "-n", fmt.Sprint(w.n), fmt.Sprintf("-ring=%v", ring))
		if err == nil {
			r.add(row, float64(rep.CPUPerEvent().Nanoseconds())/1000)
		}
		got <- err
	}()
	time.Sleep(300 * time.Millisecond) // it listens
	if _, err := r.lab.generate(r.lab.a, w); err != nil {
		return err
	}
	return <-got
}
