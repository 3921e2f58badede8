package engine

import (
	"net/netip"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// Lives that the simulation drew and that ended badly, each cut down to what it needs. The number is the seed of
// that day.

// TestADumpShowsWhatCameAfterAnEviction, the event of which was lost (1844).
func TestADumpShowsWhatCameAfterAnEviction(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.evicts(p.a, f)
	p.advance(200 * time.Millisecond)
	f.State = flow.TCPSynRecv
	p.a.kernel[f.Key] = f
	p.tell(p.a, &KernelEvents{Lost: true})
	p.advance(5 * time.Second)
	p.a.wantLists(1, 0)
	if got := p.b.kernel[f.Key].State; got != flow.TCPSynRecv {
		t.Fatalf("state %d", got)
	}
	p.b.ops = nil
}

// TestADumpShowsWhatBecameOfAFlowThatIsHeldBack, its events lost (49).
func TestADumpShowsWhatBecameOfAFlowThatIsHeldBack(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.evicts(p.a, f)
	p.advance(200 * time.Millisecond)
	f.State = flow.TCPSynRecv
	p.packet(p.a, f)
	f.State = flow.TCPEstablished
	p.a.kernel[f.Key] = f
	p.tell(p.a, &KernelEvents{Lost: true})
	p.advance(5 * time.Second)
	if got := p.b.kernel[f.Key].State; got != flow.TCPEstablished {
		t.Fatalf("state %d", got)
	}
	p.b.ops = nil
}

// TestASuspectThatComesLate: what the leader ended, and our kernel still has as our own, is looked at though the purge
// is over (2957).
func TestASuspectThatComesLate(t *testing.T) {
	p := activeAndStandby(t)
	p.advance(3 * purgeAfter)
	f := p.packet(p.b, conn(1, noNAT))
	p.packet(p.a, f)
	p.advance(50 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	for range 40 {
		p.advance(time.Second)
		if _, there := p.b.kernel[f.Key]; there {
			f.Timeout-- // no packet
			p.b.kernel[f.Key] = f
		}
	}
	p.b.wantKernel()
	p.b.wantLists(0, 0)
	p.b.ops = nil
}

// TestADumpDuringADelete shows what is about to go: it is nobody's (3137).
func TestADumpDuringADelete(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, vip)
	f.Reply.DstL4 = 5000
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	f.Reply.DstL4 = 5001
	p.packet(p.a, f)
	p.advance(5 * time.Millisecond)
	p.b.late = everything
	p.tell(p.b, &Command{Verb: VerbResync}) // the dump is under way
	for _, d := range p.held {
		p.tell(d.to, d.in)
	}
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(TakingOver)
	p.b.answer()
	p.held, p.hold = nil, nil
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1", "delete 1", "create 1")
	if got := p.b.kernel[f.Key].Reply; got != f.Reply {
		t.Fatalf("reply %v", got)
	}
}

// TestAnEndBeforeTheHeartbeat that says that its node acts: after a partition the first word is a change, and what was
// missed comes with it (898).
func TestAnEndBeforeTheHeartbeat(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.evicts(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(time.Second)
	p.a.wantLists(1, 0)
	p.cut, p.hold = nil, func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Beat }
	p.packet(p.b, conn(2, noNAT))
	p.advance(500 * time.Millisecond)
	p.a.wantLists(1, 0)
	p.hold = nil
	p.release(wire.Beat)
	p.a.wantLists(0, 1)
	p.a.ops, p.b.ops = nil, nil
}

// TestACreateOfWhichNobodyHears is made good once its flow ends, though the flow had closed meanwhile (6495).
func TestACreateOfWhichNobodyHears(t *testing.T) {
	p := activeAndStandby(t)
	p.b.late = everything
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	f.State, f.Timeout = flow.TCPTimeWait, 1
	p.event(p.a, flow.EventUpdate, f)
	p.advance(2 * time.Second)
	p.b.giveUp()
	p.advance(100 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(3 * time.Second)
	p.b.wantKernel()
	p.b.ops = nil
}

// TestWhatLeftWithTheAddressHasASuccessor on the node that acted meanwhile, which dies before it was known for sure (6480).
func TestWhatLeftWithTheAddressHasASuccessor(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := conn(1, vip)
	f.Reply.DstL4 = 5000
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.evicts(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Data }
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.event(p.b, flow.EventDestroy, f)
	p.advance(150 * time.Millisecond)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Beat }
	f.Reply.DstL4 = 5001
	p.packet(p.b, f)
	p.advance(5 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.a.wantLists(1, 1)
	p.advance(5 * time.Second)
	p.notice(p.a, vrrp.Master)
	p.advance(time.Second)
	if got := p.a.kernel[f.Key].Reply.DstL4; got != 5001 {
		t.Fatalf("port %d", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAPacketDuringTheLookAtAnObstacle makes another incarnation of the flow, in the way of which nothing is (8417).
func TestAPacketDuringTheLookAtAnObstacle(t *testing.T) {
	p := activeAndStandby(t, warm)
	f, other := conn(8, vip), conn(7, vip)
	f.Reply.DstL4, other.Reply.DstL4 = 5000, 5000
	p.packet(p.a, f)
	p.advance(100 * time.Millisecond)
	p.packet(p.b, other)
	p.b.late = func(k flow.OpKind) bool { return k == flow.OpGetReply }
	p.notice(p.b, vrrp.Master)
	p.settle()
	f.Reply.DstL4 = 5001
	p.packet(p.b, f)
	p.b.answer()
	p.advance(200 * time.Millisecond)
	p.b.wantRole(Active)
	p.b.wantLists(2, 0)
	p.b.wantKernel(7, 8)
	if own := p.b.e.log.Lives(p.b.e.tbl.Find(&f.Key)); own.Bits != 0 {
		t.Fatalf("%+v: only a dump tells of it", own)
	}
	p.b.ops = nil
}

// TestATakeoverDuringADelete of what a packet met: the next incarnation is adopted, which the leader lists (208).
func TestATakeoverDuringADelete(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.Mark = 1
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.event(p.b, flow.EventUpdate, f)
	p.b.late = everything
	p.event(p.a, flow.EventDestroy, f)
	p.advance(10 * time.Millisecond)
	f.Mark = 2
	p.packet(p.a, f)
	p.advance(10 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.answer()
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1", "delete 1", "create 1")
	if got := p.b.kernel[f.Key].Mark; got != 2 {
		t.Fatalf("mark %d", got)
	}
}

// TestAnAddressThatComesBackAtOnce brings back what left with it (1576).
func TestAnAddressThatComesBackAtOnce(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.notice(p.a, vrrp.Backup)
	p.tell(p.a, &Addresses{})
	p.advance(50 * time.Millisecond)
	p.notice(p.a, vrrp.Master)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	p.advance(500 * time.Millisecond)
	p.a.wantOps("create 1")
	p.a.wantLists(1, 0)
	p.b.ops = nil
}

// TestAnEndByTheNextLeader, told while that is still taking over (1576).
func TestAnEndByTheNextLeader(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f, g := p.packet(p.a, conn(1, vip)), p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.event(p.b, flow.EventDestroy, g)
	p.b.late = everything
	p.notice(p.b, vrrp.Master) // it has g to write
	p.b.late = nil
	p.b.wantRole(TakingOver)
	p.evicts(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.settle()
	p.a.wantLists(2, 0)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(300 * time.Millisecond)
	p.b.wantRole(TakingOver)
	p.a.wantLists(1, 0)
	p.b.answer()
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatTheLeaderHasNotTakenIsDropped: what left with the address, and the next active node does not list though it
// had the chance, would come back at the next takeover (1569).
func TestWhatTheLeaderHasNotTakenIsDropped(t *testing.T) {
	p, f := twoActive(t)
	p.evicts(p.a, f)
	p.advance(200 * time.Millisecond)
	delete(p.b.kernel, f.Key)
	p.tell(p.b, &Command{Verb: VerbFlushInternal})
	p.advance(200 * time.Millisecond)
	p.notice(p.a, vrrp.Backup)
	p.advance(time.Second)
	p.a.wantLists(1, 0)
	p.advance(2 * purgeAfter)
	p.a.wantLists(0, 0)
	p.a.wantOps()
	p.b.ops = nil
}

// TestAPacketsEntryIsNotReplaced by a node that is taking over and believes that it is the one it wrote (3626).
func TestAPacketsEntryIsNotReplaced(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, vip)
	f.Reply.DstL4 = 5000
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.b.late = everything
	f.State = flow.TCPTimeWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(10 * time.Millisecond)
	f.Reply.DstL4, f.State = 5001, flow.TCPSynRecv
	p.packet(p.a, f)
	p.advance(10 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.b.kernel[f.Key] = f // the address came first, and a packet with it
	p.b.answer()
	p.advance(200 * time.Millisecond)
	p.b.wantOps("update 1", "update 1")
}

// TestAnObstacleThatComesToLife, of which the event comes before the kernel's older answer (3917).
func TestAnObstacleThatComesToLife(t *testing.T) {
	p := activeAndStandby(t, warm)
	f, other := conn(8, vip), conn(7, vip)
	f.Reply.DstL4, other.Reply.DstL4 = 5000, 5000
	p.packet(p.a, f)
	p.advance(100 * time.Millisecond)
	other.Status &^= flow.SeenReply | flow.Assured
	p.packet(p.b, other)
	p.b.late = func(k flow.OpKind) bool { return k == flow.OpGetReply }
	p.notice(p.b, vrrp.Master)
	p.settle()
	other.Status |= flow.SeenReply
	p.event(p.b, flow.EventUpdate, other)
	p.b.answer()
	p.advance(200 * time.Millisecond)
	p.b.wantRole(Active)
	p.b.wantOps("create 8")
	p.b.wantKernel(7)
}

// TestAnUpdateLeavesTheTranslation of an entry that a packet has made meanwhile: it is not the leader's (873).
func TestAnUpdateLeavesTheTranslation(t *testing.T) {
	p, f := twoActive(t)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data } // so that a does not yield
	p.event(p.a, flow.EventUpdate, f)
	p.a.late = everything
	p.notice(p.a, vrrp.Backup)
	p.tell(p.b, &Command{Verb: VerbResync}) // a heartbeat, at once
	p.settle()
	p.a.wantOps("update 1")
	fresh := conn(1, noNAT)
	p.tell(p.a, &KernelEvents{Events: []flow.Event{
		{Kind: flow.EventDestroy, Flow: f, Has: flow.HasTimeout},
		{Kind: flow.EventNew, Flow: fresh, Has: flow.HasReply | flow.HasStatus | flow.HasProtoInfo | flow.HasMark | flow.HasTimeout},
	}})
	p.a.kernel[f.Key] = fresh
	p.a.answer()
	p.advance(200 * time.Millisecond)
	if own := p.a.e.log.Lives(p.a.e.tbl.Find(&f.Key)); own == nil || own.Value.Reply != fresh.Reply || own.Value.Status != fresh.Status {
		t.Fatalf("own %+v", own)
	}
	p.a.ops = nil
}

// TestAnEndDuringACreate that stays unanswered: the leader told it while the flow was written (1343).
func TestAnEndDuringACreate(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.late = everything
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantOps("create 1")
	delete(p.b.kernel, f.Key) // it was not carried out after all
	p.event(p.a, flow.EventDestroy, f)
	p.advance(50 * time.Millisecond)
	p.b.giveUp()
	p.advance(3 * time.Second)
	p.b.wantRole(Active)
	p.b.wantOps()
	p.b.wantLists(0, 0)
}

// TestAnEndBeforeTheTakeover of what the kernel still has, as it did not answer: that is ours, and does not come back (7513).
func TestAnEndBeforeTheTakeover(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.b.late = everything
	p.event(p.a, flow.EventUpdate, f)
	p.advance(10 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(10 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.giveUp()
	p.settle()
	p.b.wantRole(Active)
	p.advance(100 * time.Millisecond)
	p.b.wantLists(1, 0)
	delete(p.b.kernel, f.Key) // it expires, and the event is late
	p.advance(3 * time.Second)
	p.b.wantLists(0, 0)
	p.b.wantOps("update 1", "update 1")
}

// TestAnEndBeforeAnotherTry to write a flow: the other active node told it meanwhile (1343).
func TestAnEndBeforeAnotherTry(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.mute = true
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(50 * time.Millisecond)
	p.b.mute = false
	p.advance(3 * time.Second)
	p.b.wantOps()
	p.b.wantLists(0, 0)
}

// TestAnOldDestroyAtAnActiveNode is about the entry that was there before ours, which the kernel still has (17, 2133).
func TestAnOldDestroyAtAnActiveNode(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.hears(p.b, flow.EventDestroy, f, flow.HasTimeout)
	p.advance(500 * time.Millisecond)
	p.b.wantLists(1, 0)
	p.b.wantOps()
}

// TestWhatWaitedForASleeperProvesNothing: of what a node hears as it wakes nothing was made after it spoke last (141).
func TestWhatWaitedForASleeperProvesNothing(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Beat }
	p.advance(150 * time.Millisecond) // and b is stopped
	p.now = p.now.Add(100 * time.Millisecond)
	p.tell(p.a, &Tick{})
	p.now = p.now.Add(5 * time.Second)
	p.tell(p.b, p.held[len(p.held)-1].in)
	if p.b.e.Status().Peers[0].Proven || p.b.ready == Ready {
		t.Fatalf("proven by a heartbeat of 5 s ago; readiness %v", p.b.ready)
	}
	p.b.ops = nil
}

// TestAnUpdateFromBeforeTheEnd, read late, of an entry that this node wrote: it is asked about, not written again (11494).
func TestAnUpdateFromBeforeTheEnd(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.move(p.a, p.b)
	p.b.wantOps("create 1")
	p.event(p.b, flow.EventDestroy, f)
	p.advance(150 * time.Millisecond)
	p.b.wantLists(0, 0)
	p.hears(p.b, flow.EventUpdate, f, flow.HasReply|flow.HasStatus|flow.HasProtoInfo)
	p.advance(500 * time.Millisecond)
	p.b.wantKernel()
	p.b.wantOps()
	p.a.ops = nil
}

// TestWhatEndedIsNotTakenOverTwice though an operator has the active node forget what it heard (6721, 478).
func TestWhatEndedIsNotTakenOverTwice(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.lose = func(_ *fake, typ wire.Type) bool { return typ == wire.Data }
	p.packet(p.a, conn(2, noNAT)) // as long as that is missing, b takes over what it hears
	p.advance(100 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.advance(5 * time.Millisecond)
	p.notice(p.a, vrrp.Backup)
	p.advance(time.Second)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(40 * time.Second) // when it ended is remembered no more
	p.b.ops = nil
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Data } // a never hears of the end
	p.tell(p.b, &Command{Verb: VerbFlushExternal})
	p.advance(time.Second)
	p.b.wantKernel(2)
	p.b.wantOps("create 2")
	p.a.ops = nil
}

// TestWhatWasForgottenIsNotOverwritten: an operator has an active node forget its flows, and what another one listed before
// comes in (1468).
func TestWhatWasForgottenIsNotOverwritten(t *testing.T) {
	p := newPair(t)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Data }
	p.notice(p.b, vrrp.Master)
	p.advance(200 * time.Millisecond)
	old := conn(1, noNAT)
	old.Mark = 27
	p.packet(p.b, old)
	p.advance(500 * time.Millisecond)
	p.swap(p.b, p.a)
	f := conn(1, noNAT)
	f.Mark = 43
	p.packet(p.a, f)
	p.advance(500 * time.Millisecond)
	p.tell(p.a, &Command{Verb: VerbFlushInternal})
	p.release(wire.Data)
	p.hold = nil
	p.advance(time.Second)
	p.a.wantLists(1, 0)
	if mark := p.a.kernel[f.Key].Mark; mark != 43 {
		t.Errorf("the live connection has mark %d", mark)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAClosedConnectionIsNotMadeAgain: a late packet met the entry that a delete was about to take away, as this node took
// over; its connection had closed (7892).
func TestAClosedConnectionIsNotMadeAgain(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.b.late = func(k flow.OpKind) bool { return k == flow.OpDelete }
	p.event(p.a, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	f.State = flow.TCPTimeWait
	p.hears(p.b, flow.EventUpdate, f, flow.HasReply|flow.HasStatus|flow.HasProtoInfo)
	p.b.answer()
	p.advance(200 * time.Millisecond)
	p.b.wantOps("delete 1")
	p.b.wantKernel()
}
