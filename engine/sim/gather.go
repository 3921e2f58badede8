package sim

import (
	"math/rand"
	"time"

	"ctsync/engine"
)

// gathering has nodes take what has come to them meanwhile in one input, as a receive call does for a process that was busy:
// one datagram may end what the next one begins anew.
type gathering struct {
	w   *world
	rng *rand.Rand
}

// mostGathered is the most that one receive call takes.
const mostGathered = 32

func newGathering(w *world) *gathering {
	return &gathering{w: w, rng: rand.New(rand.NewSource(w.seed ^ 0x6a7))}
}

// hear takes a datagram that came to n.
func (n *node) hear(d engine.Datagram) {
	g := n.w.gathering
	if g == nil || n.eng == nil {
		n.input(&engine.Datagrams{Datagrams: []engine.Datagram{d}})
		return
	}
	if n.heard = append(n.heard, d); len(n.heard) > 1 {
		if len(n.heard) == mostGathered {
			n.takeHeard()
		}
		return
	}
	busy := 100 * time.Microsecond
	if g.rng.Intn(4) == 0 {
		busy = 3 * time.Millisecond
	}
	run := n.run
	g.w.after(time.Duration(g.rng.Int63n(int64(busy))), func() {
		if n.run == run {
			n.takeHeard()
		}
	})
}

func (n *node) takeHeard() {
	in := &engine.Datagrams{Datagrams: n.heard}
	n.heard = nil
	if len(in.Datagrams) > 1 {
		n.w.stats["datagrams heard together"] += len(in.Datagrams)
	}
	if len(in.Datagrams) > 0 {
		n.input(in)
	}
}
