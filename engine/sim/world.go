package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand"
	"net/netip"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

const (
	group        = "G"
	cluster      = "sim"
	purgeTimeout = 4 * time.Second
)

// vip is the virtual address, which moves with mastership.
var vip = flow.AddrFrom(netip.MustParseAddr("198.51.100.1"))

// world is the whole simulation. Everything in it comes from one seed, in one goroutine.
type world struct {
	seed  int64
	rng   *rand.Rand
	begin time.Time
	now   time.Time
	todo  queue
	order int
	steps int

	nodes   []*node
	net     network
	clients clients
	fault   faults
	judge   judge

	replayer *replayer // of one seed in four
	upgrade  *upgrade  // of one in five

	gathering *gathering // of two lives in seven without a replayer

	hot     bool
	payload int
	keys    []wire.Key // half of the seeds seal
	stats   map[string]int
	kinds   map[string]int // faults by kind
	log     []traceLine
	failure *Failure
	verbose func(string)

	watched string           // a key, as a trace shows it
	holds   map[*node]string // what each node held of it last
}

// Failure is a broken invariant.
type Failure struct {
	Seed      int64
	Invariant string
	What      string
	Trace     string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d: %s: %s\n%s", f.Seed, f.Invariant, f.What, f.Trace)
}

type traceLine struct {
	at     time.Time
	node   string
	format string
	args   []any
}

// tracedLines is how much of the past a failure shows.
const tracedLines = 150

func (w *world) trace(n *node, format string, args ...any) {
	l := traceLine{at: w.now, format: format, args: args}
	if n != nil {
		l.node = n.name
	}
	if w.verbose != nil {
		w.verbose(w.line(&l))
		return
	}
	if len(w.log) >= 2*tracedLines {
		w.log = w.log[:copy(w.log, w.log[tracedLines:])]
	}
	w.log = append(w.log, l)
}

func (w *world) line(l *traceLine) string {
	return fmt.Sprintf("%10.4f %-4s %s", l.at.Sub(w.begin).Seconds(), l.node, fmt.Sprintf(l.format, l.args...))
}

// fail notes the first broken invariant and ends the run.
func (w *world) fail(invariant, format string, args ...any) {
	if w.failure != nil {
		return
	}
	var b strings.Builder
	for i := max(len(w.log)-tracedLines, 0); i < len(w.log); i++ {
		b.WriteString(w.line(&w.log[i]) + "\n")
	}
	w.failure = &Failure{w.seed, invariant, fmt.Sprintf("at %.4f: ", w.now.Sub(w.begin).Seconds()) + fmt.Sprintf(format, args...), b.String()}
}

// watch traces what n holds of the watched key, where that has changed.
func (w *world) watch(n *node) {
	if w.watched == "" {
		return
	}
	for _, k := range w.clients.keys() {
		if k.String() != w.watched {
			continue
		}
		if now := n.eng.Holds(&k); w.holds[n] != now {
			w.holds[n] = now
			w.trace(n, "HOLDS %s", now)
		}
	}
}

func stack() string {
	lines := strings.Split(string(debug.Stack()), "\n")
	return strings.Join(lines[min(7, len(lines)):min(27, len(lines))], "\n")
}

func (w *world) count(kind string) { w.kinds[kind]++ }

// queue is what is to happen, in order of time and then of having been planned.
type queue []planned

type planned struct {
	at    time.Time
	order int
	do    func()
}

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(planned)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = planned{}
	*q = old[:len(old)-1]
	return x
}

func (w *world) at(t time.Time, do func()) {
	if t.Before(w.now) {
		t = w.now
	}
	w.order++
	heap.Push(&w.todo, planned{t, w.order, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// between draws a duration.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int63n(int64(b-a)+1))
}

// runUntil lets time pass.
func (w *world) runUntil(t time.Time) {
	for len(w.todo) > 0 && w.failure == nil && !w.todo[0].at.After(t) {
		p := heap.Pop(&w.todo).(planned)
		w.now = p.at
		p.do()
	}
	w.now = t
}

func (w *world) run(d time.Duration) { w.runUntil(w.now.Add(d)) }

// newWorld makes a world of so many nodes, none of which runs yet.
func newWorld(seed int64, nodes int) *world {
	begin := time.Unix(1_000_000, 0)
	w := &world{
		seed: seed, rng: rand.New(rand.NewSource(seed)), begin: begin, now: begin, hot: true,
		stats: map[string]int{}, kinds: map[string]int{},
	}
	w.payload = 576 + w.rng.Intn(900)
	if w.rng.Intn(2) == 0 {
		var secret [wire.KeySize]byte
		w.rng.Read(secret[:])
		w.keys = []wire.Key{wire.NewKey(secret)}
	}
	w.net.init(w, nodes)
	w.judge.init(w)
	for i := range nodes {
		n := &node{w: w, id: i, name: fmt.Sprintf("fw%d", i+1), hash: fnv.New64a()}
		n.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 3780)
		n.own = flow.AddrFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}))
		n.kern, n.keys = newKernel(n), w.keys
		w.nodes = append(w.nodes, n)
	}
	w.clients.init(w)
	return w
}

// Result is what one seed came to.
type Result struct {
	Seed    int64
	Failure *Failure
	Time    time.Duration
	Steps   int
	Faults  map[string]int
	Stats   map[string]int
	Hash    uint64 // of everything that every engine put out
}

// Run simulates one seed. verbose, which may be nil, gets every line of the trace.
//
// watched, which may be empty, is a key whose every change the trace shows.
func Run(seed int64, verbose func(string), watched string) Result {
	nodes := 2
	if seed%3 == 0 {
		nodes = 3
	}
	w := newWorld(seed, nodes)
	w.verbose, w.watched, w.holds = verbose, watched, map[*node]string{}
	w.hot = w.rng.Intn(6) != 0
	if seed%4 == 1 {
		w.replayer = newReplayer(w)
		w.replayer.begin()
	}
	if seed%5 == 2 {
		newRotation(w).begin()
	}
	if seed%5 == 3 {
		w.upgrade = newUpgrade(w)
		w.upgrade.begin()
	}
	if seed%3 == 1 {
		newTrouble(w).begin()
	}
	if seed%7 < 2 && w.replayer == nil { // a replayer tells one datagram's effect from another's
		w.gathering = newGathering(w)
	}
	w.play()
	r := Result{Seed: seed, Failure: w.failure, Time: w.now.Sub(w.begin), Steps: w.steps, Faults: w.kinds, Stats: w.stats}
	for _, n := range w.nodes {
		r.Hash = r.Hash*31 + n.hash.Sum64()
	}
	return r
}

// RunCalm simulates one seed without any trouble but orderly failovers, which may lose no connection that is
// older than a second.
func RunCalm(seed int64) Result { return RunCalmAmong(seed, 2+int(seed%2)) }

// RunCalmAmong is RunCalm with so many nodes.
func RunCalmAmong(seed int64, nodes int) Result {
	w := newWorld(seed, nodes)
	w.hot = seed%3 != 0
	w.clients.calm = true
	for _, n := range w.nodes {
		w.after(w.between(0, 300*time.Millisecond), n.start)
	}
	w.after(time.Second, func() { w.makeMaster(w.nodes[0], "start") })
	w.clients.begin()
	w.run(6 * time.Second)
	for range 8 {
		w.makeMaster(w.anyNode(), "orderly failover")
		w.run(w.between(2*time.Second, 8*time.Second))
	}
	w.clients.quiet = true
	w.run(8 * time.Second)
	w.judge.converge()
	return Result{Seed: seed, Failure: w.failure, Time: w.now.Sub(w.begin), Steps: w.steps, Stats: w.stats}
}

// play is one life: start, trouble, peace, and what is left in the end.
func (w *world) play() {
	for _, n := range w.nodes {
		w.after(w.between(0, 300*time.Millisecond), n.start)
	}
	w.after(w.between(0, 2*time.Second), func() { w.makeMaster(w.nodes[w.rng.Intn(len(w.nodes))], "start") })
	w.clients.begin()
	w.run(3 * time.Second)
	w.fault.plan(w)
	w.run(w.between(25*time.Second, 45*time.Second))
	w.fault.end(w)
	w.run(8 * time.Second)
	w.clients.quiet = true
	w.run(6 * time.Second)
	w.judge.converge()
}

// masters are the nodes that hold the virtual address.
func (w *world) masters() (all []*node) {
	for _, n := range w.nodes {
		if n.vip && !n.off {
			all = append(all, n)
		}
	}
	return all
}

// makeMaster hands the virtual address to n; who had it steps back before or after.
func (w *world) makeMaster(n *node, why string) {
	if n.off {
		return
	}
	w.trace(n, "is to be MASTER: %s", why)
	up := w.between(0, 5*time.Millisecond)
	w.after(up, func() { n.become(vrrp.Master, w.noticeDelay()) })
	for _, o := range w.nodes {
		if o != n && !o.off {
			// Who is told of a higher priority steps back within moments of it.
			w.after(w.between(0, 10*time.Millisecond), func() {
				if o.state != vrrp.Fault && o.state != vrrp.Stop || o.vip {
					o.become(vrrp.Backup, w.noticeDelay())
				}
			})
		}
	}
}

func (w *world) noticeDelay() time.Duration {
	if w.fault.lateNotices && w.rng.Intn(2) == 0 {
		w.count("late notice")
		return w.between(100*time.Millisecond, 2500*time.Millisecond)
	}
	return w.between(0, 4*time.Millisecond)
}

// summary prints counters in order.
func summary(m map[string]int) string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	sort.Strings(names)
	var b strings.Builder
	for i, k := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", k, m[k])
	}
	return b.String()
}
