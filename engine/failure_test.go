package engine

import (
	"syscall"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

// TestFailuresAreCounted: what the kernel refused is in the statistics of the cache that wanted it.
func TestFailuresAreCounted(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	want := func(create, update, destroy uint64) {
		t.Helper()
		c := p.b.e.Status().External
		if c.CreateFailed != create || c.UpdateFailed != update || c.DestroyFailed != destroy {
			t.Fatalf("%d, %d, %d failed, want %d, %d, %d", c.CreateFailed, c.UpdateFailed, c.DestroyFailed, create, update, destroy)
		}
	}
	want(0, 0, 0)
	p.b.refuse = map[flow.OpKind]syscall.Errno{flow.OpCreate: syscall.EINVAL, flow.OpUpdate: syscall.EINVAL, flow.OpDelete: syscall.EPERM}
	g := p.packet(p.a, conn(2, noNAT))
	p.advance(100 * time.Millisecond)
	want(1, 0, 0)
	f.State = flow.TCPFinWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(100 * time.Millisecond)
	want(1, 1, 0)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(100 * time.Millisecond)
	want(1, 1, 1)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	if c := p.b.e.Status().Internal; c.CreateFailed == 0 {
		t.Errorf("%v was refused at the takeover and not counted: %+v", g.Key, c)
	}
	p.b.ops, p.a.ops = nil, nil
}
