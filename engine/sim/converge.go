package sim

import (
	"fmt"
	"maps"
	"time"

	"ctsync/engine"
	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// converge is I1: after peace every replica is the origin's own cache, an active node's own cache is its
// kernel, and the kernels of hot standbys are the leader's.
func (j *judge) converge() {
	w := j.w
	var why string
	for range 120 {
		if w.failure != nil {
			return
		}
		if why = j.diverges(); why == "" {
			w.stats["seconds to converge"] += int(w.now.Sub(w.begin).Seconds())
			return
		}
		w.run(250 * time.Millisecond)
	}
	w.fail("I1", "does not converge: %s", why)
}

func (j *judge) diverges() string {
	w := j.w
	var active *node
	for _, n := range w.nodes {
		switch {
		case n.eng == nil:
			return n.name + " does not run"
		case n.eng.Role() == engine.Active && active != nil:
			return "two are active"
		case n.eng.Role() == engine.Active:
			active = n
		}
	}
	if active == nil {
		return "nobody is active"
	}
	for _, n := range w.nodes {
		in := n.eng.Inspect()
		if why := j.replicas(n, &in); why != "" {
			return why
		}
		if n != active && in.Leader != active.epoch {
			return n.name + " has another leader"
		}
		if n != active && n.ready != engine.Ready {
			_, why := n.eng.Status().Verdict, n.eng.Status().Why
			return n.name + " is not ready: " + why
		}
	}
	if why := j.ownEqualsKernel(active); why != "" {
		return why
	}
	if !w.hot {
		return ""
	}
	for _, n := range w.nodes {
		if n != active {
			if why := sameKernel(active, n); why != "" {
				return why
			}
		}
	}
	return ""
}

// replicas compares n's replicas of epochs that live.
func (j *judge) replicas(n *node, in *engine.Inspection) string {
	for _, o := range j.w.nodes {
		if o == n {
			continue
		}
		found := false
		for i := range in.Peers {
			p := &in.Peers[i]
			if p.Epoch != o.epoch {
				continue
			}
			found = true
			now := j.logs[o.epoch].now
			live := 0
			for k := range p.Flows {
				l := &p.Flows[k]
				if l.Bits&cache.Tomb != 0 {
					continue
				}
				live++
				made, ok := now[l.Flow.Key]
				if !ok {
					return fmt.Sprintf("%s lists of %s %v, which is not there", n, o, l.Flow.Key)
				}
				if d := differs(&made, l); d != "" {
					return fmt.Sprintf("%s lists of %s %v: %s", n, o, l.Flow.Key, d)
				}
			}
			if live != len(now) {
				return fmt.Sprintf("%s lists %d flows of %s, which has %d", n, live, o, len(now))
			}
		}
		if !found {
			return fmt.Sprintf("%s does not know %s", n, o)
		}
	}
	return ""
}

func (j *judge) ownEqualsKernel(n *node) string {
	own := maps.Clone(j.logs[n.epoch].now)
	for _, l := range n.eng.Inspect().Own {
		if l.Failed && !l.Present {
			delete(own, l.Flow.Key) // reported
		}
	}
	for _, e := range n.kern.sorted() {
		l, ok := own[e.f.Key]
		switch {
		case !ok:
			return fmt.Sprintf("%s's kernel has %v mark %d, its own cache has not", n, e.f.Key, e.f.Mark)
		case l.Flow.Reply != e.f.Reply || l.Flow.Mark != e.f.Mark || l.Flow.State != e.f.State || labelsOf(&l.Flow) != labelsOf(&e.f):
			return fmt.Sprintf("%s's kernel has %s, its own cache %s", n, show(&e.f), show(&l.Flow))
		}
	}
	if len(own) != len(n.kern.table) {
		for k, l := range own {
			if n.kern.table[k] == nil {
				return fmt.Sprintf("%s lists %v mark %d bits %x present %v, its kernel has it not%s", n, k, l.Flow.Mark, l.Bits, l.Present, j.story(k))
			}
		}
	}
	return ""
}

// sameKernel says where a standby's kernel differs from the leader's.
func sameKernel(leader, n *node) string {
	for _, e := range leader.kern.sorted() {
		o := n.kern.table[e.f.Key]
		const shown = flow.SeenReply | flow.Assured
		switch {
		case o == nil:
			return fmt.Sprintf("%s's kernel lacks %v mark %d of %s", n, e.f.Key, e.f.Mark, leader)
		case labelsOf(&o.f) != labelsOf(&e.f), o.f.Reply != e.f.Reply || o.f.Mark != e.f.Mark || o.f.State != e.f.State || o.f.Status&shown&^e.f.Status&^o.stuck != 0 || e.f.Status&shown&^o.f.Status != 0:
			return fmt.Sprintf("%s's kernel has %s, %s's %s", n, show(&o.f), leader, show(&e.f))
		}
	}
	for _, o := range n.kern.sorted() {
		if leader.kern.table[o.f.Key] == nil {
			return fmt.Sprintf("%s's kernel has %v mark %d, %s's has not", n, o.f.Key, o.f.Mark, leader)
		}
	}
	return ""
}
