package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// growth measures how the cost of ctsync grows with the table and with the number of peers: bench growth.
type growth struct {
	program string
	json    string
	sizes   []int // flows
	peers   []int
	flows   int // with peers
	rate    int // events/s
	churn   int // short connections, of seven events each
	idle    time.Duration
	rounds  int
	wait    time.Duration
	lab     *lab
	samples samples // by curve and point
}

// curve is how one figure grows.
type curve struct {
	Key   string    `json:"key"`
	Along string    `json:"along"` // flows or peers
	Title string    `json:"title"`
	Unit  string    `json:"unit"`
	X     []int     `json:"x"`
	Y     []float64 `json:"y"` // medians
	Low   []float64 `json:"low"`
	High  []float64 `json:"high"`
}

// growthReport is a run of it.
type growthReport struct {
	Date     time.Time         `json:"date"`
	Command  string            `json:"command"`
	Machine  map[string]string `json:"machine"`
	Versions map[string]string `json:"versions"`
	Rounds   int               `json:"rounds"`
	Load     [2]string         `json:"load_average"` // at the beginning and the end, this run's own load included
	Quiet    bool              `json:"quiet"`        // it was low at the beginning
	Curves   []curve           `json:"curves"`
}

const (
	alongFlows = "flows"
	alongPeers = "peers"
)

// curves are all figures that are taken, without their points.
func curves() []curve {
	flows := func(key, unit, title string) curve {
		return curve{Key: key, Along: alongFlows, Title: title, Unit: unit}
	}
	peers := func(key, unit, title string) curve {
		return curve{Key: key, Along: alongPeers, Title: title, Unit: unit}
	}
	return []curve{
		flows("fill-active", "us", "CPU per new flow, active"),
		flows("fill-warm", "us", "CPU per new flow, warm standby"),
		flows("fill-hot", "us", "CPU per new flow, hot standby"),
		flows("churn-active", "us", "CPU per event beside the table, active"),
		flows("churn-warm", "us", "CPU per event beside the table, warm standby"),
		flows("churn-hot", "us", "CPU per event beside the table, hot standby"),
		flows("rss-active", "MB", "memory, active"),
		flows("rss-warm", "MB", "memory, warm standby"),
		flows("rss-hot", "MB", "memory, hot standby"),
		flows("flow-active", "B", "memory per flow, active"),
		flows("flow-warm", "B", "memory per flow, warm standby"),
		flows("flow-hot", "B", "memory per flow, hot standby"),
		flows("idle", "%", "CPU of an idle pair, per cent of a core"),
		flows("takeover", "ms", "takeover, hot: until every flow is in the kernel"),
		flows("takenover", "ms", "takeover, hot: until the bookkeeping is done"),
		flows("commit", "ms", "takeover, warm: until every flow is in the kernel"),
		flows("sync-warm", "ms", "first sync, warm standby"),
		flows("sync-hot", "ms", "first sync, hot standby"),
		flows("sync-warm-cpu", "us", "first sync, warm: CPU of both nodes per flow"),
		flows("sync-hot-cpu", "us", "first sync, hot: CPU of both nodes per flow"),
		flows("start", "ms", "start of a daemon: until it knows its kernel's table"),
		peers("fill-active", "us", "CPU per new flow, active, multicast"),
		peers("fill-active-unicast", "us", "CPU per new flow, active, unicast"),
		peers("fill-standby", "us", "CPU per new flow, one standby, multicast"),
		peers("fill-standby-unicast", "us", "CPU per new flow, one standby, unicast"),
		peers("rss-active", "MB", "memory, active"),
		peers("rss-standby", "MB", "memory, one standby"),
		peers("idle-active", "%", "CPU of the idle active node, per cent of a core"),
		peers("idle-standby", "%", "CPU of one idle standby, per cent of a core"),
		peers("sync", "ms", "first sync of one more standby"),
	}
}

func (g *growth) parse(args []string) error {
	f := flag.NewFlagSet("growth", flag.ExitOnError)
	f.StringVar(&g.program, "program", "build/ctsync", "the ctsync to measure")
	f.StringVar(&generatorProgram, "generator", "build/generate", "the generator")
	f.StringVar(&g.json, "json", "build/growth.json", "where the figures go")
	sizes := f.String("sizes", "10000,20000,50000,100000,200000,500000,1000000,2000000", "flows; more than nf_conntrack_max needs BIG=1")
	peers := f.String("peers", "1,2,3,4,5,6,7,8", "numbers of peers")
	f.IntVar(&g.flows, "flows", 100000, "flows in the table with so many peers")
	f.IntVar(&g.rate, "rate", 60000, "events/s")
	f.IntVar(&g.churn, "churn", 20000, "short connections, of seven events each, beside the table")
	f.DurationVar(&g.idle, "idle", 10*time.Second, "how long idle nodes are watched")
	f.IntVar(&g.rounds, "rounds", 3, "rounds")
	f.DurationVar(&g.wait, "wait", 10*time.Minute, "how long to wait for the machine to be quiet")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if g.sizes, err = numbers(*sizes); err == nil {
		g.peers, err = numbers(*peers)
	}
	return err
}

// numbers reads positive ones, separated by commas.
func numbers(list string) (out []int, err error) {
	for word := range strings.SplitSeq(list, ",") {
		if word == "" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("bench: %q is no list of numbers", list)
		}
		out = append(out, n)
	}
	return out, nil
}

// run measures everything in a lab of its own.
func (g *growth) run(l *lab) error {
	g.lab, g.samples = l, samples{}
	r := growthReport{
		Date: time.Now(), Command: "bench " + strings.Join(os.Args[1:], " "),
		Machine: machine(), Versions: versions(g.program), Quiet: awaitQuiet(g.wait),
	}
	delete(r.Versions, "conntrackd") // takes no part
	r.Load[0] = loadAverage()
	for i := range g.rounds { // what there is is kept after each
		for _, n := range g.sizes {
			progress("round %d of %d: %d flows", i+1, g.rounds, n)
			if err := g.size(n); err != nil {
				return fmt.Errorf("%d flows: %w", n, err)
			}
		}
		for _, n := range g.peers {
			progress("round %d of %d: %d peers", i+1, g.rounds, n)
			if err := g.segment(n); err != nil {
				return fmt.Errorf("%d peers: %w", n, err)
			}
		}
		r.Rounds, r.Load[1], r.Curves = i+1, loadAverage(), g.samples.curves()
		if err := r.save(g.json); err != nil {
			return err
		}
	}
	return nil
}

// curves are those that have points.
func (s samples) curves() (out []curve) {
	for _, c := range curves() {
		points := s[c.Along+" "+c.Key]
		for point := range points {
			x, _ := strconv.Atoi(point)
			c.X = append(c.X, x)
		}
		slices.Sort(c.X)
		for _, x := range c.X {
			vs := points[strconv.Itoa(x)]
			c.Y, c.Low, c.High = append(c.Y, median(vs)), append(c.Low, slices.Min(vs)), append(c.High, slices.Max(vs))
		}
		if len(c.X) > 0 {
			out = append(out, c)
		}
	}
	return out
}

func (g *growth) add(along, key string, x int, v float64) {
	g.samples.add(along+" "+key, strconv.Itoa(x), v)
}

func (r *growthReport) save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	progress("%s, %d CPUs", path, runtime.NumCPU())
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
