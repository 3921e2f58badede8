// Bench runs conntrackd and ctsync in turns in the same two network namespaces, on the real kernel, under the same
// load, and prints one table of what each costs. It needs root. See docs/PERFORMANCE.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ctsync/tests/bigtable"
)

// variants are what ctsync is compared as. The plain one is the first and goes through all cases.
var variants = []struct {
	name   string
	sealed bool
	cases  []string // nil: all
}{
	{name: ours},
	{name: ours + " sealed", sealed: true, cases: []string{"warm", "hot", "full"}},
}

type settings struct {
	plan    plan
	rounds  int
	program string
	json    string
	big     bool
	wait    time.Duration
}

func main() {
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func do() error {
	if len(os.Args) > 1 && os.Args[1] == "growth" {
		g := &growth{}
		if err := g.parse(os.Args[2:]); err != nil {
			return err
		}
		return inLab(&g.program, g.run)
	}
	if len(os.Args) == 3 && os.Args[1] == "plot" {
		return plot(os.Args[2])
	}
	s := settings{big: os.Getenv("BIG") != ""}
	flag.StringVar(&s.program, "program", "build/ctsync", "the ctsync to measure")
	flag.StringVar(&generatorProgram, "generator", "build/generate", "the generator")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds")
	flag.IntVar(&s.plan.flows, "flows", 200000, "flows in the tables; more than nf_conntrack_max needs BIG=1")
	flag.IntVar(&s.plan.rate, "rate", 60000, "events/s of the loads at a fixed rate")
	flag.IntVar(&s.plan.lagRate, "lag-rate", 50000, "events/s while the lag is measured")
	flag.IntVar(&s.plan.packets, "packets", 60000, "connections of real packets through the router")
	flag.IntVar(&s.plan.packetRate, "packet-rate", 20000, "the same per second")
	flag.DurationVar(&s.plan.idle, "idle", 20*time.Second, "how long an idle pair is watched")
	flag.DurationVar(&s.plan.later, "later", 130*time.Second, "when memory is looked at again, in the first round; 0: never")
	flag.StringVar(&s.json, "json", "build/bench.json", "where the figures go for programs")
	flag.DurationVar(&s.wait, "wait", 10*time.Minute, "how long to wait for the machine to be quiet")
	only := flag.String("only", "", "cases to run, separated by commas: "+caseNames())
	flag.Parse()
	s.plan.shapes = shapes
	if *only != "" {
		s.plan.only = map[string]bool{}
		for name := range strings.SplitSeq(*only, ",") {
			s.plan.only[name] = true
		}
	}
	return s.run()
}

func caseNames() string {
	names := []string{"floor"}
	for _, c := range cases {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (s *settings) run() error {
	if s.big {
		restore, err := bigtable.Raise(s.plan.flows)
		if err != nil {
			return err
		}
		defer restore()
	}
	return inLab(&s.program, s.measure)
}

// inLab finds the programs, and measures with them in a lab that goes with the measurement, or with an interrupt.
func inLab(program *string, measure func(*lab) error) error {
	for _, p := range []*string{program, &generatorProgram} {
		path, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("bench: %w: run make bench", err)
		}
		*p = path
	}
	l, err := newLab()
	if err != nil {
		return err
	}
	defer l.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan error, 1)
	go func() { ended <- measure(l) }()
	select {
	case err := <-ended:
		return err
	case sig := <-interrupted:
		if bigtable.Held() {
			bigtable.Restore()
		}
		return fmt.Errorf("bench: ended by %s", sig)
	}
}

// quietLoad is the load average up to which a machine counts as quiet.
const quietLoad = 1.0

func (s *settings) measure(l *lab) error {
	r := report{
		Date: time.Now(), Command: "bench " + strings.Join(os.Args[1:], " "), Rounds: s.rounds,
		Machine: machine(), Versions: versions(s.program), How: how(&s.plan),
	}
	quiet := awaitQuiet(s.wait)
	r.Load[0] = loadAverage()
	all := samples{}
	contenders := s.contenders()
	for i := range s.rounds {
		progress("round %d of %d", i+1, s.rounds)
		for _, c := range contenders {
			one := &round{lab: l, plan: &s.plan, samples: all, c: c, first: i == 0}
			do := one.run
			if c.make == nil {
				do = one.floor
			}
			if c.make == nil && s.plan.only != nil && !s.plan.only["floor"] {
				continue
			}
			if err := do(); err != nil {
				return err
			}
		}
		slices.Reverse(contenders) // no one is always first
	}
	r.Load[1], r.Quiet = loadAverage(), quiet
	for _, v := range variants {
		r.Rows = append(r.Rows, results(all, v.name)...)
	}
	r.Floors = floorResults(all)
	r.print(os.Stdout)
	return r.save(s.json)
}

func (s *settings) contenders() []contender {
	out := []contender{{name: nothing}, {name: theirs, make: func() pair { return &conntrackd{} }}}
	for _, v := range variants {
		out = append(out, contender{v.name, func() pair { return &ctsync{program: s.program, sealed: v.sealed} }, v.cases})
	}
	return out
}

// awaitQuiet waits until nothing else uses the machine.
func awaitQuiet(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Second) {
		if now, err := strconv.ParseFloat(loadAverage(), 64); err == nil && now <= quietLoad {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// how is what was measured, for who reads the table alone.
func how(p *plan) []string {
	return []string{
		fmt.Sprintf("Load: %d flows of established TCP with NAT, a quarter as many short TCP connections, half as many UDP, by ctnetlink at %d events/s, "+
			"one at a time as packets make them, or 128 at a time; %d connections of six real packets through the router at %d/s.", p.flows, p.rate, p.packets, p.packetRate),
		"CPU: the daemons' own process clocks from the first event until both are idle again. Memory: RSS less that of the empty daemon.",
		"Wire: counters of the sync link's interface. Lost: drops of the netlink socket. Lag: marker flows at " +
			fmt.Sprint(p.lagRate) + " events/s from the event in one kernel to the entry in the other.",
		"conntrackd: FTFW, multicast, 64 MB of event queue, hash of 262144; ctsync: its defaults, 64 MB of event queue.",
		"Ratio: the median of the ratios of the rounds. A row whose rounds are on both sides of its limit is undecided, which counts as missed.",
	}
}
