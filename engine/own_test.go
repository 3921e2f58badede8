package engine

import (
	"net/netip"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// Flows of the own cache that are not what the kernel has under their key. The number is the seed of that day.

// TestAFlushDuringATakeover does not lose what a packet made while its flow was being written: the dump cannot tell it from
// what the operation is about, and the node would delete it for what it takes over next (12550).
func TestAFlushDuringATakeover(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := conn(1, vip)
	f.Reply.DstL4 = 5000
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.b.late = everything
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantOps("create 1")
	delete(p.b.kernel, f.Key) // it was not carried out
	f.Reply.DstL4 = 5001
	p.packet(p.b, f)
	p.tell(p.b, &Command{Verb: VerbFlushInternal})
	p.advance(200 * time.Millisecond)
	p.b.wantRole(TakingOver)
	p.b.wantLists(1, 0)
	p.b.giveUp()
	p.advance(3 * time.Second)
	p.b.wantLists(1, 0)
	if got := p.b.kernel[f.Key].Reply.DstL4; got != 5001 {
		t.Errorf("port %d", got)
	}
	p.b.ops = nil
}

// TestTheLeadersFlowUnderTheKeyOfOneThatLeft with an address is written, renewed and followed as any other one of its
// (9720): the own flow is not what this kernel has.
func TestTheLeadersFlowUnderTheKeyOfOneThatLeft(t *testing.T) {
	p, f := twoActive(t)
	next := f
	next.Reply.DstL4 = 5001
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.event(p.a, flow.EventDestroy, f)
	p.packet(p.a, next)
	p.advance(200 * time.Millisecond)
	p.evicts(p.a, next)
	p.notice(p.a, vrrp.Backup)
	p.advance(time.Second)
	p.a.wantOps("create 1")
	p.a.wantLists(1, 1)
	p.tell(p.a, &Command{Verb: VerbResync})
	f.Mark = 7
	p.event(p.b, flow.EventUpdate, f)
	p.advance(10 * time.Millisecond)
	p.a.wantOps("update 1")
	p.a.wantLists(1, 1)
	if got := p.a.kernel[f.Key]; got.Mark != 7 || got.Reply != f.Reply {
		t.Errorf("%+v", got)
	}
	p.lose = nil
	p.advance(2 * time.Second)
	p.a.wantLists(0, 1)
	p.a.ops, p.b.ops = nil, nil
}

// TestADumpShowsNotWhatCameAfterAnEviction, as it has gone unheard: it does not follow the one that is held back (27205).
func TestADumpShowsNotWhatCameAfterAnEviction(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.evicts(p.a, f)
	p.advance(200 * time.Millisecond)
	p.packet(p.a, conn(1, noNAT))
	delete(p.a.kernel, f.Key)
	p.tell(p.a, &KernelEvents{Lost: true})
	p.advance(5 * time.Second)
	p.a.wantLists(0, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestEndsAreDecidedTogether: ends of translated flows, one each millisecond, are told in few datagrams.
func TestEndsAreDecidedTogether(t *testing.T) {
	p := activeAndStandby(t, warm)
	var flows []flow.Flow
	for i := range 8 {
		flows = append(flows, p.packet(p.a, conn(i, vip)))
	}
	p.advance(200 * time.Millisecond)
	for _, f := range flows {
		p.event(p.a, flow.EventDestroy, f)
		p.advance(time.Millisecond)
	}
	told := 0
	p.lose = func(from *fake, typ wire.Type) bool {
		if from == p.a && typ == wire.Data {
			told++
		}
		return false
	}
	p.advance(tombstoneWait - 10*time.Millisecond)
	p.b.wantLists(0, len(flows))
	p.advance(decideTogether + 10*time.Millisecond)
	p.b.wantLists(0, 0)
	if told > 2 {
		t.Errorf("told in %d datagrams", told)
	}
}
