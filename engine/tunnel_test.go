package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

// callOf is what PPTP's helper expects of a call: the caller's data, or with reply the callee's.
func callOf(master flow.Flow, nat, reply bool) flow.Flow {
	f := flow.Flow{Key: flow.Key{L3: flow.IPv4, L4: flow.GRE, Kind: flow.KindExpect}}
	f.Tuple = flow.Tuple{Src: master.Src, Dst: master.Dst, SrcL4: 101, DstL4: 201}
	x := flow.Expect{MaskL4: 0xffff, NATL4: 40000, HasNAT: nat}
	if reply {
		f.Tuple = flow.Tuple{Src: master.Reply.Src, Dst: master.Reply.Dst, SrcL4: 201, DstL4: 40000}
		x.NATDir, x.NATL4 = 1, 101
	}
	if !nat {
		x.NATDir, x.NATL4 = 0, 0
	}
	f.Timeout, f.Reply = 300, f.Inverse()
	f.Extra = &flow.Extra{HasMaster: true, Master: master.Key, Helper: [16]byte{'p', 'p', 't', 'p'}, Expect: x}
	return f
}

// TestPortable: what any kernel can use has no key of the source, and is translated by the function with a name.
func TestPortable(t *testing.T) {
	master := conn(1723, vip)
	for _, c := range []struct {
		name    string
		f       flow.Flow
		key     uint16
		fn      bool
		changed bool
	}{
		{"caller", callOf(master, true, false), 201, true, true},
		{"callee", callOf(master, true, true), 101, true, true},
		{"without NAT", callOf(conn(1723, noNAT), false, false), 0, false, true},
		{"of another helper", announced(master, 20), 0, false, false},
	} {
		was := c.f
		portable(&c.f)
		x := c.f.Extra.Expect
		if !c.changed {
			if c.f.Key != was.Key || c.f.Timeout != was.Timeout {
				t.Errorf("%s: changed to %v", c.name, c.f)
			}
			continue
		}
		if c.f.SrcL4 != 0 || c.f.DstL4 != was.DstL4 || x.MaskL4 != 0 || x.Flags != flow.ExpectPermanent || c.f.Reply != c.f.Inverse() {
			t.Errorf("%s: %v %+v", c.name, c.f.Key, x)
		}
		if x.NATL4 != c.key || (x.Fn[0] != 0) != c.fn || c.f.Timeout != tunnelTime {
			t.Errorf("%s: key %d, function %q, %d s", c.name, x.NATL4, x.Fn, c.f.Timeout)
		}
	}
}

// TestTunnel: a call's expectation stays when it was used, as one that the next node can use, until the control
// connection ends; one that a newer call pushes out does not come back.
func TestTunnel(t *testing.T) {
	p := activeAndStandby(t, allHelpers)
	master := p.packet(p.a, conn(1723, noNAT))
	x := p.packet(p.a, callOf(master, false, false))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 0", "create 1723", "update 0")
	p.event(p.a, flow.EventDestroy, x)
	p.advance(10 * time.Millisecond)
	p.a.wantOps("create 0", "update 0")
	open := x
	open.SrcL4 = 0
	if p.a.kernel[open.Key].Timeout != tunnelTime {
		t.Errorf("%+v", p.a.kernel)
	}
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.advance(10 * time.Millisecond)
	p.b.wantKernel(0, 1723)
	p.a.ops, p.b.ops = nil, nil
	p.event(p.b, flow.EventDestroy, p.b.kernel[open.Key])
	p.advance(5 * time.Second)
	p.b.wantKernel(1723)
	p.a.ops, p.b.ops = nil, nil
}

// TestTunnelOfTheHelper: where the call was made the kernel has the helper's own, with which the other clashes.
func TestTunnelOfTheHelper(t *testing.T) {
	p := activeAndStandby(t, allHelpers)
	master := p.packet(p.a, conn(1723, noNAT))
	own := callOf(master, false, false)
	p.b.kernel[own.Key] = own
	p.packet(p.a, callOf(master, false, false))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 0", "create 1723")
	if f := p.b.e.Status().Kernel.Failed; len(f) != 0 {
		t.Errorf("refused: %v", f)
	}
}
