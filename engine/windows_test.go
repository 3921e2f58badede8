package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// TestFlowsFromBeforeThisRunAreLoosened: what the first dump of a run finds may have gone through another node while
// nobody watched, unless its windows are liberal already.
func TestFlowsFromBeforeThisRunAreLoosened(t *testing.T) {
	p := &pair{t: t, now: time.Unix(1000, 0)}
	n := p.node("a", 1, nil)
	p.all, p.a = []*fake{n}, n
	natural, liberal, udp := conn(1, noNAT), conn(2, noNAT), conn(3, noNAT)
	liberal.TCPFlags = [2]uint8{flow.TCPFlagBeLiberal, flow.TCPFlagBeLiberal}
	udp.L4, udp.State = flow.UDP, 0
	udp.Reply = udp.Inverse()
	for _, f := range []flow.Flow{natural, liberal, udp} {
		n.kernel[f.Key] = f
	}
	p.advance(300 * time.Millisecond)
	n.wantLists(3, 0)
	p.notice(n, vrrp.Master)
	p.advance(time.Second)
	n.wantRole(Active)
	n.wantOps("update 1")
	p.packet(n, conn(4, noNAT)) // began under our eyes
	p.tell(n, &Command{Verb: VerbResync})
	p.advance(time.Second)
	n.wantOps()
}

// TestFlowsGivenBackAreLoosened: that another node had a flow is known from its giving it back, even where nothing
// else was heard of its time as active node.
func TestFlowsGivenBackAreLoosened(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.cut = func(from, to *fake) bool { return true }
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.advance(50 * time.Millisecond)
	p.notice(p.b, vrrp.Backup)
	p.notice(p.a, vrrp.Master)
	p.advance(50 * time.Millisecond)
	p.cut = nil
	p.advance(3 * time.Second)
	p.a.wantRole(Active)
	p.a.wantLists(1, 0)
	p.a.wantOps("update 1")
	if p.a.kernel[f.Key].State != flow.TCPEstablished {
		t.Error("the flow is not as it was")
	}
	p.b.ops = nil
}

// TestAFlowThatBeganAgainIsLoosenedAgain: a connection that reuses the tuple of one that ended a moment ago begins in its
// entry, and the kernel tracks windows there again.
func TestAFlowThatBeganAgainIsLoosenedAgain(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.b.wantOps("create 1") // liberal
	p.advance(2 * time.Second)
	for _, state := range []uint8{flow.TCPSynRecv, flow.TCPEstablished} {
		f.State = state
		p.event(p.b, flow.EventUpdate, f)
	}
	p.advance(200 * time.Millisecond)
	p.swap(p.b, p.a)
	p.advance(2 * time.Second)
	p.a.ops = nil
	p.swap(p.a, p.b)
	p.b.wantOps("update 1")
	p.a.ops = nil
}

// TestATupleThatWasReusedAtTheNextLeader: what a standby has of its own active time, and had no time to yield, is not the
// next connection with the same addresses and ports, which is translated otherwise.
func TestATupleThatWasReusedAtTheNextLeader(t *testing.T) {
	for _, apart := range []bool{false, true} {
		p := activeAndStandby(t)
		f := p.packet(p.a, conn(1, vip))
		p.advance(200 * time.Millisecond)
		p.b.wantOps("create 1")
		p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
		f.Mark = 7
		p.event(p.a, flow.EventUpdate, f) // b does not hear of it, so a may not yield
		p.notice(p.b, vrrp.Master)
		p.notice(p.a, vrrp.Backup)
		p.advance(200 * time.Millisecond)
		p.a.wantLists(1, 1)
		next := f
		next.Reply.DstL4++
		p.event(p.b, flow.EventDestroy, f)
		if apart {
			p.advance(5 * time.Millisecond)
		}
		p.event(p.b, flow.EventNew, next)
		p.advance(2 * time.Second)
		if p.a.kernel[next.Key].Reply != next.Reply {
			t.Errorf("apart %v: %+v", apart, p.a.kernel)
		}
		p.a.ops, p.b.ops = nil, nil
	}
}
