package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

// tunnel is an ESP flow of the inside host i, translated to the public address: the kernel knows no key of it, so that
// every host's has the same reply tuple.
func tunnel(i int) flow.Flow {
	f := conn(i, noNAT)
	f.L4, f.State, f.SrcL4, f.DstL4 = flow.ESP, 0, uint16(i), 0
	f.Src[3] = byte(i)
	f.SrcL4 = 0
	f.Reply = f.Inverse()
	f.Reply.Dst = vip
	f.Status |= flow.SrcNAT | flow.SrcNATDone
	return f
}

func (n *fake) wantOnly(f flow.Flow) {
	n.p.t.Helper()
	if _, ok := n.kernel[f.Key]; !ok || len(n.kernel) != 1 {
		n.p.t.Fatalf("%s's kernel has %d flows, of %v: %v", n.name, len(n.kernel), f.Key, ok)
	}
}

// TestTunnelsOneAfterTheOther: the second inherits the reply tuple of the first at the standby too, also where the
// first one's end comes together with it, or is only in the log by then.
func TestTunnelsOneAfterTheOther(t *testing.T) {
	p := activeAndStandby(t)
	one, two := tunnel(1), tunnel(2)
	p.packet(p.a, one)
	p.advance(100 * time.Millisecond)
	p.b.wantOnly(one)
	p.event(p.a, flow.EventDestroy, one)
	p.packet(p.a, two)
	p.advance(3 * time.Second)
	p.b.wantOnly(two)
	p.cut = func(from, to *fake) bool { return true }
	p.event(p.a, flow.EventDestroy, two)
	p.packet(p.a, one)
	p.advance(time.Second)
	p.cut = nil
	p.advance(5 * time.Second)
	p.b.wantOnly(one)
	p.b.ops = nil
}

// TestTunnelsOfTwoActiveNodes: each made its own with the one reply tuple. Whoever stays active keeps its own, and the
// other follows it when it steps down.
func TestTunnelsOfTwoActiveNodes(t *testing.T) {
	p := activeAndStandby(t)
	p.notice(p.b, vrrp.Master) // while a is
	p.advance(time.Second)
	one, two := tunnel(1), tunnel(2)
	p.packet(p.a, one)
	p.packet(p.b, two)
	p.advance(time.Second)
	p.a.wantOnly(one)
	p.b.wantOnly(two)
	p.notice(p.b, vrrp.Backup)
	p.advance(2*purgeAfter + 5*time.Second)
	p.a.wantOnly(one)
	p.b.wantOnly(one)
	p.a.ops, p.b.ops = nil, nil
}
