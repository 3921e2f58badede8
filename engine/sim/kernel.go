package sim

import (
	"encoding/binary"
	"slices"
	"syscall"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// kernel is a model of one node's connection tracking: what matters of it for replication. A tuple is taken
// once, in whichever direction; what is written by ctnetlink emits no event and is not masqueraded (it
// survives the loss of an address); timeouts are refreshed without an event.
type kernel struct {
	n      *node
	table  map[flow.Key]*kentry
	tuples map[tupleOf]*kentry
	max    int
	nextID uint32

	events   []flow.Event
	lost     bool
	queueMax int
	waiting  bool // a delivery is scheduled

	// What judges need to know of entries that are gone.
	gone map[uint32]ending // by mark
}

// ending says how the entry of one incarnation left this kernel.
type ending struct {
	at  time.Time
	how string
}

type tupleOf struct {
	flow.Tuple
	l4 uint8
}

// kentry is one entry of the kernel's table. Its mark names the incarnation: no two first packets make the
// same.
type kentry struct {
	f        flow.Flow
	first    uint32 // its mark when it came
	expires  time.Time
	masq     bool // made by a masquerade rule: goes with its address
	injected bool // made by ctsync and not met by a packet since
	liberal  bool
	stuck    uint32    // bits that the kernel never forgets: of an incarnation before, over which ctsync wrote this one, or that an update lacked
	made     time.Time // by a packet
	seen     time.Time // last packet
	replied  time.Time // the first reply, if it met this node
	asked    time.Time // when ctsync was last told of it as an answer
	window   int       // how far the connection was at the last packet

	led   wire.Epoch // the leader when ctsync wrote it last
	ledTo uint64     // and how much of its log was known
}

// labelled is what the rules label incarnation mark with: one of four, each differently.
func labelled(mark uint32) (labels [16]byte) {
	if mark%4 == 0 {
		binary.LittleEndian.PutUint32(labels[:], mark)
	}
	return labels
}

func labelsOf(f *flow.Flow) (labels [16]byte) {
	if f.Extra != nil {
		labels = f.Extra.Labels
	}
	return labels
}

func (e *kentry) label(labels [16]byte) {
	var x flow.Extra
	if e.f.Extra != nil {
		x = *e.f.Extra
	}
	x.Labels = labels
	e.f.Extra = &x
	if x == (flow.Extra{}) {
		e.f.Extra = nil
	}
}

func newKernel(n *node) *kernel {
	return &kernel{
		n: n, table: map[flow.Key]*kentry{}, tuples: map[tupleOf]*kentry{}, max: 100000, queueMax: 2000,
		gone: map[uint32]ending{},
	}
}

func original(k *flow.Key) tupleOf             { return tupleOf{k.Tuple, k.L4} }
func reply(k *flow.Key, v *flow.Value) tupleOf { return tupleOf{v.Reply, k.L4} }

func (k *kernel) free(key *flow.Key, v *flow.Value) bool {
	return k.tuples[original(key)] == nil && k.tuples[reply(key, v)] == nil
}

func (k *kernel) add(e *kentry) {
	k.nextID++
	e.f.ID, e.first = k.nextID, e.f.Mark
	k.table[e.f.Key] = e
	k.tuples[original(&e.f.Key)] = e
	k.tuples[reply(&e.f.Key, &e.f.Value)] = e
	delete(k.gone, e.f.Mark)
	k.expireLater(e)
}

func (k *kernel) remove(e *kentry, how string) {
	delete(k.table, e.f.Key)
	delete(k.tuples, original(&e.f.Key))
	delete(k.tuples, reply(&e.f.Key, &e.f.Value))
	k.gone[e.f.Mark] = ending{k.n.w.now, how}
}

// unread says that the end of that incarnation waits to be told, or was lost.
func (k *kernel) unread(mark uint32) bool {
	return k.lost || slices.ContainsFunc(k.events, func(ev flow.Event) bool { return ev.Kind == flow.EventDestroy && ev.Flow.Mark == mark })
}

// destroy removes e as the kernel does, with an event.
func (k *kernel) destroy(e *kentry, how string) {
	if k.table[e.f.Key] != e {
		return
	}
	k.remove(e, how)
	k.n.w.trace(k.n, "kernel destroys %v mark %d: %s", e.f.Key, e.f.Mark, how)
	e.f.Status |= flow.Dying
	k.emit(flow.EventDestroy, e)
}

func (k *kernel) expireLater(e *kentry) {
	k.n.w.at(e.expires, func() {
		if k.table[e.f.Key] != e || k.n.kern != k {
			return
		}
		if e.expires.After(k.n.w.now) {
			k.expireLater(e)
			return
		}
		k.n.w.judge.ranDown(k.n, e)
		k.destroy(e, "expired")
	})
}

func (k *kernel) setTimeout(e *kentry, d time.Duration) {
	was := e.expires
	e.expires = k.n.w.now.Add(d)
	if e.expires.Before(was) && k.table[e.f.Key] == e {
		k.expireLater(e)
	}
}

// now is e as a message of the kernel shows it.
func (k *kernel) shown(e *kentry) flow.Flow {
	f := e.f
	f.Timeout = uint32(max(e.expires.Sub(k.n.w.now), 0) / time.Second)
	if e.liberal && f.L4 == flow.TCP {
		f.TCPFlags[0], f.TCPFlags[1] = f.TCPFlags[0]|flow.TCPFlagBeLiberal, f.TCPFlags[1]|flow.TCPFlagBeLiberal
	}
	if f.Extra != nil {
		x := *f.Extra
		f.Extra = &x
	}
	return f
}

func (k *kernel) emit(kind flow.EventKind, e *kentry) {
	if k.n.eng == nil {
		return
	}
	ev := flow.Event{Kind: kind, Flow: k.shown(e), Has: flow.HasMark | flow.HasStatus | flow.HasReply | flow.HasProtoInfo}
	if kind != flow.EventDestroy || ev.Flow.Timeout > 0 { // ctnetlink_dump_timeout with skip_zero
		ev.Has |= flow.HasTimeout
	}
	if kind != flow.EventNew {
		ev.Flow.Extra = nil
	}
	if len(k.events) >= k.queueMax {
		k.lost = true
		k.deliverLater()
		return
	}
	k.events = append(k.events, ev)
	k.deliverLater()
}

func (k *kernel) deliverLater() {
	if k.waiting {
		return
	}
	k.waiting = true
	k.n.w.after(k.n.eventDelay(), func() {
		k.waiting = false
		if k.n.kern != k {
			return
		}
		if k.n.eng == nil {
			k.events, k.lost = nil, false
			return
		}
		if k.n.frozen() {
			k.deliverLater()
			return
		}
		k.n.deliverEvents()
	})
}

// addressGone destroys what is masqueraded to a.
func (k *kernel) addressGone(a flow.Addr) {
	for _, e := range k.sorted() {
		if e.masq && e.f.Reply.Dst == a {
			k.destroy(e, "evicted")
		}
	}
}

// sorted is the table in the order of its hash, which is a dump's.
func (k *kernel) sorted() []*kentry {
	all := make([]*kentry, 0, len(k.table))
	for _, e := range k.table {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *kentry) int {
		x, y := a.f.Key.Hash(dumpOrder), b.f.Key.Hash(dumpOrder)
		if x < y {
			return -1
		}
		return 1
	})
	return all
}

const dumpOrder = 7

// do carries out one operation.
func (k *kernel) do(op *flow.Op) flow.Result {
	res := flow.Result{Tag: op.Tag, Kind: op.Kind}
	switch op.Kind {
	case flow.OpCreate:
		res.Errno = k.create(&op.Flow)
	case flow.OpUpdate:
		res.Errno = k.update(&op.Flow)
	case flow.OpDelete:
		res.Errno = k.del(&op.Flow)
	case flow.OpGet, flow.OpGetReply:
		t := original(&op.Flow.Key)
		if op.Kind == flow.OpGetReply {
			t = reply(&op.Flow.Key, &op.Flow.Value)
		}
		e := k.tuples[t]
		if e == nil {
			res.Errno = syscall.ENOENT
			break
		}
		res.Flow, e.asked = k.shown(e), k.n.w.now
	}
	return res
}

func (k *kernel) create(f *flow.Flow) syscall.Errno {
	switch {
	case f.Timeout == 0:
		return syscall.EINVAL
	case !k.free(&f.Key, &f.Value):
		return syscall.EEXIST
	case len(k.table) >= k.max:
		return syscall.ENOMEM
	case f.Extra != nil && f.Extra.HasMaster && k.table[f.Extra.Master] == nil:
		return syscall.ENOENT
	}
	e := &kentry{f: *f, injected: true, liberal: true, expires: k.n.w.now.Add(time.Duration(f.Timeout) * time.Second)}
	e.led, e.ledTo = k.n.doing.led, k.n.doing.ledTo
	e.f.Extra = nil
	if x := f.Extra; x != nil && (x.HasMaster || x.Labels != [16]byte{}) {
		e.f.Extra = &flow.Extra{HasMaster: x.HasMaster, Labels: x.Labels}
		if x.HasMaster {
			e.f.Extra.Master = x.Master
		}
	}
	e.f.Status = f.Status&flow.SettableStatus | flow.Confirmed | natBits(f)
	k.add(e)
	return 0
}

func natBits(f *flow.Flow) (bits uint32) {
	if _, _, ok := f.SourceNAT(); ok {
		bits |= flow.SrcNAT | flow.SrcNATDone
	}
	if _, _, ok := f.DestNAT(); ok {
		bits |= flow.DstNAT | flow.DstNATDone
	}
	return bits
}

func (k *kernel) update(f *flow.Flow) syscall.Errno {
	const sticky = flow.SeenReply | flow.Assured
	e := k.tuples[original(&f.Key)]
	if e == nil || e.f.Key != f.Key {
		return syscall.ENOENT
	}
	if more := e.f.Status & sticky &^ f.Status; more != 0 {
		e.stuck |= more
		return syscall.EBUSY
	}
	k.n.w.judge.updating(k.n, e, f)
	e.f.Status |= f.Status & flow.SettableStatus
	if f.Mark != e.f.Mark {
		e.stuck |= e.f.Status & sticky
		k.gone[e.f.Mark] = ending{k.n.w.now, "became another"}
		delete(k.gone, f.Mark)
	}
	if x := f.Extra; x != nil && (x.Labels != [16]byte{} || x.LabelsCleared) {
		e.label(x.Labels)
	}
	e.f.Mark, e.f.State, e.liberal = f.Mark, f.State, true
	e.led, e.ledTo = k.n.doing.led, k.n.doing.ledTo
	k.setTimeout(e, time.Duration(f.Timeout)*time.Second)
	return 0
}

func (k *kernel) del(f *flow.Flow) syscall.Errno {
	e := k.tuples[original(&f.Key)]
	if e == nil || e.f.Key != f.Key || f.ID != 0 && f.ID != e.f.ID {
		return syscall.ENOENT
	}
	k.n.w.judge.deleting(k.n, e)
	k.remove(e, "deleted by ctsync")
	return 0
}
