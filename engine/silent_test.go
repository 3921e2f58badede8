package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

func (n *fake) dumps() int { return int(n.e.Status().Kernel.Dumps) }

// TestNothingIsComparedWhereEveryFlowSpeaks: a kernel whose flows emit events is read once.
func TestNothingIsComparedWhereEveryFlowSpeaks(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	before := p.a.dumps()
	p.advance(2 * reconcileEvery)
	if n := p.a.dumps() - before; n != 0 {
		t.Errorf("%d dumps", n)
	}
	p.event(p.a, flow.EventDestroy, f)
	p.advance(time.Second)
	p.b.ops = nil
}

// TestASilentFlowIsFollowed: one from before the daemon, whose kernel emits no event of it, changes and ends, and both
// are found; then there is nothing left to look for.
func TestASilentFlowIsFollowed(t *testing.T) {
	p := &pair{t: t, now: time.Unix(1000, 0)}
	p.a, p.b = p.node("a", 1, nil), p.node("b", 2, nil)
	p.all = []*fake{p.a, p.b}
	silent := conn(1, noNAT)
	p.a.kernel[silent.Key] = silent
	p.tell(p.a, &Tick{})
	p.tell(p.b, &Tick{})
	p.advance(300 * time.Millisecond)
	p.notice(p.a, vrrp.Master)
	p.notice(p.b, vrrp.Backup)
	p.advance(time.Second)
	p.b.wantKernel(1)
	if n := p.a.e.Status().Kernel.Silent; n != 1 {
		t.Fatalf("%d silent flows", n)
	}
	silent.State = flow.TCPFinWait
	p.a.kernel[silent.Key] = silent
	p.advance(reconcileEvery + time.Second)
	if got := p.b.kernel[silent.Key].State; got != flow.TCPFinWait {
		t.Fatalf("state %d", got)
	}
	delete(p.a.kernel, silent.Key)
	p.advance(reconcileEvery + time.Second)
	p.b.wantKernel()
	p.advance(reconcileEvery + time.Second) // the last one: an end is told a moment after the dump that shows it
	before := p.a.dumps()
	p.advance(2 * reconcileEvery)
	if n := p.a.dumps() - before; n != 0 {
		t.Errorf("%d dumps although nothing is silent", n)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAnEventBreaksTheSilence: a flow found in the table that does emit events need not be looked for.
func TestAnEventBreaksTheSilence(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	p.a.kernel[f.Key] = f
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	f.Mark = 7
	p.event(p.a, flow.EventUpdate, f)
	p.advance(reconcileEvery + time.Second) // the one that was due
	before := p.a.dumps()
	p.advance(2 * reconcileEvery)
	if n := p.a.dumps() - before; n != 0 {
		t.Errorf("%d dumps", n)
	}
	p.b.ops = nil
}

// TestASilentFlowThatGoesToAndFro: left to the other node and taken over again it is in the same kernel entry still.
func TestASilentFlowThatGoesToAndFro(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	p.a.kernel[f.Key] = f
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.swap(p.a, p.b)
	p.advance(10 * time.Second)
	p.a.wantLists(0, 1)
	p.swap(p.b, p.a)
	p.advance(10 * time.Second)
	p.a.wantLists(1, 0)
	delete(p.a.kernel, f.Key) // without a word
	p.advance(reconcileEvery + time.Second)
	p.a.wantLists(0, 0)
	p.b.wantKernel()
	p.a.ops, p.b.ops = nil, nil
}

// TestEventsSwitchedOff: flows that begin while nf_conntrack_events is 0 are found, then and at its end, and followed
// afterwards.
func TestEventsSwitchedOff(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &KernelLimits{Max: 1000, Mute: true})
	one, two := conn(1, noNAT), conn(2, noNAT)
	p.a.kernel[one.Key] = one
	p.advance(reconcileEvery + time.Second)
	p.b.wantKernel(1)
	p.a.kernel[two.Key] = two
	p.tell(p.a, &KernelLimits{Max: 1000})
	p.advance(time.Second)
	p.b.wantKernel(1, 2)
	delete(p.a.kernel, two.Key)
	p.advance(reconcileEvery + time.Second)
	p.b.wantKernel(1)
	p.b.ops = nil
}
