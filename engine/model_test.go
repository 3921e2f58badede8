package engine

import (
	"testing"
	"time"

	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// The rules that the models of tests/model refuted, each as it goes wrong on the engine; see docs/MODEL.md.

// aged has time pass in which no packet meets n's kernel.
func (p *pair) aged(n *fake, d time.Duration) {
	for range d / (5 * time.Second) {
		p.advance(5 * time.Second)
		for k, f := range n.kernel {
			f.Timeout -= 5
			n.kernel[k] = f
		}
	}
}

// TestAnActivationThatNobodyHeard is WAS_STEPPED: what a node met while its heartbeats were lost is adopted by
// the one that is active when they come again, and not purged.
func TestAnActivationThatNobodyHeard(t *testing.T) {
	p := activeAndStandby(t)
	p.cut = func(from, _ *fake) bool { return from == p.b }
	p.swap(p.a, p.b)
	p.packet(p.b, conn(5, noNAT))
	p.advance(time.Second)
	p.swap(p.b, p.a)
	p.a.wantLists(0, 0)
	p.cut = nil
	p.advance(time.Second)
	p.a.wantLists(1, 0)
	p.a.wantOps("create 5")
	p.aged(p.b, 6*purgeAfter)
	p.b.wantKernel(5)
	p.b.ops = nil
}

// TestAnActivationHeardWhileTakingOver is WAS_STEPPED, when the heartbeat comes during the takeover.
func TestAnActivationHeardWhileTakingOver(t *testing.T) {
	p := newPair(t, warm)
	c := p.join("c", warm)
	p.notice(c, vrrp.Master)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Backup)
	p.packet(c, conn(1, noNAT))
	p.advance(time.Second)
	p.cut = func(from, _ *fake) bool { return from == c }
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Beat }
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.packet(p.b, conn(2, noNAT))
	p.advance(100 * time.Millisecond)
	p.notice(p.b, vrrp.Backup)
	p.advance(200 * time.Millisecond)
	p.notice(p.a, vrrp.Master)
	p.a.wantRole(TakingOver)
	p.hold = nil
	p.release(wire.Beat)
	p.advance(time.Second)
	p.a.wantRole(Active)
	p.a.wantKernel(1, 2)
	p.a.wantLists(2, 0)
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}
