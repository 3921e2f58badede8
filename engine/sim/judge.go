package sim

import (
	"time"

	"ctsync/engine"
	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// judge holds what really happened, and compares what the engines do and believe with it.
type judge struct {
	w    *world
	logs map[wire.Epoch]*history
	seen []*sight // by node

	nonces map[nonceOf]bool // of what was sealed
}

// history is the log of one epoch as its engine made it.
type history struct {
	active  []time.Time          // from, to, and so on
	born    map[uint64]time.Time // when the incarnation of that number was first seen
	told    map[uint64]time.Time // when a number was first seen
	node    *node
	lived   map[uint32]time.Time // mark: when it was last listed in a role that decides, unless it is now
	last    uint64
	recs    map[flow.Key][]engine.Listed // in order of seq, superseded ones included as far as a step showed them
	now     map[flow.Key]engine.Listed   // live keys
	snaps   map[uint64]map[flow.Key]engine.Listed
	order   []uint64
	ended   map[uint32]uint64 // mark: seq of a tombstone published in a role that decides
	endedAt map[uint32]time.Time
}

// sight is what a judge remembers of one node.
type sight struct {
	dead     map[uint32]time.Time  // marks whose end this run saw as it decided
	ledTo    map[wire.Epoch]uint64 // have of an epoch while it was the leader
	checked  map[wire.Epoch]uint64 // proofs
	judged   map[wire.Epoch]uint64 // have at the last one
	leader   wire.Epoch            // at the last look
	ledFrom  uint64                // have of it when it began to lead
	trail    map[wire.Epoch][]knew // what was known of an epoch's log, and from when on
	nextLook time.Time
	down     time.Time // when it stepped down or began
	differs  map[difference]differing
	looks    int
	reached  map[wire.Epoch]time.Time // when the newest datagram that came from a run was sent
	ready    bool                     // when its activation began
}

// knew is how much of a log was known from at on.
type knew struct {
	at   time.Time
	have uint64
}

func (j *judge) init(w *world) {
	j.w, j.logs, j.nonces = w, map[wire.Epoch]*history{}, map[nonceOf]bool{}
}

func (j *judge) of(n *node) *sight {
	for len(j.seen) <= n.id {
		j.seen = append(j.seen, &sight{})
	}
	return j.seen[n.id]
}

func (j *judge) started(n *node) {
	*j.of(n) = sight{down: j.w.now, dead: map[uint32]time.Time{}, ledTo: map[wire.Epoch]uint64{}, checked: map[wire.Epoch]uint64{}, judged: map[wire.Epoch]uint64{}, trail: map[wire.Epoch][]knew{}, differs: map[difference]differing{}, reached: map[wire.Epoch]time.Time{}}
	j.logs[n.epoch] = &history{
		node: n, recs: map[flow.Key][]engine.Listed{}, now: map[flow.Key]engine.Listed{},
		snaps: map[uint64]map[flow.Key]engine.Listed{}, ended: map[uint32]uint64{}, endedAt: map[uint32]time.Time{}, lived: map[uint32]time.Time{}, born: map[uint64]time.Time{}, told: map[uint64]time.Time{},
	}
}

// stepped looks at n after each step.
func (j *judge) stepped(n *node, in engine.Input, out *engine.Output) {
	j.roles(n)
	if n.role == engine.Standby {
		j.of(n).ready = n.ready == engine.Ready // by this run's own word: the file may say what the run before said
	}
	j.eligible()
	if beats(out) {
		j.logs[n.epoch].snapshot()
	}
	s := j.of(n)
	n.eng.Positions(func(p engine.Position) {
		if t := s.trail[p.Epoch]; len(t) == 0 || p.Have > t[len(t)-1].have {
			s.trail[p.Epoch] = append(t, knew{j.w.now, p.Have})
		}
		if p.Leader {
			s.ledTo[p.Epoch] = p.Have
		}
		if p.Proofs == s.checked[p.Epoch] {
			return
		}
		s.checked[p.Epoch] = p.Proofs
		j.bothWays(n, p.Epoch)
		if p.Have != s.judged[p.Epoch] || p.Proofs%8 == 0 {
			s.judged[p.Epoch] = p.Have
			j.proven(n, p)
		}
	})
	if !j.w.now.Before(s.nextLook) {
		s.nextLook = j.w.now.Add(150 * time.Millisecond)
		j.look(n)
	}
}

func beats(out *engine.Output) bool {
	for i := range out.Datagrams {
		if wire.Type(out.Datagrams[i].Payload[3]) == wire.Beat {
			return true
		}
	}
	return false
}

// roles judges takeovers: they end (I10), and leave nothing behind (I6).
func (j *judge) roles(n *node) {
	role := n.eng.Role()
	if role == engine.TakingOver && n.role == role && j.w.now.Sub(n.roleAt) > 15*time.Second && !n.frozen() {
		j.w.fail("I10", "%s has been taking over for 15 s", n)
	}
	if role == n.role {
		return
	}
	was := n.role
	n.role, n.roleAt = role, j.w.now
	if h := j.logs[n.epoch]; was == engine.Standby {
		h.active = append(h.active, j.w.now, time.Time{})
	} else if role == engine.Standby && len(h.active) > 0 {
		h.active[len(h.active)-1] = j.w.now
	}
	j.w.stats["became "+role.String()]++
	switch role {
	case engine.Active:
		j.takenOver(n)
	case engine.Standby:
		j.of(n).down = j.w.now
		for _, l := range j.logs[n.epoch].now {
			j.logs[n.epoch].lived[l.Flow.Mark] = j.w.now
		}
	}
}

// takenOver is I6: every flow in the union of replicas once active and not dead is in the kernel, or in the
// failure report.
func (j *judge) takenOver(n *node) {
	in := n.eng.Inspect()
	own := map[flow.Key]engine.Listed{}
	for _, l := range in.Own {
		own[l.Flow.Key] = l
	}
	missing := 0
	var one engine.Listed
	lacks := map[flow.Key]bool{}
	for i := range in.Peers {
		p := &in.Peers[i]
		if !p.Adoptable {
			continue
		}
		for _, l := range p.Flows {
			if l.Bits&(cache.Tomb|cache.Dead|cache.Refused) != 0 {
				continue
			}
			o, have := own[l.Flow.Key]
			if _, ended := j.of(n).dead[l.Flow.Mark]; ended {
				continue // it saw the end of this incarnation, of which the other one has perhaps not heard
			}
			if j.ranOut(n, p.Epoch, &l) {
				continue // nobody misses it
			}
			if have && o.Bits&cache.Ended != 0 && p.Live && p.Role == engine.Active && o.Flow.Reply == l.Flow.Reply {
				continue // which of the two is the newer cannot be known; it is adopted once that node steps back
			}
			if l.Bits&cache.Adopted != 0 && (!have || o.Bits&cache.Tomb != 0) {
				continue // we had it, and saw it end
			}
			if have && o.Bits&(cache.Waiting|cache.Evicted) != 0 {
				continue
			}
			if have && o.Present && (!in.Complete || j.justGone(n, o.Flow.Mark)) {
				continue // the event or the dump that is under way will tell that it is missing
			}
			if n.kern.table[l.Flow.Key] == nil && !j.justGone(n, l.Flow.Mark) && !lacks[l.Flow.Key] {
				lacks[l.Flow.Key] = true
				missing++
				one = l
			}
		}
	}
	if reported := n.eng.Status().Activity.TakeoverFailed + in.Dirty; missing > reported {
		j.w.fail("I6", "%s is active and lacks %d flows of its replicas, reports %d; one: %v mark %d", n, missing, reported, one.Flow.Key, one.Flow.Mark)
	}
}

// justGone says that the kernel dropped that incarnation so lately that its event may be on the way.
func (j *judge) justGone(n *node, mark uint32) bool {
	e, ok := n.kern.gone[mark]
	return ok && (j.w.now.Sub(e.at) < 1500*time.Millisecond || n.kern.unread(mark))
}

// follow reads what the step added to the own log.
func (j *judge) follow(n *node) {
	h := j.logs[n.epoch]
	n.eng.Changes(h.last, func(l engine.Listed) {
		h.last = l.Seq
		k := l.Flow.Key
		h.recs[k] = append(h.recs[k], l)
		h.leaves(k, l.Flow.Mark, n.eng.Role(), j.w.now)
		h.told[l.Seq] = j.w.now
		if l.Bits&cache.Tomb == 0 {
			h.now[k] = l
			if _, ok := h.born[l.Born]; !ok {
				h.born[l.Born] = j.w.now
			}
			return
		}
		delete(h.now, k)
		if l.Bits&cache.Ended != 0 && n.eng.Role() != engine.Standby {
			h.ended[l.Flow.Mark], h.endedAt[l.Flow.Mark] = l.Seq, j.w.now
			j.of(n).dead[l.Flow.Mark] = j.w.now
			j.endPublished(n, &l)
		}
	})
	if last, live := n.eng.Live(); last != h.last || live != len(h.now) {
		h.reread(n) // an end was told and, since nobody needs it, forgotten within one step
	}
}

// leaves notes that k, which is to be mark now, was perhaps another incarnation before.
func (h *history) leaves(k flow.Key, mark uint32, role engine.Role, now time.Time) {
	if was, ok := h.now[k]; ok && role != engine.Standby {
		h.lived[was.Flow.Mark] = now
	}
}

func (h *history) reread(n *node) {
	h.last, _ = n.eng.Live()
	clear(h.now)
	for _, l := range n.eng.Inspect().Own {
		if l.Bits&cache.Tomb == 0 {
			h.now[l.Flow.Key] = l
		}
	}
	for k, r := range h.recs {
		if _, ok := h.now[k]; !ok && r[len(r)-1].Bits&cache.Tomb == 0 {
			end := r[len(r)-1]
			end.Seq, end.Bits = h.last, cache.Yielded
			h.recs[k] = append(r, end)
		}
	}
}

// endPublished is I7's core: a deciding node says that a flow has ended only if its kernel has it no more.
func (j *judge) endPublished(n *node, l *engine.Listed) {
	e := n.kern.table[l.Flow.Key]
	if e != nil && e.f.Mark == l.Flow.Mark && len(n.kern.events) == 0 && len(n.ops) == 0 && !n.working {
		j.w.fail("I7", "%s tells the end of %v mark %d, which is in its kernel", n, l.Flow.Key, l.Flow.Mark)
	}
}

// look judges what costs a copy of everything, now and then.
func (j *judge) look(n *node) {
	in := n.eng.Inspect()
	j.bounds(n, &in)
	for i := range in.Peers {
		j.faithful(n, &in.Peers[i])
	}
	j.alive(n, &in)
	j.steadied(n, &in)
	if n.ready == engine.Ready && in.Role == engine.Standby {
		j.ready(n, &in)
	}
}

// bounds is I9.
func (j *judge) bounds(n *node, in *engine.Inspection) {
	if in.Dirty+in.Waiting > 2*in.Entries+8 {
		j.w.fail("I9", "%s: %d entries wait for the kernel, of %d", n, in.Dirty+in.Waiting, in.Entries)
	}
	if in.Outstanding > 1024 {
		j.w.fail("I9", "%s: %d operations under way", n, in.Outstanding)
	}
	for i := range in.Peers {
		if p := &in.Peers[i]; p.Intervals > cache.MaxIntervals {
			j.w.fail("I9", "%s: %d intervals", n, p.Intervals)
		}
	}
}
