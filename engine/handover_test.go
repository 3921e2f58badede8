package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// Takeovers during which the node before is still heard, or heard for the first time. The number is the simulation's
// seed of that day.

// TestWhoActedIsHeardDuringTheTakeover for the first time: what it listed came before that (9184).
func TestWhoActedIsHeardDuringTheTakeover(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	c := p.node("c", 3, nil)
	before := conn(2, noNAT)
	c.kernel[before.Key] = before // to be written at the takeover, for the windows
	p.all = append(p.all, c)
	p.tell(c, &Tick{})
	p.hold = func(from *fake, typ wire.Type) bool {
		return from == p.a && typ == wire.Beat && c.e.trusts(c.e.peers.byEpoch[p.a.e.cfg.Epoch])
	}
	for range 40 {
		p.packet(p.a, conn(3, noNAT))
		p.advance(10 * time.Millisecond)
	}
	if s := c.e.Status(); len(s.Peers) == 0 || s.Leader != "" {
		t.Fatalf("%+v, leader %q", s.Peers, s.Leader)
	}
	c.late = everything
	p.notice(c, vrrp.Master)
	p.settle()
	c.wantRole(TakingOver)
	p.hold = nil
	p.release(wire.Beat)
	c.answer()
	p.settle()
	c.wantRole(Active)
	c.wantKernel(1, 2, 3)
	c.wantOps("create 1", "create 3", "update 2")
	p.b.ops = nil
}

// TestABeginningAfterAnEndHere at a node that acts still, and that has heard us since: the connection is not left to its
// step-down, which a partition may hide for seconds (9226).
func TestABeginningAfterAnEndHere(t *testing.T) {
	for _, hears := range []bool{true, false} {
		p := activeAndStandby(t)
		f, other := p.packet(p.a, conn(1, noNAT)), conn(2, noNAT)
		p.advance(200 * time.Millisecond)
		p.cut = func(from, to *fake) bool { return true }
		p.event(p.a, flow.EventDestroy, f)
		p.advance(200 * time.Millisecond)
		p.notice(p.b, vrrp.Master)
		p.notice(p.a, vrrp.Backup)
		p.advance(time.Second)
		p.cut = func(from, to *fake) bool { return to == p.b && !hears }
		p.lose = func(from *fake, typ wire.Type) bool { return typ == wire.Want || typ == wire.Data }
		p.event(p.b, flow.EventDestroy, f)
		p.packet(p.b, other)
		p.advance(200 * time.Millisecond)
		p.lose = func(from *fake, typ wire.Type) bool { return typ == wire.Want || from == p.a && typ == wire.Data }
		p.packet(p.b, f)
		p.advance(200 * time.Millisecond)
		p.a.wantLists(0, 1)
		p.a.ops = nil
		p.notice(p.a, vrrp.Master)
		p.settle()
		if hears {
			p.a.wantOps("create 1")
			p.a.wantKernel(1)
		} else {
			p.a.wantOps() // it may list what it has from before our end
		}
		p.b.ops = nil
	}
}

// TestTheNextIncarnationDuringATakeover of a flow that is just being written: it is the one that goes on (12066).
func TestTheNextIncarnationDuringATakeover(t *testing.T) {
	for name, port := range map[string]uint16{"translated otherwise": 5001, "alike": 5000} {
		for _, written := range []bool{true, false} {
			p := activeAndStandby(t, warm)
			f := conn(1, vip)
			f.Reply.DstL4, f.Mark = 5000, 1
			p.packet(p.a, f)
			p.advance(100 * time.Millisecond)
			p.b.late = everything
			p.notice(p.b, vrrp.Master)
			p.settle()
			p.b.wantRole(TakingOver)
			next := f
			next.Reply.DstL4, next.Mark = port, 2
			p.packet(p.a, next)
			p.advance(5 * time.Millisecond)
			if written {
				p.b.answer()
			} else {
				delete(p.b.kernel, f.Key)
				p.b.giveUp()
			}
			p.advance(2 * time.Second)
			p.b.wantRole(Active)
			if got := p.b.kernel[f.Key]; got.Mark != 2 || got.Reply != next.Reply {
				t.Errorf("%s, written %v: mark %d, reply %v", name, written, got.Mark, got.Reply)
			}
			p.a.ops, p.b.ops = nil, nil
		}
	}
}

// TestTheNextIncarnationBetweenTwoTakeovers, while what the first was to write stays unanswered (9508).
func TestTheNextIncarnationBetweenTwoTakeovers(t *testing.T) {
	p := activeAndStandby(t, warm)
	f, g := p.packet(p.a, conn(1, noNAT)), conn(2, noNAT)
	p.advance(100 * time.Millisecond)
	p.b.late, p.a.late = everything, everything
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.packet(p.b, g)
	p.notice(p.a, vrrp.Backup)
	p.advance(5 * time.Millisecond)
	p.notice(p.b, vrrp.Backup)
	p.notice(p.a, vrrp.Master)
	p.advance(5 * time.Millisecond)
	p.a.wantRole(TakingOver) // it has g to write
	p.event(p.a, flow.EventDestroy, f)
	f.Mark = 2
	p.packet(p.a, f)
	p.advance(5 * time.Millisecond)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.settle()
	delete(p.b.kernel, f.Key) // it was not carried out
	p.b.giveUp()
	p.advance(2 * time.Second)
	p.b.wantRole(Active)
	if got := p.b.kernel[f.Key].Mark; got != 2 {
		t.Errorf("mark %d", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAnEndDuringATakeover, told by the node before, of what goes here before it was written once more: it does not come
// back (34586).
func TestAnEndDuringATakeover(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	p.b.wantOps("create 1")
	p.b.late = everything
	f.Mark = 2
	p.event(p.a, flow.EventUpdate, f)
	p.advance(5 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(TakingOver)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(5 * time.Millisecond)
	p.event(p.b, flow.EventDestroy, f)
	p.b.answer()
	p.advance(2 * time.Second)
	p.b.wantRole(Active)
	p.b.wantOps("update 1", "update 1") // the second finds nothing
	p.b.wantLists(0, 0)
}
