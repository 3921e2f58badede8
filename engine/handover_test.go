package engine

import (
	"testing"
	"time"

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
