package sim

import (
	"time"

	"ctsync/engine/flow"
)

// clients open, use and end connections at whichever node has the virtual address.
type clients struct {
	w     *world
	conns []*conn
	quiet bool // nothing begins or ends any more, what there is goes on
	rate  time.Duration
	marks uint32
	inUse map[flow.Key]*conn
	most  int
	calm  bool // no loss is excused
}

// natKind is how a connection is translated.
type natKind uint8

const (
	natNone natKind = iota
	natSNAT         // to the virtual address by a static rule
	natMasqVIP
	natMasqOwn // to an address of the node itself
)

// conn is a connection as its client sees it.
type conn struct {
	key      flow.Key
	nat      natKind
	sparse   bool // packets come just before its entry would expire
	mark     uint32
	progress int
	stage    int // exchanges so far
	node     *node
	born     time.Time
	master   *conn
	over     bool
}

func (c *clients) init(w *world) {
	c.w, c.inUse = w, map[flow.Key]*conn{}
	c.rate = w.between(60*time.Millisecond, 250*time.Millisecond)
	c.most = 20 + w.rng.Intn(60)
}

func (c *clients) begin() {
	c.w.after(c.w.between(c.rate/2, c.rate*2), func() {
		if !c.quiet {
			c.open(nil)
			c.begin()
		}
	})
}

func addr4(a, b, d, e byte) (x flow.Addr) {
	x[0], x[1], x[2], x[3] = a, b, d, e
	return x
}

// The keys of all connections: few, so that they are used again.
const (
	sources = 6
	targets = 2
	ports   = 8
)

func keyOf(proto uint8, source, target, port int) flow.Key {
	k := flow.Key{L3: flow.IPv4, L4: proto}
	k.Src, k.Dst = addr4(10, 0, 0, byte(1+source)), addr4(198, 18, 0, byte(1+target))
	k.SrcL4, k.DstL4 = uint16(40000+port), 443
	return k
}

// keys are all that there can be.
func (c *clients) keys() (all []flow.Key) {
	for _, proto := range []uint8{flow.TCP, flow.UDP} {
		for s := range sources * targets * ports {
			all = append(all, keyOf(proto, s/(targets*ports), s/ports%targets, s%ports))
		}
	}
	return all
}

// open begins a connection; keys come from a small set, so that they are used again.
func (c *clients) open(master *conn) {
	rng := c.w.rng
	if len(c.inUse) >= c.most {
		return
	}
	proto := flow.TCP
	if rng.Intn(3) == 0 && master == nil {
		proto = flow.UDP
	}
	k := keyOf(proto, rng.Intn(sources), rng.Intn(targets), rng.Intn(ports))
	if c.inUse[k] != nil {
		return
	}
	n := c.route(nil)
	if n == nil {
		return
	}
	x := &conn{key: k, born: c.w.now, master: master, sparse: rng.Intn(7) == 0}
	switch r := rng.Intn(10); {
	case r < 4:
	case r < 6:
		x.nat = natSNAT
	case r < 9:
		x.nat = natMasqVIP
	default:
		x.nat = natMasqOwn
	}
	if !c.first(x, n) {
		return
	}
	c.inUse[k] = x
	c.conns = append(c.conns, x)
	c.w.stats["connections"]++
	c.later(x, c.w.between(time.Millisecond, 40*time.Millisecond))
}

// route is the node that a packet comes to.
func (c *clients) route(x *conn) *node {
	m := c.w.masters()
	switch {
	case len(m) == 0:
		return nil
	case len(m) == 1:
		return m[0]
	case x != nil && x.node != nil && x.node.vip && !x.node.off && c.w.rng.Intn(8) != 0:
		return x.node // an ARP cache
	}
	return m[c.w.rng.Intn(len(m))]
}

// first is the packet that makes the entry.
func (c *clients) first(x *conn, n *node) bool {
	k := n.kern
	if e := k.table[x.key]; e != nil {
		if x.key.L4 != flow.TCP || e.f.State < flow.TCPFinWait {
			x.mark, x.node = e.f.Mark, n
			c.touch(e, x, n)
			return true
		}
		k.destroy(e, "reopened")
	}
	return c.make(x, n, flow.TCPSynSent, flow.Confirmed)
}

// make adds an entry as a packet does.
func (c *clients) make(x *conn, n *node, state uint8, status uint32) bool {
	k := n.kern
	e := &kentry{f: flow.Flow{Key: x.key}, masq: x.nat >= natMasqVIP, made: c.w.now, seen: c.w.now}
	v := &e.f.Value
	v.Reply, v.Status = x.key.Inverse(), status
	if x.nat != natNone {
		v.Reply.Dst = vip
		if x.nat == natMasqOwn {
			v.Reply.Dst = n.own
		}
		v.Status |= flow.SrcNAT | flow.SrcNATDone
		for p := 0; !k.free(&x.key, v); p++ {
			if p == 20 {
				return false
			}
			v.Reply.DstL4 = uint16(50000 + c.w.rng.Intn(200))
		}
	}
	if !k.free(&x.key, v) || len(k.table) >= k.max {
		return false
	}
	if x.key.L4 == flow.TCP {
		v.State = state
		v.TCPFlags, v.WScale = [2]uint8{3, 3}, [2]uint8{7, 7}
	}
	if m := x.master; m != nil && k.table[m.key] != nil {
		e.f.Extra = &flow.Extra{Master: m.key, HasMaster: true}
		v.Status |= flow.Expected
	}
	c.marks++
	v.Mark, x.mark, x.node = c.marks, c.marks, n
	e.label(labelled(c.marks))
	e.expires = c.w.now.Add(timeoutOf(&e.f))
	e.window = x.progress
	k.add(e)
	c.w.trace(n, "packet makes %v mark %d nat %d port %d", x.key, v.Mark, x.nat, v.Reply.DstL4)
	k.emit(flow.EventNew, e)
	return true
}

// timeoutOf are the kernel's timeouts, shortened.
func timeoutOf(f *flow.Flow) time.Duration {
	switch {
	case f.L4 != flow.TCP && f.Status&flow.SeenReply == 0:
		return 6 * time.Second
	case f.L4 != flow.TCP:
		return 20 * time.Second
	}
	switch f.State {
	case flow.TCPEstablished:
		return 60 * time.Second
	case flow.TCPTimeWait:
		return 4 * time.Second
	}
	return 9 * time.Second
}

// kernelTimeouts are those of timeoutOf as the edge would read them; for what is not TCP the longer one.
func kernelTimeouts() (t flow.Timeouts) {
	for state := range t.TCP {
		f := flow.Flow{Key: flow.Key{L4: flow.TCP}, Value: flow.Value{State: uint8(state)}}
		t.TCP[state] = uint32(timeoutOf(&f) / time.Second)
	}
	long := flow.Flow{Key: flow.Key{L4: flow.UDP}, Value: flow.Value{Status: flow.SeenReply}}
	t.UDP = uint32(timeoutOf(&long) / time.Second)
	t.UDPStream, t.ICMP = t.UDP, t.UDP
	t.Tidied = 2
	return t
}

func (c *clients) later(x *conn, d time.Duration) {
	c.w.after(d, func() { c.exchange(x) })
}

func (c *clients) gap(x *conn) time.Duration {
	if x.stage < 3 {
		return c.w.between(time.Millisecond, 60*time.Millisecond)
	}
	if !x.sparse {
		return c.w.between(200*time.Millisecond, 2500*time.Millisecond)
	}
	most := 60 * time.Second
	if x.key.L4 != flow.TCP {
		most = 20 * time.Second
	}
	return c.w.between(most/2, most*95/100)
}

// exchange is a packet each way, or the end.
func (c *clients) exchange(x *conn) {
	if x.over {
		return
	}
	w := c.w
	n := c.route(x)
	if n == nil {
		c.later(x, w.between(100*time.Millisecond, 400*time.Millisecond))
		return
	}
	if x.nat == natMasqOwn && n != x.node {
		c.forget(x) // its address is elsewhere
		return
	}
	e := n.kern.table[x.key]
	if e == nil {
		c.lost(x, n)
		return
	}
	if e.f.L4 == flow.TCP && !e.liberal && x.progress > e.window+1 {
		w.stats["stale window"]++
	}
	c.touch(e, x, n)
	x.stage++
	c.advance(e, x, n)
	switch r := w.rng.Intn(400); {
	case c.quiet, x.stage < 4:
	case r < 12:
		c.end(e, x, n)
		return
	case r == 12:
		n.kern.destroy(e, "killed by an operator")
		c.forget(x)
		return
	case r == 13:
		c.forget(x) // the client vanishes
		return
	case r < 20 && x.key.L4 == flow.TCP && x.master == nil:
		c.open(x)
	}
	c.later(x, c.gap(x))
}

// touch refreshes an entry, which the kernel tells nobody.
func (c *clients) touch(e *kentry, x *conn, n *node) {
	x.progress++
	e.window, e.seen, e.injected = x.progress, c.w.now, false
	x.mark, x.node = e.f.Mark, n
	n.kern.setTimeout(e, timeoutOf(&e.f))
}

// advance is the change of state that this exchange makes, if any.
func (c *clients) advance(e *kentry, x *conn, n *node) {
	v := &e.f.Value
	was := *v
	switch {
	case v.Status&flow.SeenReply == 0:
		v.Status |= flow.SeenReply
		e.replied = c.w.now
		if v.State == flow.TCPSynSent {
			v.State = flow.TCPSynRecv
		}
	case v.Status&flow.Assured == 0:
		v.Status |= flow.Assured
		if v.State == flow.TCPSynRecv {
			v.State = flow.TCPEstablished
		}
	}
	if *v != was {
		n.kern.setTimeout(e, timeoutOf(&e.f))
		n.kern.emit(flow.EventUpdate, e)
	}
}

// end closes a connection; its entry goes a little later by itself.
func (c *clients) end(e *kentry, x *conn, n *node) {
	if x.key.L4 == flow.TCP {
		e.f.State = flow.TCPTimeWait
		n.kern.setTimeout(e, timeoutOf(&e.f))
		n.kern.emit(flow.EventUpdate, e)
	}
	c.forget(x)
}

func (c *clients) forget(x *conn) {
	x.over = true
	delete(c.inUse, x.key)
	for i, y := range c.conns {
		if y == x {
			c.conns = append(c.conns[:i], c.conns[i+1:]...)
			break
		}
	}
}

// lost is a packet that meets a kernel without its entry: the connection is dead, or picked up in the middle.
func (c *clients) lost(x *conn, n *node) {
	w := c.w
	w.stats["lost connections"]++
	w.trace(n, "LOST %v mark %d: no entry (stage %d)", x.key, x.mark, x.stage)
	w.judge.lostConnection(n, x)
	status := flow.Confirmed | flow.SeenReply
	if !c.quiet && w.rng.Intn(2) == 0 && c.make(x, n, flow.TCPEstablished, status) {
		c.later(x, c.gap(x))
		return
	}
	c.forget(x)
}
