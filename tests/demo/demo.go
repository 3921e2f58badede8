package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"ctsync/tests/lab"
)

// demo runs the pair once for each translation. One goroutine owns it; interrupt may be called from another.
type demo struct {
	settings
	kind    lab.Kind
	began   time.Time
	current atomic.Pointer[lab.Lab]
}

func newDemo(s settings) *demo { return &demo{settings: s, began: time.Now()} }

// say prints a line with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("%6.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func block(text string) { fmt.Print(text, "\n") }

// indent puts a block of text under the lines of say.
func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		if strings.TrimSpace(line) != "" {
			line = "            " + line
		}
		b.WriteString(line)
	}
	return b.String()
}

// interrupt removes the lab and ends the program.
func (d *demo) interrupt() {
	fmt.Fprintln(os.Stderr, "\ninterrupted: removing the namespaces")
	if l := d.current.Load(); l != nil {
		l.Close()
	}
	os.Exit(130)
}

func (d *demo) run() error {
	var err error
	if d.kind, err = d.settings.kind(); err != nil {
		return err
	}
	nats, err := d.nats()
	if err != nil {
		return err
	}
	tables, lost := "", 0
	for _, nat := range nats {
		results, err := d.pair(nat)
		if err != nil {
			return err
		}
		tables += fmt.Sprintf("%s with %s\n%s\n", d.daemon, describe(nat), lab.Table(results))
		for _, r := range results {
			lost += r.Lost()
		}
	}
	fmt.Printf("\n%s", tables)
	if lost > 0 {
		return fmt.Errorf("%w: %d", errLost, lost)
	}
	d.say("nothing was lost")
	return nil
}

func describe(nat lab.NAT) string {
	if nat == lab.Masquerade {
		return "masquerade, the virtual address being the only public one"
	}
	return "source NAT to a range of ports chosen at random"
}

// pair builds a lab, breaks it in every way and removes it.
func (d *demo) pair(nat lab.NAT) ([]lab.Result, error) {
	fmt.Printf("\n%s with %s\n\n", d.daemon, describe(nat))
	l, err := lab.New(lab.Options{NAT: nat, Daemon: d.kind, IPv6: d.ipv6})
	if err != nil {
		return nil, err
	}
	d.current.Store(l)
	defer l.Close()
	results, err := d.breakAll(l)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, l.Tail(12))
	}
	return results, nil
}

func (d *demo) breakAll(l *lab.Lab) ([]lab.Result, error) {
	if err := l.Start(); err != nil {
		return nil, err
	}
	d.say("two firewalls run, r1 is master")
	traffic, err := d.load(l)
	if err != nil {
		return nil, err
	}
	defer traffic.Stop()
	if err := d.synced(l.R2); err != nil {
		return nil, err
	}
	d.statistics(l)
	var results []lab.Result
	for i, f := range l.Cycle() {
		r, err := traffic.Try(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		results = append(results, r)
		d.report(i+1, len(l.Cycle()), &r)
		if f.Taker != l.R1 {
			continue
		}
		if err := d.synced(f.Taker.Peer); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// load fills the master's table and starts the conversations.
func (d *demo) load(l *lab.Lab) (*lab.Traffic, error) {
	if d.further > 0 {
		if err := l.R1.AddFlows(d.further); err != nil {
			return nil, err
		}
		d.say("%d further connections in r1's table", d.further)
	}
	traffic, err := l.StartTraffic(d.plan)
	if err != nil {
		return nil, err
	}
	d.say("%d TCP, %d bulk TCP and %d UDP conversations and %d pings run through the pair",
		d.plan.TCP, d.plan.Bulk, d.plan.UDP, d.plan.Ping)
	return traffic, nil
}

// synced waits for the standby; the more connections, the longer it may take.
func (d *demo) synced(r *lab.Router) error {
	limit := 10*time.Second + time.Duration(d.further)*time.Millisecond/10
	if err := r.WaitSynced(limit); err != nil {
		return err
	}
	d.say("%s is in sync", r.Name)
	return nil
}

func (d *demo) statistics(l *lab.Lab) {
	for _, r := range l.Routers() {
		text := r.Daemon.Statistics()
		if text == "" {
			continue
		}
		d.say("statistics of %s:", r.Name)
		block(indent(text))
	}
}

// report tells one fault's outcome and its timeline.
func (d *demo) report(number, of int, r *lab.Result) {
	verdict := fmt.Sprintf("all %d survived", len(r.Verdicts))
	if r.Lost() > 0 {
		verdict = fmt.Sprintf("LOST %d of %d: %s", r.Lost(), len(r.Verdicts), r.Reasons())
	}
	d.say("[%d/%d] %s: %s", number, of, r.Fault, verdict)
	fmt.Print(indent(r.Timeline.String()))
}
