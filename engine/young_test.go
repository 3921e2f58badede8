package engine

import (
	"strings"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// after is a pair with sync-after at both nodes, so that counts of the own cache are of what is told of.
func after(d time.Duration) option { return func(c *Config) { c.Filter.After = d } }

// wantYoung fails the test unless the status counts that many, and as many there are.
func (n *fake) wantYoung(want int) {
	n.p.t.Helper()
	there := 0
	for r := ref(1); r <= n.e.tbl.Top(); r++ {
		if n.e.tbl.Used(r) && n.e.isYoung(r) {
			there++
		}
	}
	if got := n.e.Status().Young; got != want || there != want {
		n.p.t.Errorf("%d young flows and %d in the status, want %d", there, got, want)
	}
}

func TestYoungFlowsWait(t *testing.T) {
	p := activeAndStandby(t, after(5*time.Second))
	short, long, closed := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT)), p.packet(p.a, conn(3, noNAT))
	p.advance(4 * time.Second)
	p.b.wantOps()
	p.a.wantYoung(3)
	p.event(p.a, flow.EventDestroy, short)
	p.a.wantYoung(2)
	long.Mark = 7
	p.event(p.a, flow.EventUpdate, long)
	closed.State = flow.TCPTimeWait
	p.event(p.a, flow.EventUpdate, closed)
	p.advance(900 * time.Millisecond)
	p.a.wantLists(0, 0)
	p.advance(300 * time.Millisecond)
	p.b.wantOps("create 2")
	p.a.wantYoung(0)
	if got := p.b.kernel[long.Key].Mark; got != 7 {
		t.Errorf("mark %d: a change while it waited is lost", got)
	}
	long.State = flow.TCPFinWait
	p.event(p.a, flow.EventUpdate, long)
	p.advance(100 * time.Millisecond)
	p.b.wantOps("update 2")
	p.event(p.a, flow.EventDestroy, closed)
	p.event(p.a, flow.EventDestroy, long)
	p.advance(time.Second)
	p.b.wantOps("delete 2")
	if n := p.a.e.Inspect().Entries; n > 1 {
		t.Errorf("%d entries are left", n) // a tombstone
	}
}

// TestYoungFlowsReborn: the tuple of one that waits is used again; each has its own time.
func TestYoungFlowsReborn(t *testing.T) {
	p := activeAndStandby(t, after(5*time.Second))
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(3 * time.Second)
	p.event(p.a, flow.EventDestroy, f)
	p.packet(p.a, f)
	p.a.wantYoung(1)
	p.advance(3 * time.Second)
	p.b.wantOps()
	p.packet(p.a, f) // its end is lost
	p.a.wantYoung(1)
	p.event(p.a, flow.EventDestroy, f)
	p.a.wantYoung(0)
	p.packet(p.a, f)
	p.advance(3 * time.Second)
	p.b.wantOps()
	p.advance(2200 * time.Millisecond)
	p.b.wantOps("create 1")
}

// TestYoungFlowsAtAnOrderlyChange: nothing is lost by it.
func TestYoungFlowsAtAnOrderlyChange(t *testing.T) {
	p := activeAndStandby(t, after(time.Hour))
	p.packet(p.a, conn(1, noNAT))
	closed := conn(2, noNAT)
	closed.State = flow.TCPTimeWait
	p.packet(p.a, closed)
	p.advance(time.Second)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.b.wantRole(Active)
	p.a.wantYoung(0)
	p.b.wantYoung(0)
	p.b.wantKernel(1)
	p.a.ops, p.b.ops = nil, nil
}

// TestYoungFlowsOfWhoStops are told of until each peer that is heard has them.
func TestYoungFlowsOfWhoStops(t *testing.T) {
	p := activeAndStandby(t, after(time.Hour))
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	if p.a.e.Untold() {
		t.Error("what waits counts as untold before it is told of")
	}
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.tell(p.a, &Closing{})
	p.advance(500 * time.Millisecond)
	if !p.a.e.Untold() || p.b.e.Untold() {
		t.Error("untold is what a standby has not got, and not what it has")
	}
	p.lose = nil
	p.advance(time.Second)
	if p.a.e.Untold() {
		t.Error("still untold")
	}
	p.b.wantOps("create 1")
	p.cut = func(_, _ *fake) bool { return true }
	p.packet(p.a, conn(2, noNAT))
	p.tell(p.a, &Closing{})
	p.advance(5 * time.Second)
	if p.a.e.Untold() {
		t.Error("who is not heard is waited for")
	}
}

// TestYoungFlowsAtAStandby: what packets make before the notice comes does not wait, nor what the table shows.
func TestYoungFlowsAtAStandby(t *testing.T) {
	p := activeAndStandby(t, after(time.Hour))
	p.packet(p.b, conn(1, noNAT))
	p.b.wantLists(1, 0)
	found := conn(2, noNAT)
	p.a.kernel[found.Key] = found
	waits := p.packet(p.a, conn(3, noNAT))
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.a.wantLists(1, 0)
	p.a.wantYoung(1)
	delete(p.a.kernel, waits.Key) // and its event is lost
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.a.wantYoung(0)
	p.notice(p.a, vrrp.Backup)
	p.a.wantLists(1, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestYoungMasters: an expectation takes its master along, and first.
func TestYoungMasters(t *testing.T) {
	p := activeAndStandby(t, after(time.Hour), func(c *Config) { c.Filter.AllHelpers = true })
	master := p.packet(p.a, conn(1, noNAT))
	x := flow.Flow{Key: conn(9, noNAT).Key, Extra: &flow.Extra{HasMaster: true, Master: master.Key}}
	x.Kind = flow.KindExpect
	p.packet(p.a, x)
	p.advance(time.Second)
	if len(p.b.ops) < 2 || p.b.ops[0] != "create 1" || p.b.ops[1] != "create 9" {
		t.Errorf("%q", p.b.ops)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestSyncAfterIsChanged at a running node: shorter lets go of what waits.
func TestSyncAfterIsChanged(t *testing.T) {
	p := activeAndStandby(t, after(time.Hour))
	p.packet(p.a, conn(1, noNAT))
	p.advance(10 * time.Second)
	p.tell(p.a, &Filter{flow.Filter{After: 12 * time.Second}})
	p.advance(time.Second)
	p.b.wantOps()
	p.advance(1200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.packet(p.a, conn(2, noNAT))
	p.advance(time.Second)
	p.tell(p.a, &Filter{})
	p.advance(time.Second)
	p.b.wantOps("create 2")
}

// packets is sync-after-packets besides sync-after, at both nodes.
func packets(n uint64, d time.Duration) option {
	return func(c *Config) { c.Filter.After, c.Filter.Packets = d, n }
}

// TestBusyFlows are told of before they are old, as soon as it is seen that enough packets have passed: after 1 s, 2 s, 4 s.
func TestBusyFlows(t *testing.T) {
	p := activeAndStandby(t, packets(100, time.Hour))
	busy, slow, quiet := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT)), p.packet(p.a, conn(3, noNAT))
	sent := map[flow.Key]uint64{busy.Key: 100, slow.Key: 99}
	p.a.packets = func(k flow.Key) uint64 { return sent[k] }
	p.advance(900 * time.Millisecond)
	p.b.wantOps()
	p.advance(300 * time.Millisecond)
	p.b.wantOps("create 1")
	p.a.wantYoung(2)
	sent[slow.Key] = 1000
	p.advance(700 * time.Millisecond)
	p.b.wantOps()
	p.advance(300 * time.Millisecond)
	p.b.wantOps("create 2")
	p.event(p.a, flow.EventDestroy, quiet)
	p.a.wantYoung(0)
	again := p.packet(p.a, quiet) // it has none of the one before
	p.advance(500 * time.Millisecond)
	sent[again.Key] = 500
	p.advance(400 * time.Millisecond)
	p.b.wantOps()
	p.advance(300 * time.Millisecond)
	p.b.wantOps("create 3")
}

// TestBusyFlowsThatNobodyCounts wait for their age, and are asked for seldom.
func TestBusyFlowsThatNobodyCounts(t *testing.T) {
	p := activeAndStandby(t, packets(1, 20*time.Second))
	f := p.packet(p.a, conn(1, noNAT))
	asked := p.a.e.writer.issued
	p.advance(19 * time.Second)
	p.b.wantOps()
	if n := p.a.e.writer.issued - asked; n != 5 { // after 1, 2, 4, 8 and 16 s
		t.Errorf("asked for %d times", n)
	}
	p.advance(1200 * time.Millisecond)
	p.b.wantOps("create 1")
	asked = p.a.e.writer.issued
	p.advance(time.Minute)
	if n := p.a.e.writer.issued - asked; n != 0 {
		t.Errorf("asked for %d times more", n)
	}
	p.b.ops = nil
	p.event(p.a, flow.EventDestroy, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("delete 1")
}

// TestBusyFlowsInGreatNumber: no Step asks for more than a batch.
func TestBusyFlowsInGreatNumber(t *testing.T) {
	p := activeAndStandby(t, packets(10, time.Hour))
	p.a.packets = func(flow.Key) uint64 { return 10 }
	const flows = 1000
	for i := range flows {
		p.packet(p.a, conn(i+1, noNAT))
	}
	p.advance(2 * time.Second)
	p.b.wantLists(0, flows)
	p.a.wantYoung(0)
	p.b.ops = nil
}

func states(s ...uint8) option {
	return func(c *Config) {
		c.Filter.SomeStates = true
		for _, n := range s {
			c.Filter.States[n] = true
		}
	}
}

// TestStates: a flow is told of from the first of the states on, with all that it has, and for the others it ends with them.
func TestStates(t *testing.T) {
	p := activeAndStandby(t, states(flow.TCPEstablished, flow.TCPFinWait))
	f := conn(1, noNAT)
	f.State, f.Extra = flow.TCPSynSent, &flow.Extra{Labels: [16]byte{5}}
	p.packet(p.a, f)
	p.advance(time.Second)
	p.b.wantOps()
	f.State = flow.TCPEstablished
	p.a.kernel[f.Key] = f
	event := f
	event.Extra = nil // labels have not changed
	p.hears(p.a, flow.EventUpdate, event, flow.HasReply|flow.HasStatus|flow.HasProtoInfo|flow.HasTimeout)
	p.advance(time.Second)
	if x := p.b.kernel[f.Key].Extra; x == nil || x.Labels[0] != 5 {
		t.Errorf("the labels of before are lost: %+v", x)
	}
	p.b.ops = nil
	marked := f
	marked.Mark = 3
	p.hears(p.a, flow.EventUpdate, marked, flow.HasReply|flow.HasStatus|flow.HasMark|flow.HasTimeout)
	p.advance(time.Second)
	p.b.wantOps("update 1") // no state is in it, and it is established still
	f.State = flow.TCPTimeWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(time.Second)
	p.b.wantOps("delete 1")
	f.State = flow.TCPEstablished
	p.event(p.a, flow.EventNew, f)
	p.advance(time.Second)
	p.b.wantOps("create 1")
	p.event(p.a, flow.EventDestroy, f)
	p.advance(time.Second)
	p.b.wantOps("delete 1")
}

// TestAChangedFilterIsADiff: what it refuses now is taken back and what it accepts now is told of, and of the rest nothing.
func TestAChangedFilterIsADiff(t *testing.T) {
	p := activeAndStandby(t)
	for i := 1; i <= 300; i++ {
		f := conn(i, noNAT)
		if i <= 10 {
			f.L4, f.State = flow.UDP, 0
		}
		p.packet(p.a, f)
	}
	p.advance(time.Second)
	p.b.wantLists(0, 300)
	epoch := p.a.e.cfg.Epoch
	last, _ := p.a.e.Live()
	tcp := flow.Filter{Some: true}
	tcp.Protocols[flow.TCP] = true
	p.tell(p.a, &Filter{tcp})
	p.advance(time.Second)
	p.b.wantLists(0, 290)
	p.tell(p.a, &Filter{})
	p.advance(time.Second)
	p.b.wantLists(0, 300)
	if now, _ := p.a.e.Live(); now-last != 20 {
		t.Errorf("%d changes in the log for 10 flows taken back and told of again", now-last)
	}
	if p.a.e.cfg.Epoch != epoch || p.b.e.Status().Peers[0].Restarts != 0 {
		t.Error("it was a restart")
	}
	p.b.wantReady(Ready)
	p.a.ops, p.b.ops = nil, nil
}

// TestCopiesTakenBackGo: what the leader takes back leaves a standby's kernel after purge-timeout, unless a packet met it
// meanwhile; what that kernel has of its own, and its filter refuses, stays.
func TestCopiesTakenBackGo(t *testing.T) {
	tcp := flow.Filter{Some: true}
	tcp.Protocols[flow.TCP] = true
	for _, who := range []string{"leader", "standby, leader", "leader, standby"} {
		p := activeAndStandby(t)
		udp := func(n *fake, i int) flow.Flow {
			f := conn(i, noNAT)
			f.L4, f.State = flow.UDP, 0
			f.Reply = f.Inverse()
			return p.packet(n, f)
		}
		udp(p.a, 1)
		met := udp(p.a, 2)
		if strings.Contains(who, "standby") {
			udp(p.b, 3)
		}
		p.packet(p.a, conn(4, noNAT))
		p.advance(3 * purgeAfter)
		p.lose = func(_ *fake, typ wire.Type) bool { return typ == wire.Beat } // that it compares its table
		for _, n := range strings.Split(who, ", ") {
			p.tell(map[string]*fake{"leader": p.a, "standby": p.b}[n], &Filter{tcp})
			p.advance(100 * time.Millisecond)
		}
		p.lose = nil
		for range 3 * purgeAfter / (5 * time.Second) {
			for k, f := range p.b.kernel {
				f.Timeout -= 5
				p.b.kernel[k] = f
			}
			if f, ok := p.b.kernel[met.Key]; ok { // a packet
				f.Timeout = 1000
				p.b.kernel[met.Key] = f
			}
			p.advance(5 * time.Second)
		}
		left := []int{2, 4}
		if strings.Contains(who, "standby") {
			left = []int{2, 3, 4}
		}
		p.b.wantKernel(left...)
		p.b.wantNote(NotePurged, 1)
		p.a.ops, p.b.ops = nil, nil
	}
}

// filtered gives n another filter without the others hearing that it compares its table.
func (p *pair) filtered(n *fake, f flow.Filter) {
	p.lose = func(_ *fake, typ wire.Type) bool { return typ == wire.Beat }
	p.tell(n, &Filter{f})
	p.advance(50 * time.Millisecond)
	p.lose = nil
}

// TestTakenBackWhileDumpsFail goes all the same: a dump that fails shows not everything.
func TestTakenBackWhileDumpsFail(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(3 * purgeAfter)
	p.b.failDumps, p.b.failAtOnce = true, true
	p.filtered(p.a, flow.Filter{Some: true})
	p.b.failDumps = false
	p.purged(p.b)
	p.a.ops, p.b.ops = nil, nil
}

// TestDifferentFilters: each node tells of what its own filter leaves, and neither loses what it has, whoever leads.
func TestDifferentFilters(t *testing.T) {
	udpOnly := func(c *Config) { c.Filter.Some = true; c.Filter.Protocols[flow.UDP] = true }
	p := &pair{t: t, now: time.Unix(1000, 0)}
	p.a, p.b = p.join("a"), p.join("b", udpOnly)
	p.advance(300 * time.Millisecond)
	p.notice(p.a, vrrp.Master)
	p.notice(p.b, vrrp.Backup)
	p.advance(time.Second)
	tcp, udp := conn(1, noNAT), conn(2, noNAT)
	udp.L4, udp.State = flow.UDP, 0
	udp.Reply = udp.Inverse()
	p.packet(p.a, tcp)
	p.packet(p.a, udp)
	p.packet(p.b, conn(3, noNAT)) // of its own, which it does not tell of
	p.advance(time.Second)
	p.b.wantKernel(1, 2, 3)
	for range 3 {
		p.swap(p.a, p.b)
		p.advance(3 * purgeAfter)
		p.a.wantKernel(1, 2)
		p.b.wantKernel(1, 2, 3)
		p.b.wantRole(Active)
		p.a.wantReady(Ready)
		p.swap(p.b, p.a)
		p.advance(3 * purgeAfter)
		p.a.wantKernel(1, 2)
		p.b.wantKernel(1, 2, 3)
		p.b.wantReady(Ready)
	}
	p.event(p.a, flow.EventDestroy, tcp)
	p.advance(time.Second)
	p.b.wantKernel(2, 3)
	if r := p.a.e.Status().Peers[0].Restarts + p.b.e.Status().Peers[0].Restarts; r != 0 {
		t.Errorf("%d restarts", r)
	}
	p.a.ops, p.b.ops = nil, nil
}
