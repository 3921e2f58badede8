package engine

import (
	"bytes"
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// pair is two engines on a link, or three, each with a fake kernel that obeys at once. Its verbs say what happens,
// its wants what must have come of it; an operation that no want has named fails the test.
type pair struct {
	t    testing.TB
	now  time.Time
	a, b *fake
	all  []*fake
	lose func(from *fake, typ wire.Type) bool
	cut  func(from, to *fake) bool
	hold func(from *fake, typ wire.Type) bool // comes only with release
	says func(payload []byte) []byte          // instead of what was sent; nil: it is lost
	held []delayed
}

// delayed is a datagram that is still on its way.
type delayed struct {
	to  *fake
	typ wire.Type
	in  Input
	at  time.Time // when it was sent
}

// release delivers what was held of that type.
func (p *pair) release(typ wire.Type) {
	p.held = slices.DeleteFunc(p.held, func(d delayed) bool {
		if d.typ == typ {
			p.tell(d.to, d.in)
		}
		return d.typ == typ
	})
	p.settle()
}

// releaseTogether delivers what was held for n in one receive call.
func (p *pair) releaseTogether(n *fake) {
	var in Datagrams
	p.held = slices.DeleteFunc(p.held, func(d delayed) bool {
		if d.to == n {
			in.Datagrams = append(in.Datagrams, d.in.(*Datagrams).Datagrams...)
		}
		return d.to == n
	})
	p.tell(n, &in)
	p.settle()
}

// releaseHeld delivers what was held for that long.
func (p *pair) releaseHeld(long time.Duration) {
	for len(p.held) > 0 && p.now.Sub(p.held[0].at) >= long {
		first := p.held[0]
		p.held = p.held[1:]
		p.tell(first.to, first.in)
	}
	p.settle()
}

// fake is one node of a pair.
type fake struct {
	p          *pair
	name       string
	e          *Engine
	addr       netip.AddrPort
	kernel     map[flow.Key]flow.Flow
	written    map[flow.Key]time.Time // by ctsync, last
	mute       bool                   // operations stay unanswered
	packets    func(flow.Key) uint64  // that its kernel has counted; nil: it counts none
	refuse     map[flow.OpKind]syscall.Errno
	late       func(flow.OpKind) bool // carried out, but answered only by answer or giveUp
	failDumps  bool                   // reading the table fails at its end
	failAtOnce bool                   // with that: before it shows anything
	due        []flow.Result
	ops        []string
	notes      []Note
	ready      Readiness
	inbox      []Input
	bytes      bytes.Buffer // everything it sent
}

type option func(*Config)

func warm(c *Config) { c.Hot = false }

const purgeAfter = 10 * time.Second

func newPair(t testing.TB, options ...option) *pair {
	p := &pair{t: t, now: time.Unix(1000, 0)}
	p.a, p.b = p.join("a", options...), p.join("b", options...)
	p.advance(300 * time.Millisecond)
	t.Cleanup(func() {
		for _, n := range p.all {
			if len(n.ops) > 0 && !t.Failed() {
				t.Errorf("%s did what nobody asked about: %s", n.name, strings.Join(n.ops, ", "))
			}
		}
	})
	return p
}

// join brings one more node to the link.
func (p *pair) join(name string, options ...option) *fake {
	n := p.node(name, byte(1+len(p.all)), options)
	p.all = append(p.all, n)
	p.tell(n, &Tick{})
	return n
}

func (p *pair) node(name string, id byte, options []option) *fake {
	c := Config{Node: name, Epoch: wire.Epoch{id}, Cluster: "c", Group: "G", Hot: true, PurgeTimeout: purgeAfter,
		PayloadLimit: 1400, TableMax: 10000, Seed: uint64(id), Random: rand.New(rand.NewSource(int64(id)))}
	for _, o := range options {
		o(&c)
	}
	return &fake{p: p, name: name, e: New(c, rand.New(rand.NewSource(int64(id)))), kernel: map[flow.Key]flow.Flow{}, written: map[flow.Key]time.Time{},
		addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, id}), 3780)}
}

// tell gives one input, and carries out what comes of it.
func (p *pair) tell(n *fake, in Input) {
	out := n.e.Step(p.now, in)
	n.ready = out.Ready
	n.notes = append(n.notes, out.Notes...)
	var res []flow.Result
	for i := range out.Ops {
		r := n.obey(&out.Ops[i])
		if n.late != nil && n.late(r.Kind) {
			n.due = append(n.due, r)
			continue
		}
		res = append(res, r)
	}
	if len(res) > 0 {
		n.inbox = append(n.inbox, &KernelResults{Results: res})
	}
	if out.Dump != 0 {
		d := &KernelDump{Dump: out.Dump, Done: true, Failed: n.failDumps}
		for _, f := range n.kernel {
			if n.failDumps && n.failAtOnce {
				break
			}
			d.Flows = append(d.Flows, f)
		}
		slices.SortFunc(d.Flows, func(a, b flow.Flow) int { return strings.Compare(a.Key.String(), b.Key.String()) })
		n.inbox = append(n.inbox, d)
	}
	for _, d := range out.Datagrams {
		n.bytes.Write(d.Payload)
		if p.lose != nil && p.lose(n, wire.Type(d.Payload[3])) {
			continue
		}
		for _, o := range p.all {
			if o != n && (!d.To.IsValid() || d.To == o.addr) && (p.cut == nil || !p.cut(n, o)) {
				p.carry(n, o, d)
			}
		}
	}
}

func (p *pair) carry(from, to *fake, d Datagram) {
	d.Payload, d.From = bytes.Clone(d.Payload), from.addr
	if p.says != nil {
		if d.Payload = p.says(d.Payload); d.Payload == nil {
			return
		}
	}
	in := &Datagrams{Datagrams: []Datagram{d}}
	if typ := wire.Type(d.Payload[3]); p.hold != nil && p.hold(from, typ) {
		p.held = append(p.held, delayed{to, typ, in, p.now})
		return
	}
	to.inbox = append(to.inbox, in)
}

// obey is the fake kernel.
func (n *fake) obey(op *flow.Op) flow.Result {
	res := flow.Result{Tag: op.Tag, Kind: op.Kind}
	if n.mute {
		res.Errno = flow.Unanswered
		return res
	}
	if errno := n.refuse[op.Kind]; errno != 0 {
		n.ops = append(n.ops, "refused "+nameOf(&op.Flow.Key))
		res.Errno = errno
		return res
	}
	held, there := n.kernel[op.Flow.Key]
	switch op.Kind {
	case flow.OpCreate:
		n.ops = append(n.ops, "create "+nameOf(&op.Flow.Key))
		if there || n.holder(&op.Flow) != nil {
			res.Errno = syscall.EEXIST
			break
		}
		if n.clashes(&op.Flow) {
			res.Errno = syscall.EBUSY
			break
		}
		if x := op.Flow.Extra; x != nil && x.HasMaster {
			if _, ok := n.kernel[x.Master]; !ok {
				res.Errno = syscall.ENOENT
				break
			}
		}
		n.kernel[op.Flow.Key], n.written[op.Flow.Key] = op.Flow, n.p.now
	case flow.OpUpdate:
		n.ops = append(n.ops, "update "+nameOf(&op.Flow.Key))
		if !there {
			res.Errno = syscall.ENOENT
			break
		}
		if held.Status&sticky&^op.Flow.Status != 0 {
			res.Errno = syscall.EBUSY
			break
		}
		op.Flow.Reply = held.Reply
		op.Flow.Extra = labelsAfter(held.Extra, op.Flow.Extra)
		n.kernel[op.Flow.Key], n.written[op.Flow.Key] = op.Flow, n.p.now
	case flow.OpDelete:
		n.ops = append(n.ops, "delete "+nameOf(&op.Flow.Key))
		if !there {
			res.Errno = syscall.ENOENT
		}
		delete(n.kernel, op.Flow.Key)
	case flow.OpGet:
		res.Flow = held
		if n.packets != nil {
			res.Packets = n.packets(op.Flow.Key)
		}
		if !there {
			res.Errno = syscall.ENOENT
		}
	case flow.OpGetReply:
		if h := n.holder(&op.Flow); h != nil {
			res.Flow = *h
			break
		}
		res.Errno = syscall.ENOENT
	}
	return res
}

// labelsAfter is what is rare of an entry that had held, after an update with x: labels stay unless other ones are told, or none.
func labelsAfter(held, x *flow.Extra) *flow.Extra {
	if held == nil || held.Labels == [16]byte{} || x != nil && (x.LabelsCleared || x.Labels != [16]byte{}) {
		return x
	}
	after := flow.Extra{}
	if x != nil {
		after = *x
	}
	after.Labels = held.Labels
	return &after
}

// answer has n learn what came of the operations that are late.
func (n *fake) answer() {
	n.late = nil
	n.inbox = append(n.inbox, &KernelResults{Results: n.due})
	n.due = nil
}

// giveUp has n learn that they stay unanswered.
func (n *fake) giveUp() {
	for i := range n.due {
		n.due[i] = flow.Result{Tag: n.due[i].Tag, Kind: n.due[i].Kind, Errno: flow.Unanswered}
	}
	n.answer()
}

func everything(flow.OpKind) bool { return true }

// holder is the entry that has f's reply tuple.
func (n *fake) holder(f *flow.Flow) *flow.Flow {
	for _, h := range n.kernel {
		if h.Reply == f.Reply {
			return &h
		}
	}
	return nil
}

// clashes says that the kernel expects something that f, an expectation, would meet too.
func (n *fake) clashes(f *flow.Flow) bool {
	for k := range n.kernel {
		open := k
		open.SrcL4 = f.SrcL4
		if f.Kind == flow.KindExpect && f.L4 == flow.GRE && open == f.Key {
			return true
		}
	}
	return false
}

// settle delivers what is under way, without time passing.
func (p *pair) settle() {
	for range 1000 {
		i := slices.IndexFunc(p.all, func(n *fake) bool { return len(n.inbox) > 0 })
		if i < 0 {
			return
		}
		n := p.all[i]
		in := n.inbox[0]
		n.inbox = n.inbox[1:]
		p.tell(n, in)
	}
	p.t.Fatal("the two talk without end")
}

// advance lets time pass.
func (p *pair) advance(d time.Duration) {
	end := p.now.Add(d)
	for {
		p.settle()
		next := end
		for _, n := range p.all {
			if at := n.e.Deadline(); at.Before(next) {
				next = at
			}
		}
		if !next.Before(end) {
			p.now = end
			return
		}
		if next.After(p.now) {
			p.now = next
		} else {
			p.now = p.now.Add(50 * time.Microsecond)
		}
		for _, n := range p.all {
			if !n.e.Deadline().After(p.now) {
				p.tell(n, &Tick{})
			}
		}
	}
}

func (p *pair) notice(n *fake, s vrrp.State) {
	p.tell(n, &Notice{vrrp.Notice{Source: vrrp.SourceFIFO, Kind: vrrp.Group, Name: "G", State: s}})
}

// event tells n of its kernel's entry f.
func (p *pair) event(n *fake, kind flow.EventKind, f flow.Flow) {
	has := flow.HasReply | flow.HasStatus | flow.HasProtoInfo | flow.HasMark | flow.HasTimeout
	if kind == flow.EventDestroy {
		delete(n.kernel, f.Key)
	} else {
		n.kernel[f.Key] = f
	}
	p.hears(n, kind, f, has)
}

// hears tells n what its kernel said of f, which need not be so any more.
func (p *pair) hears(n *fake, kind flow.EventKind, f flow.Flow, has flow.Has) {
	p.tell(n, &KernelEvents{Events: []flow.Event{{Kind: kind, Flow: f, Has: has}}})
}

// evicts takes n's addresses away, and f from its kernel with them.
func (p *pair) evicts(n *fake, f flow.Flow) {
	p.tell(n, &Addresses{})
	p.event(n, flow.EventDestroy, f)
}

// packet makes f in n's kernel.
func (p *pair) packet(n *fake, f flow.Flow) flow.Flow {
	p.event(n, flow.EventNew, f)
	return f
}

// conn is the connection number i, translated to nat unless that is zero.
func conn(i int, nat flow.Addr) flow.Flow {
	k := flow.Key{L3: flow.IPv4, L4: flow.TCP}
	k.Src, k.Dst = flow.Addr{10, 0, 0, 1}, flow.Addr{198, 18, 0, 1}
	k.SrcL4, k.DstL4 = uint16(i), 443
	f := flow.Flow{Key: k}
	f.Reply, f.Timeout, f.State = k.Inverse(), 300, flow.TCPEstablished
	f.Status = flow.Confirmed | flow.SeenReply | flow.Assured
	if nat != (flow.Addr{}) {
		f.Reply.Dst = nat
		f.Status |= flow.SrcNAT | flow.SrcNATDone
	}
	return f
}

var noNAT flow.Addr

func nameOf(k *flow.Key) string { return fmt.Sprint(k.SrcL4) }

// wantOps names every operation of n since the last time, in any order.
func (n *fake) wantOps(want ...string) {
	n.p.t.Helper()
	got := slices.Clone(n.ops)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		n.p.t.Fatalf("%s: operations %q, want %q", n.name, got, want)
	}
	n.ops = nil
}

func (n *fake) wantRole(r Role) {
	n.p.t.Helper()
	if got := n.e.Status().Role; got != r {
		n.p.t.Fatalf("%s is %v, want %v", n.name, got, r)
	}
}

// wantLists says how many flows n's own and the leader's cache have.
func (n *fake) wantLists(internal, external int) {
	n.p.t.Helper()
	if s := n.e.Status(); s.Internal.Active != internal || s.External.Active != external {
		n.p.t.Fatalf("%s lists %d own and %d external flows, want %d and %d", n.name, s.Internal.Active, s.External.Active, internal, external)
	}
}

// wantClosed says that n's kernel has a connection as closed, with so many seconds left at most.
func (n *fake) wantClosed(k flow.Key, left uint32) {
	n.p.t.Helper()
	if got := n.kernel[k]; got.State != flow.TCPTimeWait || got.Timeout > left {
		n.p.t.Fatalf("%s: %+v", n.name, got)
	}
}

func (n *fake) wantReady(r Readiness) {
	n.p.t.Helper()
	if n.ready != r {
		n.p.t.Fatalf("%s is %v, want %v: %s", n.name, n.ready, r, n.e.Status().Why)
	}
}

// wantNote takes the notes of that kind, which must be so many, and drops them.
func (n *fake) wantNote(kind NoteKind, count int) {
	n.p.t.Helper()
	got := 0
	n.notes = slices.DeleteFunc(n.notes, func(x Note) bool {
		if x.Kind == kind {
			got++
		}
		return x.Kind == kind
	})
	if got != count {
		n.p.t.Fatalf("%s: %d notes of kind %d, want %d", n.name, got, kind, count)
	}
}

func (n *fake) wantKernel(want ...int) {
	n.p.t.Helper()
	got := []int{}
	for k := range n.kernel {
		got = append(got, int(k.SrcL4))
	}
	slices.Sort(got)
	if want == nil {
		want = []int{}
	}
	if !slices.Equal(got, want) {
		n.p.t.Fatalf("%s's kernel has %d, want %d", n.name, got, want)
	}
}

// activeAndStandby has a active and b in sync with it.
func activeAndStandby(t testing.TB, options ...option) *pair {
	p := newPair(t, options...)
	p.notice(p.a, vrrp.Master)
	p.notice(p.b, vrrp.Backup)
	p.advance(time.Second)
	p.a.wantRole(Active)
	p.b.wantReady(Ready)
	return p
}

func (p *pair) swap(from, to *fake) {
	p.move(from, to)
	p.advance(time.Second)
}

// move is a swap at whose beginning time stands still.
func (p *pair) move(from, to *fake) {
	p.notice(to, vrrp.Master)
	p.notice(from, vrrp.Backup)
	p.settle()
}

// ranOut tells n that its kernel's entry f ran out, which is no more there.
func (p *pair) ranOut(n *fake, f flow.Flow) {
	p.hears(n, flow.EventDestroy, f, 0)
	p.settle()
}

// aged has time pass in which no packet meets n's kernel.
func (p *pair) aged(n *fake, d time.Duration) {
	for range d / time.Second {
		p.advance(time.Second)
		for k, f := range n.kernel {
			f.Timeout--
			n.kernel[k] = f
		}
	}
}

// purged has n's kernel aged until the purge has emptied it.
func (p *pair) purged(n *fake) {
	p.t.Helper()
	for end := p.now.Add(6 * purgeAfter); len(n.kernel) > 0 && p.now.Before(end); {
		p.aged(n, time.Second)
	}
	n.wantKernel()
}
