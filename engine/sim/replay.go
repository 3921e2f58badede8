package sim

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"time"

	"ctsync/engine"
	"ctsync/engine/wire"
)

// replayer is somebody on the sync link who records datagrams and says them again later: to whom they were
// addressed, to another node or to their sender, from the right address or from another, of runs that live and of
// runs that are over. It draws from a source of its own, so that the lives of the seeds without it stay what they are.
type replayer struct {
	w     *world
	rng   *rand.Rand
	tape  []recorded
	heard map[hearing]bool   // by that run, when it knew the sender
	since map[hearing]uint64 // the sender's counter when that run came to know it; counter is 0 in the key
	place netip.AddrPort     // the replayer's own
}

type recorded struct {
	from    netip.AddrPort
	payload []byte
	header  wire.Header
}

// hearing is one datagram at one run of a node.
type hearing struct {
	at, of  wire.Epoch
	counter uint64
}

const tapeLen = 6000

func newReplayer(w *world) *replayer {
	return &replayer{
		w: w, rng: rand.New(rand.NewSource(w.seed)), heard: map[hearing]bool{}, since: map[hearing]uint64{},
		place: netip.MustParseAddrPort("192.0.2.99:3780"),
	}
}

// record keeps a datagram, in place of an old one once the tape is full.
func (r *replayer) record(from *node, payload []byte) {
	d := recorded{from: from.addr, payload: slices.Clone(payload)}
	_, err := wire.Parse(payload, wire.ClusterHash(cluster), &d.header)
	if err == wire.ErrVersion && r.w.upgrade != nil {
		return // nobody will ever hear it
	}
	if err != nil {
		r.w.fail("I8", "%s sends what cannot be parsed: %v", from, err)
		return
	}
	if len(r.tape) < tapeLen {
		r.tape = append(r.tape, d)
		return
	}
	r.tape[r.rng.Intn(tapeLen)] = d
}

// begin replays bursts now and then.
func (r *replayer) begin() {
	r.w.after(r.between(50*time.Millisecond, time.Second), func() {
		for range 1 + r.rng.Intn(8) {
			r.replay()
		}
		r.begin()
	})
}

func (r *replayer) between(a, b time.Duration) time.Duration {
	return a + time.Duration(r.rng.Int63n(int64(b-a)))
}

func (r *replayer) replay() {
	to := r.w.nodes[r.rng.Intn(len(r.w.nodes))]
	if to.eng == nil || to.off || to.frozen() || len(r.tape) == 0 {
		return
	}
	d := &r.tape[r.rng.Intn(len(r.tape))]
	from := d.from
	if r.rng.Intn(4) == 0 {
		from = r.place
	}
	r.judge(to, d, &engine.Datagrams{Datagrams: []engine.Datagram{{Payload: slices.Clone(d.payload), From: from}}})
}

// judge is I8: what was heard before, or is from before its sender answered a challenge, or was for another node,
// takes no effect.
func (r *replayer) judge(to *node, d *recorded, in *engine.Datagrams) {
	w, h := r.w, &d.header
	is := hearing{to.epoch, h.Sender, h.Counter}
	first, known := r.since[hearing{at: to.epoch, of: h.Sender}]
	own, foreign := h.Sender == to.epoch, h.Dest != (wire.Epoch{}) && h.Dest != to.epoch
	if !known && h.Type == wire.Answer || known && !own && !foreign && !r.heard[is] && h.Counter > first {
		return // it may be the first time that this arrives
	}
	to.step(&engine.Tick{}) // what time alone does
	before := effect(to, h.Sender)
	to.step(in)
	w.stats["replays judged"]++
	if after := effect(to, h.Sender); after != before && w.failure == nil {
		w.fail("I8", "%s takes a replay from %x, type %d counter %d (heard %v, known %v since %d, own %v, for another %v): before %s, then %s",
			to, h.Sender[:4], h.Type, h.Counter, r.heard[is], known, first, own, foreign, before, after)
	}
}

// effect is everything that a datagram of epoch could change at n.
func effect(n *node, epoch wire.Epoch) string {
	s, in := n.eng.Status(), n.eng.Inspect()
	text := fmt.Sprintf("%d peers, %d wants, role %v", len(in.Peers), s.Messages.Wants, s.Role)
	for i := range in.Peers {
		p := &in.Peers[i]
		if p.Epoch != epoch {
			continue
		}
		text += fmt.Sprintf("; have %d of %d, they %d, %d intervals, %d restarts, role %v, proven %v, heard %v ago from %s;", p.Have, p.Last,
			p.TheyHave, p.Intervals, p.Restarts, p.Role, p.ProvenAt, s.Peers[i].LastHeard, s.Peers[i].Address)
		for j := range p.Flows {
			l := &p.Flows[j]
			text += fmt.Sprintf(" %v %d %d", l.Flow.Key, l.Born, l.Seq)
		}
	}
	return text
}

// delivered notes what n's run is about to hear, and returns what is to be done after the step. What was refused, as for
// want of a key that came later, was not heard.
func (r *replayer) delivered(n *node, in *engine.Datagrams) (after func()) {
	var heard []hearing
	refused := n.eng.Status().Messages.Malformed
	note := func() {
		if n.eng.Status().Messages.Malformed > refused {
			return
		}
		for _, h := range heard {
			r.heard[h] = true
		}
	}
	for i := range in.Datagrams {
		var h wire.Header
		if _, err := wire.Parse(in.Datagrams[i].Payload, wire.ClusterHash(cluster), &h); err != nil {
			return note
		}
		if _, known := r.since[hearing{at: n.epoch, of: h.Sender}]; known {
			heard = append(heard, hearing{n.epoch, h.Sender, h.Counter})
			continue
		}
		return func() {
			note()
			n.eng.Positions(func(p engine.Position) {
				if p.Epoch == h.Sender {
					r.since[hearing{at: n.epoch, of: h.Sender}] = h.Counter
				}
			})
		}
	}
	return note
}
