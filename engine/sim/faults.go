package sim

import (
	"time"

	"ctsync/vrrp"
)

// faults is what goes wrong. A seed draws at least four kinds, and then moments for them.
type faults struct {
	until       time.Time
	kinds       []kind
	unanswered  float64
	enomem      float64
	slowKernel  time.Duration
	slowEvents  time.Duration
	dumpFails   float64
	lateNotices bool
}

// kind is one kind of fault; strike begins it, and plans its end.
type kind struct {
	name   string
	strike func(*world)
}

var allKinds = []kind{
	{"loss", func(w *world) {
		w.net.loss = []float64{0.01, 0.1, 0.4}[w.rng.Intn(3)]
		w.after(w.between(time.Second, 8*time.Second), func() { w.net.loss = 0 })
	}},
	{"duplication", func(w *world) {
		w.net.dup = 0.3
		w.after(w.between(time.Second, 8*time.Second), func() { w.net.dup = 0 })
	}},
	{"reordering", func(w *world) {
		w.net.jitter = []time.Duration{5, 50, 800}[w.rng.Intn(3)] * time.Millisecond
		w.after(w.between(time.Second, 8*time.Second), func() { w.net.jitter = calmJitter })
	}},
	{"partition", func(w *world) { w.cut(true) }},
	{"one-way partition", func(w *world) { w.cut(false) }},
	{"daemon crash", func(w *world) {
		n := w.anyNode()
		n.kill(w.rng.Intn(3) == 0)
		w.after(w.between(5*time.Millisecond, 5*time.Second), n.start)
	}},
	{"reboot", (*world).reboot},
	{"freeze", func(w *world) {
		w.anyNode().freeze(w.between(100*time.Millisecond, 6*time.Second))
	}},
	{"failover", func(w *world) { w.makeMaster(w.anyNode(), "failover") }},
	{"flap", func(w *world) {
		a, b := w.anyNode(), w.anyNode()
		w.makeMaster(a, "flap")
		d := w.between(5*time.Millisecond, 900*time.Millisecond)
		w.after(d, func() { w.makeMaster(b, "flap") })
		w.after(2*d, func() { w.makeMaster(a, "flap") })
	}},
	{"dual masters", func(w *world) {
		n := w.anyNode()
		n.become(vrrp.Master, w.noticeDelay())
		w.after(w.between(50*time.Millisecond, 6*time.Second), func() {
			if m := w.masters(); len(m) > 1 {
				w.makeMaster(m[w.rng.Intn(len(m))], "end of dual masters")
			}
		})
	}},
	{"keepalived fault", func(w *world) { w.demote(vrrp.Fault) }},
	{"keepalived stop", func(w *world) { w.demote(vrrp.Stop) }},
	{"late notices", func(w *world) {
		w.fault.lateNotices = true
		w.after(w.between(time.Second, 10*time.Second), func() { w.fault.lateNotices = false })
	}},
	{"overruns", func(w *world) {
		n := w.anyNode()
		n.kern.queueMax = w.rng.Intn(3)
		w.fault.slowEvents = 300 * time.Millisecond
		w.after(w.between(50*time.Millisecond, 2*time.Second), func() { n.kern.queueMax, w.fault.slowEvents = 2000, 0 })
	}},
	{"slow events", func(w *world) {
		w.fault.slowEvents = w.between(5*time.Millisecond, 800*time.Millisecond)
		w.after(w.between(time.Second, 8*time.Second), func() { w.fault.slowEvents = 0 })
	}},
	{"slow kernel", func(w *world) {
		w.fault.slowKernel = w.between(5*time.Millisecond, 2*time.Second)
		w.after(w.between(time.Second, 8*time.Second), func() { w.fault.slowKernel = 0 })
	}},
	{"unanswered operations", func(w *world) {
		w.fault.unanswered = []float64{0.1, 0.5, 1}[w.rng.Intn(3)]
		w.after(w.between(time.Second, 5*time.Second), func() { w.fault.unanswered = 0 })
	}},
	{"full table", func(w *world) {
		w.fault.enomem = []float64{0.2, 1}[w.rng.Intn(2)]
		w.after(w.between(100*time.Millisecond, 4*time.Second), func() { w.fault.enomem = 0 })
	}},
	{"failing dumps", func(w *world) {
		w.fault.dumpFails = 0.5
		w.after(w.between(time.Second, 5*time.Second), func() { w.fault.dumpFails = 0 })
	}},
	{"address flap", func(w *world) {
		if m := w.masters(); len(m) > 0 {
			n := m[0]
			n.setVIP(false)
			w.after(w.between(time.Millisecond, 2*time.Second), func() { n.setVIP(n.state == vrrp.Master) })
		}
	}},
}

func (w *world) anyNode() *node { return w.nodes[w.rng.Intn(len(w.nodes))] }

// cut parts two nodes on the sync link. keepalived has its own: with the sync link often goes nothing else.
func (w *world) cut(both bool) {
	a, b := w.anyNode(), w.anyNode()
	if a == b {
		b = w.nodes[(a.id+1)%len(w.nodes)]
	}
	w.trace(a, "cut off from %s, both ways %v", b, both)
	w.net.cut[a.id][b.id] = true
	w.net.cut[b.id][a.id] = both
	w.after(w.between(100*time.Millisecond, 12*time.Second), func() {
		w.trace(a, "reaches %s again", b)
		w.net.cut[a.id][b.id], w.net.cut[b.id][a.id] = false, false
	})
}

// reboot takes a machine down with all that it knows; another one becomes MASTER once it misses it.
func (w *world) reboot() {
	n := w.anyNode()
	if n.off {
		return
	}
	w.trace(n, "machine dies")
	was := n.vip
	n.kill(false)
	n.off, n.vip, n.state = true, false, vrrp.Unknown
	kern := newKernel(n)
	kern.nextID = n.kern.nextID
	n.kern = kern
	if was {
		w.after(w.between(3*time.Second, 4*time.Second), w.someoneMaster)
	}
	w.after(w.between(time.Second, 8*time.Second), func() {
		w.trace(n, "machine is back")
		n.off, n.state = false, vrrp.Backup
		n.start()
	})
}

// someoneMaster makes a node MASTER if none is.
func (w *world) someoneMaster() {
	if len(w.masters()) > 0 {
		return
	}
	for range 10 {
		if n := w.anyNode(); !n.off && n.state != vrrp.Fault && n.state != vrrp.Stop {
			w.makeMaster(n, "nobody is")
			return
		}
	}
}

// demote takes mastership away from its holder by a fault or an orderly stop.
func (w *world) demote(s vrrp.State) {
	n := w.anyNode()
	if n.off {
		return
	}
	n.become(s, w.noticeDelay())
	w.after(w.between(time.Millisecond, 3500*time.Millisecond), w.someoneMaster)
	w.after(w.between(4*time.Second, 8*time.Second), func() {
		if n.state == s {
			n.become(vrrp.Backup, w.noticeDelay())
			w.someoneMaster()
		}
	})
}

// plan draws the kinds and begins to strike.
func (f *faults) plan(w *world) {
	f.until = w.now.Add(time.Hour)
	order := w.rng.Perm(len(allKinds))
	for _, i := range order[:4+w.rng.Intn(4)] {
		f.kinds = append(f.kinds, allKinds[i])
	}
	// Without a failover now and then little is at stake.
	f.kinds = append(f.kinds, kindNamed("failover"))
	f.strike(w)
}

func kindNamed(name string) kind {
	for _, k := range allKinds {
		if k.name == name {
			return k
		}
	}
	panic("no fault " + name)
}

func (f *faults) strike(w *world) {
	w.after(w.between(200*time.Millisecond, 4*time.Second), func() {
		if w.now.After(f.until) {
			return
		}
		k := f.kinds[w.rng.Intn(len(f.kinds))]
		w.trace(nil, "FAULT %s", k.name)
		w.count(k.name)
		k.strike(w)
		f.strike(w)
	})
}

// end stops every fault: the network is well, the machines run, one of them is MASTER.
func (f *faults) end(w *world) {
	w.trace(nil, "PEACE")
	*f = faults{}
	w.net.heal()
	for _, n := range w.nodes {
		n := n
		n.kern.queueMax = 2000
		w.after(5*time.Second, func() {
			w.net.heal()
			*f = faults{}
			n.kern.queueMax = 2000
			if n.off {
				n.off, n.state = false, vrrp.Backup
			}
			n.start()
		})
	}
	m := w.anyNode()
	w.after(6*time.Second, func() {
		for _, n := range w.nodes {
			if n != m && n.state != vrrp.Backup {
				n.become(vrrp.Backup, w.noticeDelay())
			}
		}
		if m.state != vrrp.Master || !m.vip {
			m.state = vrrp.Backup
			m.become(vrrp.Master, w.noticeDelay())
		}
	})
}
