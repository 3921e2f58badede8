package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"ctsync/tests/load"
)

// work is one load: so many connections of a shape, at so many events a second, 0 as fast as it goes; so many at a time, 0 as it is
// best for that.
type work struct {
	shape   string
	n, rate int
	batch   int
	first   int // number of the first connection
	there   int // flows that are in the tables before
}

// cost is what a work cost a pair.
type cost struct {
	generator       load.Report
	active, standby time.Duration // CPU
	wire            traffic       // on the sync link, both directions
	dropped         int           // events that the kernel could not queue
	rss             [2]int        // bytes that the nodes grew by
	missing         int           // flows that the standby does not have at the end
}

func (c *cost) perEvent(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(c.generator.Events)
}

// meter holds the counters of a pair from its construction on.
type meter struct {
	p               pair
	active, standby time.Duration
	wire            traffic
	dropped         int
	rss             [2]int
}

func newMeter(p pair) meter {
	a, b := p.active(), p.standby()
	return meter{p, a.cpu(), b.cpu(), a.wire(), a.dropped(), [2]int{a.rss(), b.rss()}}
}

func (m *meter) read(c *cost) {
	a, b := m.p.active(), m.p.standby()
	wire := a.wire()
	c.active, c.standby = a.cpu()-m.active, b.cpu()-m.standby
	c.wire = traffic{wire.bytes - m.wire.bytes, wire.packets - m.wire.packets}
	c.dropped = a.dropped() - m.dropped
	c.rss = [2]int{a.rss() - m.rss[0], b.rss() - m.rss[1]}
}

// carry gives a pair some work and tells what it cost, from the first event until both nodes are idle again. At
// full speed events may be lost, so that the standby is not waited for until it has all.
func (l *lab) carry(p pair, w work) (c cost, err error) {
	shape, err := load.ShapeOf(w.shape)
	if err != nil {
		return c, err
	}
	want := w.there + w.n*shape.Left
	m := newMeter(p)
	if c.generator, err = l.generate(l.a, w); err != nil {
		return c, err
	}
	err = settled(p, "the standby to hold everything", func() bool {
		n, err := p.theirs()
		return err == nil && (n == want || w.rate == 0)
	})
	m.read(&c)
	n, bad := p.theirs()
	if bad != nil {
		return c, bad
	}
	if c.missing = want - n; err != nil {
		err = fmt.Errorf("%w: it has %d of %d; the active one said: %sthe standby said: %s", err, n, want, p.active().tail(), p.standby().tail())
	}
	return c, err
}

// generate runs the generator in a namespace, as a process of its own.
func (l *lab) generate(ns string, w work) (load.Report, error) {
	return l.generator(ns, "flows", "-shape", w.shape, "-first", fmt.Sprint(w.first), "-n", fmt.Sprint(w.n), "-rate", fmt.Sprint(w.rate), "-batch", fmt.Sprint(w.batch))
}

// packets sends real connections through the first router.
func (l *lab) packets(n, rate int) (r load.Report, err error) {
	lan, err := l.hardware(l.a, "lan0")
	if err != nil {
		return r, err
	}
	wan, err := l.hardware(l.a, "wan0")
	if err != nil {
		return r, err
	}
	return l.generator(l.outside, "packets", "-client", "c0,"+lan, "-server", "s0,"+wan, "-n", fmt.Sprint(n), "-rate", fmt.Sprint(rate))
}

// generatorProgram is the generator's path.
var generatorProgram string

func (l *lab) generator(ns string, args ...string) (r load.Report, err error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns, generatorProgram}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("bench: generate %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("bench: generate: %w", err)
	}
	if r.Failed > 0 {
		return r, fmt.Errorf("bench: generate %s: %d operations failed: %s", strings.Join(args, " "), r.Failed, r.Reason)
	}
	return r, nil
}

// idle is the CPU that both nodes use when nothing happens, in per cent of one core.
func idle(p pair, d time.Duration) float64 {
	before := p.active().cpu() + p.standby().cpu()
	time.Sleep(d)
	return 100 * float64(p.active().cpu()+p.standby().cpu()-before) / float64(d)
}
