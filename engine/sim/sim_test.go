package sim

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

var (
	seed  = flag.Int64("seed", 0, "replay this seed with its whole trace")
	seeds = flag.Int("seeds", 0, "simulate so many seeds, beginning with -first, and say what was met")
	watch = flag.String("watch", "", "with -seed: show what every node holds of this key, given as the trace shows it")
	stop  = flag.Bool("stop", false, "with -seeds: end at the first failure")
	first = flag.Int64("first", 1, "first of -seeds")
)

// fixedSeeds are simulated by every run of the tests.
const fixedSeeds = 300

// TestSeeds simulates the fixed seeds, or with -seeds as many as one likes.
func TestSeeds(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	n, from := fixedSeeds, int64(1)
	if *seeds > 0 {
		n, from = *seeds, *first
	}
	total := Result{Faults: map[string]int{}, Stats: map[string]int{}}
	failed := 0
	begin := time.Now()
	for r := range runAll(from, n) {
		if failed > 0 && *stop {
			break
		}
		total.Time += r.Time
		total.Steps += r.Steps
		for k, v := range r.Faults {
			total.Faults[k] += v
		}
		for k, v := range r.Stats {
			total.Stats[k] += v
		}
		if r.Failure != nil {
			if failed++; failed <= 1 {
				t.Error(r.Failure)
			} else {
				t.Errorf("seed %d: %s: %s", r.Seed, r.Failure.Invariant, r.Failure.What)
			}
		}
	}
	t.Logf("%d seeds, %.1f simulated hours, %d steps in %v", n, total.Time.Hours(), total.Steps, time.Since(begin).Round(time.Millisecond))
	t.Logf("faults: %s", summary(total.Faults))
	t.Logf("met: %s", summary(total.Stats))
}

func runAll(from int64, n int) <-chan Result {
	todo, done := make(chan int64), make(chan Result)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for s := range todo {
				done <- Run(s, nil, "")
			}
		}()
	}
	go func() {
		for i := range n {
			todo <- from + int64(i)
		}
		close(todo)
		wg.Wait()
		close(done)
	}()
	return done
}

// TestSeed replays one seed: go test ./engine/sim -run 'TestSeed$' -seed=N
func TestSeed(t *testing.T) {
	n, say := *seed, func(line string) { fmt.Println(line) }
	if n == 0 {
		n, say = 1, func(string) {}
	}
	r := Run(n, say, *watch)
	if r.Failure != nil {
		t.Fatalf("seed %d: %s: %s", r.Seed, r.Failure.Invariant, r.Failure.What)
	}
	t.Log(summary(r.Stats))
}

// TestOrderlyFailoversLoseNothing: without trouble no established connection is lost.
func TestOrderlyFailoversLoseNothing(t *testing.T) {
	for s := int64(1); s <= 24; s++ {
		if r := RunCalm(s); r.Failure != nil {
			t.Fatal(r.Failure)
		}
	}
}

// TestSixteenNodes: as large a cluster as is promised hands the address around, and loses nothing either.
func TestSixteenNodes(t *testing.T) {
	r := RunCalmAmong(1, 16)
	if r.Failure != nil {
		t.Fatal(r.Failure)
	}
	t.Log(summary(r.Stats))
}

// TestDeterminism is I14: the same seed gives the same bytes.
func TestDeterminism(t *testing.T) {
	for s := int64(1); s <= 5; s++ {
		if a, b := Run(s, nil, ""), Run(s, nil, ""); a.Hash != b.Hash || a.Steps != b.Steps {
			t.Errorf("seed %d: %x in %d steps, then %x in %d", s, a.Hash, a.Steps, b.Hash, b.Steps)
		}
	}
}
