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
