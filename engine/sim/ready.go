package sim

import (
	"time"

	"ctsync/engine"
	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// eligible is I13: whenever a node is active, the readiness file of some node that runs says so, and an active
// node's own always.
func (j *judge) eligible() {
	active, ready := (*node)(nil), false
	for _, n := range j.w.nodes {
		if n.eng == nil {
			continue
		}
		ready = ready || n.file
		if n.role == engine.Active {
			active = n
			if !n.file {
				j.w.fail("I13", "%s is active and its file says not ready", n)
			}
		}
	}
	if active != nil && !ready {
		j.w.fail("I13", "%s is active and no node is ready", active)
	}
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
			if l.Bits&(cache.Tomb|cache.Stale) != 0 || l.Failed || j.ranOut(n, p.Epoch, &l) {
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
	if n.kern.lost {
		return // it has not been told yet that events were lost, one of which may have told it
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

// ranOut says that what epoch lists as l is a closed connection whose time is over by n's clock: its copy goes by itself,
// and is not missed.
func (j *judge) ranOut(n *node, epoch wire.Epoch, l *engine.Listed) bool {
	f := &l.Flow
	told, ok := j.logs[epoch].told[l.Seq]
	const rounding = time.Second / 2
	return ok && flow.Closed(&f.Key, &f.Value) && j.w.now.Sub(told)+n.leapt+rounding >= time.Duration(f.Timeout)*time.Second
}
