package sim

import (
	"bytes"
	"time"

	"ctsync/engine"
)

// network carries datagrams between nodes, as badly as the faults of the moment want it.
type network struct {
	w       *world
	cut     [][]bool // from, to
	loss    float64
	dup     float64
	jitter  time.Duration
	carried int
	rate    int // bytes a second, 0 any
	most    int // bytes of a datagram, 0 any
	busy    time.Time
}

// calmJitter is by how much datagrams of a good link may overtake each other.
const calmJitter = 300 * time.Microsecond

func (t *network) init(w *world, nodes int) {
	t.w = w
	t.cut = make([][]bool, nodes)
	for i := range t.cut {
		t.cut[i] = make([]bool, nodes)
	}
	t.heal()
}

func (t *network) heal() {
	t.rate, t.most = 0, 0
	t.loss, t.dup, t.jitter = 0, 0, calmJitter
	for i := range t.cut {
		clear(t.cut[i])
	}
}

// send copies d, which the engine's next step overwrites, to whom it is for.
func (t *network) send(from *node, d *engine.Datagram) {
	payload := d.Payload
	if u := t.w.upgrade; u != nil {
		payload = u.says(from, payload)
	}
	if r := t.w.replayer; r != nil {
		r.record(from, payload)
	}
	t.w.judge.sealed(from, payload)
	for _, to := range t.w.nodes {
		if to == from || d.To.IsValid() && d.To != to.addr {
			continue
		}
		t.carry(from, to, payload)
		if t.dup > 0 && t.w.rng.Float64() < t.dup {
			t.carry(from, to, payload)
		}
	}
}

func (t *network) carry(from, to *node, payload []byte) {
	w := t.w
	if t.cut[from.id][to.id] || t.loss > 0 && w.rng.Float64() < t.loss {
		return
	}
	if t.most > 0 && len(payload) > t.most {
		return
	}
	wait, ok := t.queued(len(payload))
	if !ok {
		return
	}
	t.carried++
	d := engine.Datagram{Payload: bytes.Clone(payload), From: from.addr}
	sent, epoch := w.now, from.epoch
	w.after(wait+100*time.Microsecond+w.between(0, t.jitter), func() {
		if !to.off {
			w.judge.reached(to, epoch, sent)
			to.hear(d)
		}
	})
}

// queued is how long so many bytes wait for a clogged link; false: they are dropped.
func (t *network) queued(bytes int) (time.Duration, bool) {
	if t.rate == 0 {
		return 0, true
	}
	if t.busy.Before(t.w.now) {
		t.busy = t.w.now
	}
	wait := t.busy.Sub(t.w.now)
	if wait > clogged {
		return 0, false
	}
	t.busy = t.busy.Add(time.Duration(bytes) * time.Second / time.Duration(t.rate))
	return wait, true
}
