package sim

import (
	"math/rand"
	"time"

	"ctsync/engine"
)

// trouble is what else goes wrong in one life of three, from a source of its own: links that are bad in every way,
// clogged, or drop what is long, clocks that jump, and an operator who tries one command after the other.
type trouble struct {
	w   *world
	rng *rand.Rand
}

func newTrouble(w *world) *trouble {
	return &trouble{w: w, rng: rand.New(rand.NewSource(w.seed ^ 0x6d6f7265))}
}

func (t *trouble) begin() { t.w.after(4*time.Second, t.next) }

func (t *trouble) next() {
	t.w.after(t.between(500*time.Millisecond, 8*time.Second), func() {
		if t.w.fault.until.IsZero() {
			return // peace
		}
		[]func(){t.spoil, t.clog, t.narrow, t.jump, t.command}[t.rng.Intn(5)]()
		t.next()
	})
}

// spoil makes datagrams go lost and overtake each other at once, so that repairs meet what is newer and older; the
// operator, who sees that, has logs read again.
func (t *trouble) spoil() {
	t.strikes("bad link")
	t.w.net.loss, t.w.net.jitter, t.w.net.dup = 0.05+0.3*t.rng.Float64(), t.between(20*time.Millisecond, 300*time.Millisecond), 0.1
	lasts := t.between(time.Second, 8*time.Second)
	for range t.rng.Intn(4) {
		n, verb := t.w.nodes[t.rng.Intn(len(t.w.nodes))], []engine.Verb{engine.VerbBulk, engine.VerbRequestResync}[t.rng.Intn(2)]
		t.w.after(t.between(0, lasts), func() { n.input(&engine.Command{Verb: verb}) })
	}
	t.w.after(lasts, func() {
		t.w.net.loss, t.w.net.jitter, t.w.net.dup = 0, calmJitter, 0
	})
}

// clog lets so many bytes a second through the link; what would wait for longer than clogged is dropped.
func (t *trouble) clog() {
	t.strikes("clogged link")
	t.w.net.rate = 5000 << t.rng.Intn(6)
	t.w.after(t.between(time.Second, 8*time.Second), func() { t.w.net.rate = 0 })
}

const clogged = 400 * time.Millisecond

// narrow drops what is longer than some hundred bytes; the nodes hear of it after a while, or not at all.
func (t *trouble) narrow() {
	t.strikes("long datagrams dropped")
	most := 576 + t.rng.Intn(500)
	t.w.net.most = most
	if t.rng.Intn(3) > 0 {
		t.w.after(t.between(10*time.Millisecond, 2*time.Second), func() { t.limit(most) })
	}
	t.w.after(t.between(time.Second, 8*time.Second), func() {
		t.w.net.most = 0
		t.limit(t.w.payload)
	})
}

func (t *trouble) limit(bytes int) {
	for _, n := range t.w.nodes {
		n.input(&engine.PayloadLimit{Bytes: bytes})
	}
}

// jump moves the clock that a node's engine is told: mostly on, as after a sleep, at times back.
func (t *trouble) jump() {
	t.strikes("clock jump")
	n := t.w.nodes[t.rng.Intn(len(t.w.nodes))]
	d := t.between(10*time.Millisecond, 8*time.Second)
	if t.rng.Intn(4) == 0 {
		d = -d / 4
	}
	t.w.trace(n, "clock jumps by %v", d)
	n.skew += d
	n.leapt += max(d, 0)
	if n.eng != nil && !n.frozen() {
		n.wake()
	}
}

// verbs are the operator's.
var verbs = []struct {
	verb engine.Verb
	name string
}{
	{engine.VerbCommit, "commit"},
	{engine.VerbFlushInternal, "flush internal"},
	{engine.VerbFlushExternal, "flush external"},
	{engine.VerbResync, "resync"},
	{engine.VerbBulk, "bulk"},
	{engine.VerbRequestResync, "request resync"},
	{engine.VerbResetStatistics, "reset statistics"},
}

// command gives a node one command.
func (t *trouble) command() {
	t.strikes("operator's command")
	n, v := t.w.nodes[t.rng.Intn(len(t.w.nodes))], verbs[t.rng.Intn(len(verbs))]
	t.w.trace(n, "command %s", v.name)
	n.input(&engine.Command{ID: uint64(t.rng.Int63()), Verb: v.verb})
}

func (t *trouble) strikes(what string) {
	t.w.trace(nil, "FAULT %s", what)
	t.w.count(what)
}

func (t *trouble) between(a, b time.Duration) time.Duration {
	return a + time.Duration(t.rng.Int63n(int64(b-a)+1))
}
