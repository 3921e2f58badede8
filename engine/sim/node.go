package sim

import (
	"fmt"
	"hash"
	"math/rand"
	"net/netip"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// node is one firewall: a kernel, an engine unless its daemon is down, and what keepalived makes of it.
type node struct {
	w    *world
	id   int
	name string
	kern *kernel
	addr netip.AddrPort // on the sync link
	own  flow.Addr      // its own masquerade address

	keys       []wire.Key // its key file
	permissive bool

	eng     *engine.Engine
	epoch   wire.Epoch
	run     int // daemon runs so far
	off     bool
	vip     bool
	state   vrrp.State
	spoken  time.Time // when the newest notice arrives
	tick    int
	thaw    time.Time
	skew    time.Duration // its clock against the world's
	leapt   time.Duration // how far its clock has jumped on in all
	backlog []engine.Input
	heard   []engine.Datagram // not read yet

	together bool // the step is of several datagrams
	ready    engine.Readiness
	file     bool // the readiness file says ready
	role     engine.Role
	roleAt   time.Time
	hash     hash.Hash64

	ops     []issued
	working bool
	doing   *issued // the operation that the kernel is carrying out
	dump    uint64
	cursor  uint64
	dumpGen int
	epochs  []wire.Epoch
}

// issued is an operation on its way, and the role in which it was decided.
type issued struct {
	op   flow.Op
	role engine.Role
	own  flow.Tuple // reply tuple of the own cache's flow then
	knew uint32     // status bits that its log told last of that key
	at   time.Time

	led   wire.Epoch // the leader then
	ledTo uint64     // and how much of its log was known
}

func (n *node) String() string { return n.name }

func (n *node) frozen() bool { return n.thaw.After(n.w.now) }

// start begins a run of the daemon.
func (n *node) start() {
	if n.eng != nil || n.off {
		return
	}
	w := n.w
	n.run++
	w.rng.Read(n.epoch[:])
	n.epochs = append(n.epochs, n.epoch)
	n.eng = engine.New(engine.Config{
		Node: n.name, Epoch: n.epoch, Cluster: cluster, Group: group, Hot: w.hot, PurgeTimeout: purgeTimeout,
		PayloadLimit: w.payload, TableMax: n.kern.max, Seed: w.rng.Uint64(),
		Keys: n.keys, Permissive: n.permissive, Random: rand.New(rand.NewSource(w.rng.Int63())),
	}, rand.New(rand.NewSource(w.rng.Int63())))
	n.role, n.roleAt = engine.Standby, w.now
	n.ops, n.working, n.dump, n.backlog, n.heard = nil, false, 0, nil, nil
	n.kern.events, n.kern.lost = nil, false
	w.trace(n, "daemon starts, epoch %x", n.epoch[:4])
	w.judge.started(n)
	n.input(&engine.KernelLimits{Max: n.kern.max, Count: len(n.kern.table)})
	n.input(&engine.KernelTimeouts{Timeouts: kernelTimeouts()})
	n.tellAddresses(0)
	if n.state != vrrp.Unknown {
		n.tell(w.between(5*time.Millisecond, 400*time.Millisecond))
	}
	n.countLater(n.run)
}

func (n *node) countLater(run int) {
	n.w.after(time.Second, func() {
		if n.eng == nil || n.run != run {
			return
		}
		n.input(&engine.KernelLimits{Max: n.kern.max, Count: len(n.kern.table)})
		n.countLater(run)
	})
}

// kill ends the daemon without a word, or with one.
func (n *node) kill(orderly bool) {
	if n.eng == nil {
		return
	}
	if orderly {
		n.input(&engine.Shutdown{})
	}
	n.w.trace(n, "daemon ends")
	n.file = n.file && n.role == engine.Active // what the daemon's end leaves of the file
	n.eng, n.backlog, n.heard, n.thaw = nil, nil, nil, time.Time{}
	n.run++
}

// input gives the engine one input, or keeps it until the process runs again.
func (n *node) input(in engine.Input) {
	if n.eng == nil {
		return
	}
	if n.frozen() {
		if d, ok := in.(*engine.Datagrams); ok && len(n.backlog) > 300 {
			_ = d // the socket's buffer is full
			return
		}
		n.backlog = append(n.backlog, in)
		return
	}
	n.step(in)
}

func (n *node) step(in engine.Input) {
	w := n.w
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic", "%s: %v\n%s", n, r, stack())
		}
	}()
	w.steps++
	d, ok := in.(*engine.Datagrams)
	n.together = ok && len(d.Datagrams) > 1
	if ok && w.replayer != nil {
		defer w.replayer.delivered(n, d)()
	}
	if c, ok := in.(*engine.Command); ok && c.Verb == engine.VerbFlushExternal {
		w.judge.forgets(n)
	}
	out := n.eng.Step(w.now.Add(n.skew), in)
	w.judge.follow(n)
	w.watch(n)
	n.carryOut(out)
	w.judge.stepped(n, in, out)
	n.wake()
}

// wake gives the engine its deadline.
func (n *node) wake() {
	n.tick++
	tick, at := n.tick, n.eng.Deadline().Add(-n.skew)
	if at.Before(n.w.now.Add(50 * time.Microsecond)) {
		at = n.w.now.Add(50 * time.Microsecond)
	}
	if n.thaw.After(at) {
		at = n.thaw.Add(time.Microsecond)
	}
	n.w.at(at, func() {
		if n.tick == tick && n.eng != nil {
			if n.frozen() {
				n.wake()
				return
			}
			n.step(&engine.Tick{})
		}
	})
}

func (n *node) freeze(d time.Duration) {
	if n.eng == nil || n.frozen() {
		return
	}
	n.w.trace(n, "process frozen for %v", d)
	n.thaw = n.w.now.Add(d)
	run := n.run
	n.w.at(n.thaw, func() {
		if n.run != run {
			return
		}
		n.w.trace(n, "process runs again, %d inputs wait", len(n.backlog))
		late := n.backlog
		n.backlog = nil
		for _, in := range late {
			n.input(in)
		}
	})
}

func (n *node) carryOut(out *engine.Output) {
	w := n.w
	n.hashOutput(out)
	for i := range out.Notes {
		n.noted(&out.Notes[i])
	}
	for i := range out.Ops {
		op := out.Ops[i]
		if op.Flow.Extra != nil {
			x := *op.Flow.Extra
			op.Flow.Extra = &x
		}
		n.ops = append(n.ops, w.judge.issue(n, &op))
		if op.Kind == flow.OpCreate {
			w.judge.creating(n, &op.Flow)
		}
	}
	n.work()
	if out.Dump != 0 {
		n.startDump(out.Dump)
	}
	for i := range out.Datagrams {
		w.net.send(n, &out.Datagrams[i])
	}
	n.ready = out.Ready
	if out.Ready != engine.LeaveAsItIs {
		n.file = out.Ready == engine.Ready
	}
}

func (n *node) noted(note *engine.Note) {
	w := n.w
	switch note.Kind {
	case engine.NoteRole:
		w.trace(n, "ROLE %v -> %v: %s", note.From, note.To, note.Reason)
	case engine.NoteMismatch:
		w.stats["mismatch"]++
		w.fail("I10", "%s: the digest of %s's log differs%s", n, note.Peer, w.judge.mismatch(n, note.Peer))
	case engine.NoteRestart:
		w.stats["restart"]++
		w.trace(n, "note restart of %s: %s", note.Peer, note.Reason)
	case engine.NoteRefused:
		w.stats["refused: "+note.Reason]++
		w.trace(n, "note refused from %s: %s", note.Peer, note.Reason)
	case engine.NoteOverrun:
		w.stats["overruns noted"]++
		w.trace(n, "note overrun")
	default:
		w.trace(n, "note %d peer=%s reason=%s text=%s count=%d", note.Kind, note.Peer, note.Reason, note.Text, note.Count)
	}
}

func (n *node) hashOutput(out *engine.Output) {
	h := n.hash
	for i := range out.Ops {
		fmt.Fprintf(h, "%v%d%v%v%v", out.Ops[i].Kind, out.Ops[i].Tag, out.Ops[i].Flow.Key, out.Ops[i].Flow.Value, out.Ops[i].Flow.Extra)
	}
	for i := range out.Datagrams {
		h.Write(out.Datagrams[i].Payload)
	}
	for i := range out.Notes {
		fmt.Fprintf(h, "%v", out.Notes[i])
	}
	fmt.Fprintf(h, "%d%d", out.Dump, out.Ready)
}

// tell is keepalived's notice of the present state, on its way for d.
func (n *node) tell(d time.Duration) {
	at := n.w.now.Add(d)
	if at.Before(n.spoken) {
		at = n.spoken.Add(time.Microsecond)
	}
	n.spoken = at
	state, run := n.state, n.run
	n.w.at(at, func() {
		if n.run != run {
			return // the daemon reads the state when it starts
		}
		n.w.trace(n, "notice %v", state)
		n.input(&engine.Notice{Notice: vrrp.Notice{Source: vrrp.SourceFIFO, Kind: vrrp.Group, Name: group, State: state}})
	})
}

func (n *node) tellAddresses(d time.Duration) {
	run := n.run
	n.w.after(d, func() {
		if n.run != run {
			return
		}
		addrs := []netip.Addr{n.own.Netip(flow.IPv4), n.addr.Addr()}
		if n.vip {
			addrs = append(addrs, vip.Netip(flow.IPv4))
		}
		n.input(&engine.Addresses{Addrs: addrs})
	})
}

// setVIP brings the virtual address up or takes it down; the kernel drops what was masqueraded to it.
func (n *node) setVIP(up bool) {
	if n.vip == up {
		return
	}
	n.vip = up
	n.w.trace(n, "virtual address up=%v", up)
	if !up {
		n.kern.addressGone(vip)
	}
	n.tellAddresses(n.w.between(0, 20*time.Millisecond))
}

// become is a transition of keepalived: as MASTER the address comes up before anybody is told, else the
// address goes and the notice is written in either order.
func (n *node) become(s vrrp.State, noticeDelay time.Duration) {
	if n.off || n.state == s {
		return
	}
	n.w.trace(n, "keepalived %v -> %v, the notice %v later", n.state, s, noticeDelay)
	n.state = s
	n.setVIP(s == vrrp.Master)
	n.tell(noticeDelay)
}
