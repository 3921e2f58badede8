package sim

import (
	"fmt"
	"maps"
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
}

// history is the log of one epoch as its engine made it.
type history struct {
	active  []time.Time          // from, to, and so on
	left    map[uint32]time.Time // mark: when it was last listed no more
	born    map[uint64]time.Time // when the incarnation of that number was first seen
	node    *node
	lived   map[uint32]time.Time // mark: when it was last listed in a role that decides
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
	dead     map[uint32]time.Time     // marks whose end this run saw as it decided
	ledTo    map[wire.Epoch]uint64    // have of an epoch while it was the leader
	checked  map[wire.Epoch]uint64    // proofs
	judged   map[wire.Epoch]uint64    // have at the last one
	settled  map[wire.Epoch]time.Time // when an epoch was last the settled leader
	nextLook time.Time
	down     time.Time // when it stepped down or began
}

func (j *judge) init(w *world) { j.w, j.logs = w, map[wire.Epoch]*history{} }

func (j *judge) of(n *node) *sight {
	for len(j.seen) <= n.id {
		j.seen = append(j.seen, &sight{})
	}
	return j.seen[n.id]
}

func (j *judge) started(n *node) {
	*j.of(n) = sight{down: j.w.now, dead: map[uint32]time.Time{}, ledTo: map[wire.Epoch]uint64{}, checked: map[wire.Epoch]uint64{}, judged: map[wire.Epoch]uint64{}, settled: map[wire.Epoch]time.Time{}}
	j.logs[n.epoch] = &history{
		node: n, recs: map[flow.Key][]engine.Listed{}, now: map[flow.Key]engine.Listed{},
		snaps: map[uint64]map[flow.Key]engine.Listed{}, ended: map[uint32]uint64{}, endedAt: map[uint32]time.Time{}, lived: map[uint32]time.Time{}, left: map[uint32]time.Time{}, born: map[uint64]time.Time{},
	}
}

// stepped looks at n after each step.
func (j *judge) stepped(n *node, in engine.Input, out *engine.Output) {
	j.roles(n)
	if beats(out) {
		j.logs[n.epoch].snapshot()
	}
	s := j.of(n)
	n.eng.Positions(func(p engine.Position) {
		if p.Settled {
			s.settled[p.Epoch] = j.w.now
		}
		if p.Leader {
			s.ledTo[p.Epoch] = p.Have
		}
		if p.Proofs == s.checked[p.Epoch] {
			return
		}
		s.checked[p.Epoch] = p.Proofs
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
	role := n.eng.RoleNow()
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
			if l.Bits&cache.Adopted != 0 && (!have || o.Bits&cache.Tomb != 0) {
				continue // we had it, and saw it end
			}
			if have && o.Bits&(cache.Waiting|cache.Evicted) != 0 {
				continue
			}
			if !in.Complete && have && o.Present {
				continue // the dump that is under way will find it missing
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
	return ok && j.w.now.Sub(e.at) < 1500*time.Millisecond
}

// follow reads what the step added to the own log.
func (j *judge) follow(n *node) {
	h := j.logs[n.epoch]
	n.eng.Changes(h.last, func(l engine.Listed) {
		h.last = l.Seq
		k := l.Flow.Key
		h.recs[k] = append(h.recs[k], l)
		if l.Bits&cache.Tomb == 0 {
			h.now[k] = l
			if _, ok := h.born[l.Born]; !ok {
				h.born[l.Born] = j.w.now
			}
			if n.eng.RoleNow() != engine.Standby {
				h.lived[l.Flow.Mark] = j.w.now
			}
			return
		}
		delete(h.now, k)
		h.left[l.Flow.Mark] = j.w.now
		if l.Bits&cache.Ended != 0 && n.eng.RoleNow() != engine.Standby {
			h.ended[l.Flow.Mark], h.endedAt[l.Flow.Mark] = l.Seq, j.w.now
			j.of(n).dead[l.Flow.Mark] = j.w.now
			j.endPublished(n, &l)
		}
	})
	if last, live := n.eng.Live(); last != h.last || live != len(h.now) {
		h.reread(n) // an end was told and, since nobody needs it, forgotten within one step
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

// snapshot keeps the log's state for the heartbeat that goes out now.
func (h *history) snapshot() {
	if _, ok := h.snaps[h.last]; ok {
		return
	}
	h.snaps[h.last] = maps.Clone(h.now)
	h.order = append(h.order, h.last)
	if len(h.order) > 200 {
		delete(h.snaps, h.order[0])
		h.order = h.order[1:]
	}
}

// proven is I2: proof means that the replica is the origin's own cache at have.
func (j *judge) proven(n *node, p engine.Position) {
	h := j.logs[p.Epoch]
	want, ok := h.snaps[p.Have]
	if !ok {
		j.w.stats["proof of an old log"]++
		return
	}
	j.w.stats["proofs judged"]++
	live := 0
	for _, l := range n.eng.Replica(p.Epoch) {
		if l.Bits&cache.Tomb != 0 {
			continue
		}
		live++
		o, ok := want[l.Flow.Key]
		if !ok {
			j.w.fail("I2", "%s has proof of %s at %d and lists %v seq %d, which the origin did not", n, h.node, p.Have, l.Flow.Key, l.Seq)
			return
		}
		if diff := differs(&o, &l); diff != "" {
			j.w.fail("I2", "%s has proof of %s at %d, but %s differs: %s", n, h.node, p.Have, l.Flow.Key, diff)
			return
		}
	}
	if live != len(want) {
		j.w.fail("I2", "%s has proof of %s at %d and lists %d flows of %d", n, h.node, p.Have, live, len(want))
	}
}

func differs(a, b *engine.Listed) string {
	switch {
	case a.Born != b.Born || a.Seq != b.Seq:
		return fmt.Sprintf("born %d seq %d, here born %d seq %d", a.Born, a.Seq, b.Born, b.Seq)
	case a.Flow.Value != b.Flow.Value:
		return fmt.Sprintf("%+v, here %+v", a.Flow.Value, b.Flow.Value)
	case (a.Flow.Extra == nil) != (b.Flow.Extra == nil) || a.Flow.Extra != nil && *a.Flow.Extra != *b.Flow.Extra:
		return fmt.Sprintf("%s, here %s", extra(a), extra(b))
	}
	return ""
}

// look judges what costs a copy of everything, now and then.
func (j *judge) look(n *node) {
	in := n.eng.Inspect()
	j.bounds(n, &in)
	for i := range in.Peers {
		j.faithful(n, &in.Peers[i])
	}
	if n.ready == engine.Ready && in.Role == engine.Standby {
		j.ready(n, &in)
	}
	j.ownIsKernel(n, &in)
}

// ownIsKernel: what an active node lists, its kernel has had, and nobody else's.
func (j *judge) ownIsKernel(n *node, in *engine.Inspection) {}

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

// faithful is I3 and I11: every record of a replica is one that the origin made, and no record is older than
// another one of its key that is said to be known.
func (j *judge) faithful(n *node, p *engine.PeerInspection) {
	h := j.logs[p.Epoch]
	have := map[flow.Key]*engine.Listed{}
	for i := range p.Flows {
		l := &p.Flows[i]
		have[l.Flow.Key] = l
		if l.Bits&cache.Stale != 0 {
			continue
		}
		made := h.made(l.Flow.Key, l.Seq)
		if made == nil {
			continue // it lived within one step
		}
		if l.Bits&cache.Tomb == 0 {
			if diff := differs(made, l); diff != "" {
				j.w.fail("I11", "%s holds of %s %v: %s", n, h.node, l.Flow.Key, diff)
				return
			}
		}
		if newest := h.newest(l.Flow.Key, p.Have); newest != nil && newest.Seq > l.Seq && !h.newer(l.Flow.Key, p.Have) {
			j.w.fail("I3", "%s holds of %s %v seq %d, but have is %d and %d is newer", n, h.node, l.Flow.Key, l.Seq, p.Have, newest.Seq)
			return
		}
	}
	for k := range h.recs {
		newest := h.newest(k, p.Have)
		if newest == nil || newest.Bits&cache.Tomb != 0 || have[k] != nil || h.newer(k, p.Have) {
			continue
		}
		j.w.fail("I11", "%s lacks of %s %v seq %d, have is %d", n, h.node, k, newest.Seq, p.Have)
		return
	}
}

func (h *history) made(k flow.Key, seq uint64) *engine.Listed {
	for i := range h.recs[k] {
		if h.recs[k][i].Seq == seq {
			return &h.recs[k][i]
		}
	}
	return nil
}

// newest is the newest record of k up to seq.
func (h *history) newest(k flow.Key, upTo uint64) (l *engine.Listed) {
	for i := range h.recs[k] {
		if h.recs[k][i].Seq <= upTo {
			l = &h.recs[k][i]
		}
	}
	return l
}

// newer says that k changed after seq: what it was then may have been left out of a repair.
func (h *history) newer(k flow.Key, after uint64) bool {
	r := h.recs[k]
	return len(r) > 0 && r[len(r)-1].Seq > after
}

// ready is I2's second half and I12: the kernel of a ready hot standby has what the leader lists, and no entry
// in it would refuse the packets of a connection that went on elsewhere.
func (j *judge) ready(n *node, in *engine.Inspection) {
	if !in.Complete {
		j.w.fail("I2", "%s is ready and not complete", n)
	}
	if !j.w.hot || !in.Settled {
		return // warm; or the leader has gone, and what it listed last is all that there is
	}
	missing, stale := 0, 0
	var one engine.Listed
	own := map[flow.Key]bool{}
	for _, l := range in.Own {
		own[l.Flow.Key] = l.Bits&cache.Tomb == 0
	}
	for i := range in.Peers {
		p := &in.Peers[i]
		if p.Epoch != in.Leader {
			continue
		}
		for _, l := range p.Flows {
			if l.Bits&(cache.Tomb|cache.Stale) != 0 || l.Failed {
				continue
			}
			e := n.kern.table[l.Flow.Key]
			switch {
			case e != nil && e.f.Reply != l.Flow.Reply && own[l.Flow.Key]:
				j.w.stats["suspects met"]++ // the purge's
			case e == nil || e.f.Reply != l.Flow.Reply:
				missing++
				one = l
			case !e.liberal && e.f.L4 == flow.TCP && j.w.now.Sub(e.seen) > time.Second:
				stale++
				one = l
			}
		}
	}
	excused := in.Dirty + in.Waiting + in.Outstanding + in.Held + len(n.kern.events)
	if missing > excused {
		j.w.fail("I2", "%s is ready and its kernel lacks %d flows, %d are on their way; one: %s seq %d present %v, there %s", n, missing, excused, show(&one.Flow), one.Seq, one.Present, there(n, one.Flow.Key))
	}
	if stale > excused {
		j.w.fail("I12", "%s is ready and %d entries were not rewritten, %d are on their way; one: %v", n, stale, excused, one.Flow.Key)
	}
	j.w.stats["readiness judged"]++
}

func extra(l *engine.Listed) string {
	if l.Flow.Extra == nil {
		return "nothing rare"
	}
	return fmt.Sprintf("master %v (%v)", l.Flow.Extra.Master, l.Flow.Extra.HasMaster)
}

// mismatch says where n's replica of a peer differs from the peer's log.
func (j *judge) mismatch(n *node, name string) (where string) {
	n.eng.Positions(func(p engine.Position) {
		h := j.logs[p.Epoch]
		if h.node.name != name {
			return
		}
		where += fmt.Sprintf("; epoch %x have %d of %d:", p.Epoch[:4], p.Have, h.last)
		replica := map[flow.Key]engine.Listed{}
		for _, l := range n.eng.Replica(p.Epoch) {
			replica[l.Flow.Key] = l
		}
		for k, r := range h.recs {
			l, ok := replica[k]
			newest := r[len(r)-1]
			if ok && l.Seq == newest.Seq && l.Born == newest.Born || !ok && newest.Bits&cache.Tomb != 0 {
				continue
			}
			where += fmt.Sprintf(" %v born %d seq %d bits %x, here %v born %d seq %d bits %x;", k, newest.Born, newest.Seq, newest.Bits, ok, l.Born, l.Seq, l.Bits)
		}
	})
	return where
}

func (j *judge) ownOf(n *node, k flow.Key) string {
	if l, ok := j.logs[n.epoch].now[k]; ok {
		return show(&l.Flow)
	}
	return "nothing"
}

// toldEnd says that the log has lately had the end of k, which the reader of a log need not see as such.
func (h *history) toldEnd(k flow.Key, now time.Time) bool {
	for _, l := range h.recs[k] {
		if at, ok := h.endedAt[l.Flow.Mark]; ok && now.Sub(at) < 3*time.Second {
			return true
		}
		if at, ok := h.born[l.Born]; ok && now.Sub(at) < 3*time.Second {
			return true
		}
	}
	return false
}
