package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// TestStandbysOwnFlowsAreNobodysTruth is O2.
func TestStandbysOwnFlowsAreNobodysTruth(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.b, conn(5, noNAT))
	p.advance(500 * time.Millisecond)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.a, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.a.wantRole(Active)
	p.a.wantLists(0, 0)
	p.a.wantOps()
}

// TestAdoptedOnce is O5: a flow that was adopted and ended is not adopted again, though its first owner's copy
// changes.
func TestAdoptedOnce(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.lose = func(from *fake, _ wire.Type) bool { return from == p.b } // so that a does not yield it
	p.notice(p.b, vrrp.Master)
	p.notice(p.a, vrrp.Backup)
	p.advance(300 * time.Millisecond)
	p.b.wantLists(1, 0)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	p.b.wantLists(0, 0)
	f.State = flow.TCPFinWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(20 * time.Millisecond)
	p.lose = func(*fake, wire.Type) bool { return true }
	p.advance(500 * time.Millisecond)
	p.notice(p.b, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.b.wantRole(Active)
	p.b.wantLists(0, 0)
	p.b.wantOps()
	p.a.ops = nil
}

// threeNodes has a active, b and c in sync with it.
func threeNodes(t *testing.T) (p *pair, c *fake) {
	p = activeAndStandby(t)
	c = p.join("c")
	p.notice(c, vrrp.Backup)
	p.advance(2 * time.Second)
	c.wantReady(Ready)
	return p, c
}

// TestOnlyTheLeadersEndDeletes is O3: the end that another node tells changes its replica only.
func TestOnlyTheLeadersEndDeletes(t *testing.T) {
	p, c := threeNodes(t)
	p.cut = func(from, to *fake) bool { return from == p.a && to == c || from == c && to == p.a }
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.swap(p.a, c) // which has never heard of the flow
	p.advance(time.Second)
	p.b.wantReady(Ready)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(500 * time.Millisecond)
	p.b.wantOps()
	p.b.wantKernel(1)
}

// TestTheLeadersEndIsAnEndOfEveryCopy is O3: what the leader saw end is not adopted from a node that listed it
// before.
func TestTheLeadersEndIsAnEndOfEveryCopy(t *testing.T) {
	p, c := threeNodes(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	gone := map[*fake]bool{p.a: true}
	p.cut = func(from, _ *fake) bool { return gone[from] }
	p.notice(c, vrrp.Master)
	p.advance(5 * time.Second)
	p.b.wantLists(0, 1)
	p.event(c, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	p.b.wantKernel()
	gone[c] = true
	p.b.ops, c.ops = nil, nil
	p.notice(p.b, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.b.wantRole(Active)
	p.b.wantLists(0, 0)
	p.b.wantOps()
}

// TestAnEndWhileTheDeadLeaderStillCounts is O3 for what ends in the three seconds in which the leader, dead, still counts as
// live: the node that has its flows now is no leader yet (12339).
func TestAnEndWhileTheDeadLeaderStillCounts(t *testing.T) {
	p, c := threeNodes(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	gone := map[*fake]bool{p.a: true}
	p.cut = func(from, _ *fake) bool { return gone[from] }
	p.notice(c, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.event(c, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	if p.b.e.peers.leader.name != "a" {
		t.Fatal("the dead leader is given up already")
	}
	p.advance(5 * time.Second)
	gone[c] = true
	p.b.ops, c.ops = nil, nil
	p.notice(p.b, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.b.wantRole(Active)
	p.b.wantLists(1, 0)
	p.b.wantKernel(2)
	p.b.wantOps()
}

// TestAnEndHereIsAnEndOfTheOthersCopy is O3, of two active nodes that met the same flow: the one that falls silent
// leaves what has not ended at the other one.
func TestAnEndHereIsAnEndOfTheOthersCopy(t *testing.T) {
	p := activeAndStandby(t)
	p.notice(p.b, vrrp.Master)
	p.advance(200 * time.Millisecond)
	f := p.packet(p.a, conn(1, noNAT))
	p.packet(p.a, conn(2, noNAT))
	p.advance(50 * time.Millisecond)
	p.packet(p.b, f)
	p.packet(p.b, conn(3, noNAT))
	p.advance(200 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	p.cut = func(from, _ *fake) bool { return from == p.b }
	p.advance(5 * time.Second)
	p.a.wantOps("create 3")
	p.a.wantKernel(2, 3)
	p.b.ops = nil
}

// TestAnOldDestroyLeavesNoGhost: the event of an eviction comes after a standby has written the flow again; the
// leader's end must reach that entry all the same.
func TestAnOldDestroyLeavesNoGhost(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.event(p.b, flow.EventDestroy, f)
	p.b.kernel[f.Key] = f // of the entry before
	p.event(p.a, flow.EventDestroy, f)
	p.advance(3 * time.Second)
	p.tell(p.b, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.b.wantKernel()
	p.b.wantLists(0, 0)
	p.b.ops = nil
}

// TestABusyUpdateEnds: an update of ours met the next incarnation of its key and gave it bits that it never loses.
// No event tells of them.
func TestABusyUpdateEnds(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	fresh := f
	fresh.State, fresh.Status = flow.TCPSynSent, flow.Confirmed
	p.b.kernel[f.Key] = f // our update came after the first packet of the next one
	p.tell(p.b, &KernelEvents{Events: []flow.Event{
		{Kind: flow.EventDestroy, Flow: f},
		{Kind: flow.EventNew, Flow: fresh, Has: flow.HasReply | flow.HasStatus | flow.HasProtoInfo | flow.HasMark | flow.HasTimeout},
	}})
	p.advance(3 * time.Second)
	if h := p.b.kernel[f.Key]; h.State != flow.TCPSynSent || h.Status&sticky != sticky {
		t.Fatalf("state %d status %x", h.State, h.Status)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatIsToGoIsNobodysOwn: a standby's delete stays unanswered, and a dump shows that the entry is still there.
func TestWhatIsToGoIsNobodysOwn(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.mute = true
	p.event(p.a, flow.EventDestroy, f)
	p.advance(500 * time.Millisecond)
	p.b.wantKernel(1)
	p.tell(p.b, &Command{Verb: VerbResync})
	p.advance(500 * time.Millisecond)
	p.b.wantLists(0, 0)
	p.b.mute = false
	p.advance(5 * time.Second)
	p.b.wantKernel()
	p.b.ops = nil
}

// twoActive has a and b active, both with f, which is translated to the virtual address.
func twoActive(t *testing.T) (p *pair, f flow.Flow) {
	p = activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f = p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.b.wantLists(1, 0)
	return p, f
}

// TestAnEndElsewhereEndsWhatWasEvicted: while two nodes are active, one loses the address and its flow, and the other
// one sees the flow end (sim seeds 103, 6441).
func TestAnEndElsewhereEndsWhatWasEvicted(t *testing.T) {
	p, f := twoActive(t)
	p.evicts(p.a, f)
	p.advance(200 * time.Millisecond)
	p.a.wantLists(1, 0)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(300 * time.Millisecond)
	p.a.wantLists(0, 0)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Backup)
	p.notice(p.a, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.a.wantRole(Active)
	p.a.wantOps()
}

// TestAnEndElsewhereCountsOnceTheFlowIsGone: while two nodes are active, one sees the flow end that the other's kernel
// still has, and then loses with the address (sim seeds 880, 7118).
func TestAnEndElsewhereCountsOnceTheFlowIsGone(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(300 * time.Millisecond)
	p.a.wantLists(1, 0)
	p.evicts(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.advance(500 * time.Millisecond)
	p.notice(p.a, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.a.wantRole(Active)
	p.a.wantOps()
	p.a.wantLists(0, 0)
}

// TestWhatGoesOnHereOutlivesAnEndElsewhere: the node that told the end has stepped back since.
func TestWhatGoesOnHereOutlivesAnEndElsewhere(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(300 * time.Millisecond)
	p.notice(p.b, vrrp.Backup)
	p.advance(5 * time.Second)
	p.evicts(p.a, f)
	p.advance(10 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.notice(p.a, vrrp.Backup)
	p.advance(500 * time.Millisecond)
	p.b.wantLists(1, 0)
	p.b.wantKernel(1)
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatBeginsAnewElsewhereOutlivesItsEnd: what another active node ended and met again goes on, though it leaves this
// one with the address.
func TestWhatBeginsAnewElsewhereOutlivesItsEnd(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(300 * time.Millisecond)
	p.packet(p.b, f)
	p.advance(100 * time.Millisecond)
	p.evicts(p.a, f)
	p.advance(200 * time.Millisecond)
	p.a.wantLists(1, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestTheLeadersEndIsRememberedDuringAWait: it comes while a standby does not know yet whether its flow has ended or
// left with the address (sim seed 191).
func TestTheLeadersEndIsRememberedDuringAWait(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.b, flow.EventDestroy, f) // told when the wait is over
	p.advance(90 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.notice(p.a, vrrp.Backup)
	p.advance(50 * time.Millisecond)
	p.tell(p.a, &Addresses{})
	p.advance(200 * time.Millisecond)
	p.a.wantLists(0, 0)
	p.notice(p.b, vrrp.Backup)
	p.notice(p.a, vrrp.Master)
	p.advance(500 * time.Millisecond)
	p.a.wantRole(Active)
	p.a.wantOps()
}

// TestCopiesThatWereLostUnseenAreWrittenAgain: what became of the copies while events were lost is known only after the
// node has taken over. That the kernel lacks them then is no end of the flows.
func TestCopiesThatWereLostUnseenAreWrittenAgain(t *testing.T) {
	p := activeAndStandby(t)
	f, g := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1", "create 2")
	delete(p.b.kernel, f.Key)
	delete(p.b.kernel, g.Key)
	p.tell(p.b, &KernelEvents{Lost: true})
	p.notice(p.b, vrrp.Master)
	p.notice(p.a, vrrp.Backup)
	p.advance(50 * time.Millisecond)
	p.b.wantRole(Active)
	p.advance(3 * time.Second)
	p.b.wantOps("create 1", "create 2")
	p.b.wantKernel(1, 2)
	p.b.wantLists(2, 0)
	p.a.ops = nil
}

// TestAnEndByTheNextRunOfTheLeader is O3 for a node that began anew: what its next run saw end in the same kernel is no
// flow of the run before, which still counts as live (6910). late has the end come before the heartbeat that says that the
// next run acts.
func TestAnEndByTheNextRunOfTheLeader(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("late heartbeat ", late), func(t *testing.T) {
			p := activeAndStandby(t)
			f := p.packet(p.a, conn(1, noNAT))
			p.advance(200 * time.Millisecond)
			p.b.wantOps("create 1")
			gone := map[*fake]bool{p.a: true}
			p.cut = func(from, to *fake) bool { return gone[from] || gone[to] }
			next := p.node("a", 9, nil)
			next.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 9}), 3780)
			next.kernel[f.Key] = f
			p.all = append(p.all, next)
			p.tell(next, &Tick{})
			p.advance(300 * time.Millisecond)
			p.hold = func(from *fake, typ wire.Type) bool { return late && from == next && typ == wire.Beat }
			p.notice(next, vrrp.Master)
			p.advance(100 * time.Millisecond)
			p.event(next, flow.EventDestroy, f)
			p.advance(300 * time.Millisecond)
			p.hold = nil
			p.release(wire.Beat)
			p.advance(5 * time.Second)
			p.b.wantKernel()
			p.b.ops, next.ops = nil, nil
		})
	}
}
