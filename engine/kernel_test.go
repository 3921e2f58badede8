package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

func TestObstacleAtAStandby(t *testing.T) {
	p := activeAndStandby(t)
	old := conn(7, vip)
	old.Reply.DstL4 = 5000
	p.b.kernel[old.Key] = old // left over, nobody lists it
	f := conn(8, vip)
	f.Reply.DstL4 = 5000
	p.packet(p.a, f)
	p.advance(2 * time.Second)
	p.b.wantKernel(8)
	p.b.ops = nil
}

func TestObstacleThatLives(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := conn(8, vip)
	f.Reply.DstL4 = 5000
	p.packet(p.a, f)
	p.advance(100 * time.Millisecond)
	other := conn(7, vip)
	other.Reply.DstL4 = 5000
	p.b.kernel[other.Key] = other // the address came before the notice
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.b.wantOps("create 8")
	p.b.wantKernel(7)
	if n := p.b.e.Status().Activity.TakeoverFailed; n != 1 {
		t.Fatalf("%d failures told", n)
	}
}

func TestMastersFirst(t *testing.T) {
	p := activeAndStandby(t, warm)
	master, child := conn(1, noNAT), conn(2, noNAT)
	child.Extra = &flow.Extra{HasMaster: true, Master: master.Key}
	p.packet(p.a, child) // heard first, so written first
	p.packet(p.a, master)
	p.advance(100 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.b.wantKernel(1, 2)
	if x := p.b.kernel[child.Key].Extra; x == nil || !x.HasMaster {
		t.Fatal("the related flow came without its master")
	}
	p.b.ops = nil
}

func TestMasterUnknown(t *testing.T) {
	p := activeAndStandby(t)
	child := conn(2, noNAT)
	child.Extra = &flow.Extra{HasMaster: true, Master: conn(1, noNAT).Key}
	p.packet(p.a, child)
	p.advance(3 * time.Second)
	p.b.wantKernel(2)
	p.b.ops = nil
}

func TestOverrunIsMadeGoodByADump(t *testing.T) {
	p := activeAndStandby(t)
	gone, stays := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT))
	p.advance(100 * time.Millisecond)
	delete(p.a.kernel, gone.Key)
	stays.State = flow.TCPFinWait
	p.a.kernel[stays.Key] = stays
	fresh := conn(3, noNAT)
	p.a.kernel[fresh.Key] = fresh
	p.tell(p.a, &KernelEvents{Lost: true})
	if p.a.e.Status().Complete {
		t.Fatal("complete after a loss")
	}
	p.advance(2 * time.Second)
	p.b.wantKernel(2, 3)
	if got := p.b.kernel[stays.Key].State; got != flow.TCPFinWait {
		t.Fatalf("state %d", got)
	}
	p.a.wantNote(NoteOverrun, 1)
	p.b.ops = nil
}

// TestEventKnowsBetterThanADump is K9: what a dump saw before an event came does not count.
func TestEventKnowsBetterThanADump(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	p.tell(p.a, &Command{Verb: VerbResync}) // the dump is on its way, with f in it
	p.event(p.a, flow.EventDestroy, f)
	p.advance(500 * time.Millisecond)
	p.a.wantLists(0, 0)
	p.b.wantKernel()
	p.b.ops = nil
}

// TestQueuedEventsAreOlderThanTheDumpAfterALoss: what was in the queue when it overran is read after the loss
// is told.
func TestQueuedEventsAreOlderThanTheDumpAfterALoss(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	old := f
	f.State = flow.TCPTimeWait // its event was lost
	p.tell(p.a, &KernelEvents{Lost: true})
	p.event(p.a, flow.EventUpdate, old)
	p.a.kernel[f.Key] = f
	p.advance(time.Second)
	if got := p.b.kernel[f.Key].State; got != flow.TCPTimeWait {
		t.Fatalf("state %d", got)
	}
	p.b.ops = nil
}

// TestAnUnansweredUpdateMayHaveMetTheNext: an update that was perhaps carried out after a packet had made the next
// incarnation is made good.
func TestAnUnansweredUpdateMayHaveMetTheNext(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	r := p.a.e.tbl.Find(&f.Key)
	p.a.e.tbl.Entry(r).Kern |= kRewrite
	p.a.e.dirty(r)
	p.a.mute = true
	p.tell(p.a, &Tick{})
	fresh := f
	fresh.State = flow.TCPTimeWait
	p.event(p.a, flow.EventNew, fresh)
	p.a.kernel[f.Key] = f
	p.a.mute = false
	p.advance(3 * time.Second)
	if got := p.a.kernel[f.Key].State; got != flow.TCPTimeWait {
		t.Fatalf("state %d", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAChangeDuringAnOperationIsWrittenAfterIt is K7.
func TestAChangeDuringAnOperationIsWrittenAfterIt(t *testing.T) {
	p := activeAndStandby(t)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(5 * time.Millisecond)
	f.State = flow.TCPTimeWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(5 * time.Millisecond)
	p.release(wire.Data) // both before the kernel answers
	p.hold = nil
	p.advance(500 * time.Millisecond)
	p.b.wantOps("create 1", "update 1")
	if got := p.b.kernel[f.Key].State; got != flow.TCPTimeWait {
		t.Fatalf("state %d", got)
	}
}

// TestWhatCameWhileTheLeaderWasNotHeardIsWritten, though a packet met the copy here, so that the kernel knew better
// then (sim seed 125).
func TestWhatCameWhileTheLeaderWasNotHeardIsWritten(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.event(p.b, flow.EventUpdate, f)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Beat }
	p.advance(4 * time.Second)
	p.b.ops = nil
	f.State = flow.TCPTimeWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(500 * time.Millisecond)
	p.b.wantOps()
	p.lose = nil
	p.advance(500 * time.Millisecond)
	p.b.wantReady(Ready)
	p.b.wantOps("update 1")
}

// TestACreateThatWasPerhapsCarriedOut, of a flow whose end waits: the end is not told before the kernel was asked
// (sim seed 8997).
func TestACreateThatWasPerhapsCarriedOut(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.b, flow.EventDestroy, f)
	p.settle()
	p.notice(p.b, vrrp.Backup)
	p.b.late = everything
	p.tell(p.a, &Command{Verb: VerbResync}) // a heartbeat, at once
	p.settle()
	p.b.wantOps("create 1")
	p.notice(p.b, vrrp.Master)
	p.b.giveUp()
	p.advance(3 * time.Second)
	p.b.wantRole(Active)
	p.b.wantKernel(1)
	p.b.wantLists(1, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestFixedTime: a copy of GRE has a fixed timeout, so that a standby's lasts longer as a new one only.
func TestFixedTime(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(7, noNAT)
	f.L4, f.State = flow.GRE, 0
	f.Reply = f.Inverse()
	p.packet(p.a, f)
	p.advance(100 * time.Millisecond)
	p.b.wantOps("create 7")
	f.Mark = 5
	p.event(p.a, flow.EventUpdate, f)
	p.advance(100 * time.Millisecond)
	p.b.wantOps("create 7", "delete 7")
	p.advance(20 * time.Minute)
	if n := len(p.b.ops); n < 4 || n%2 != 0 {
		t.Errorf("operations %q", p.b.ops)
	}
	p.b.ops = nil
}

// TestFillLeavesRoom: what changes while a leader's flows are written must not wait until all of them are, and while
// the writer is busy nothing spins.
func TestFillLeavesRoom(t *testing.T) {
	p := activeAndStandby(t)
	for i := range 2000 {
		p.packet(p.a, conn(i+1, noNAT))
	}
	p.advance(time.Second)
	p.b.ops = nil
	e := p.b.e
	e.fill()
	for range 10 {
		e.runJobs()
	}
	if n := e.writer.pending(); n != fillAhead {
		t.Fatalf("%d entries wait for the writer, want %d", n, fillAhead)
	}
	e.writer.outstanding += maxOutstanding
	if !e.nextDeadline().After(e.now) {
		t.Fatal("it asks for steps that do nothing")
	}
	e.writer.outstanding -= maxOutstanding
	p.advance(time.Second)
	if len(p.b.ops) != 2000 || !e.writer.filled {
		t.Fatalf("%d operations", len(p.b.ops))
	}
	p.b.ops = nil
}

// fresh brings one more standby, to which only so many of a's answers come until says is nil.
func (p *pair) fresh(flows, answers int) *fake {
	for i := range flows {
		p.packet(p.a, conn(i+1, noNAT))
	}
	p.advance(time.Second)
	p.b.ops = nil
	p.says = func(payload []byte) []byte {
		if wire.Type(payload[3]) != wire.Data || payload[4]&1 == 0 {
			return payload
		}
		if answers--; answers < 0 {
			return nil
		}
		return payload
	}
	c := p.join("c")
	p.notice(c, vrrp.Backup)
	p.advance(time.Second)
	c.wantOps()
	return c
}

// TestChangesDuringAFirstSync: what begins while a hot standby hears the rest is in its kernel at once, and what
// changed or ended before the proof is written before all that had been there.
func TestChangesDuringAFirstSync(t *testing.T) {
	p := activeAndStandby(t)
	const flows = 500
	c := p.fresh(flows, 4)
	one, two := p.packet(p.a, conn(flows+1, noNAT)), p.packet(p.a, conn(flows+2, noNAT))
	p.advance(2 * time.Millisecond)
	c.wantOps(fmt.Sprint("create ", flows+1), fmt.Sprint("create ", flows+2))
	one.State = flow.TCPCloseWait
	p.event(p.a, flow.EventUpdate, one)
	p.event(p.a, flow.EventDestroy, two)
	p.advance(100 * time.Millisecond)
	c.wantOps()
	p.says = nil
	p.advance(5 * time.Second)
	first := slices.Clone(c.ops[:2])
	slices.Sort(first)
	if want := []string{fmt.Sprint("delete ", flows+2), fmt.Sprint("update ", flows+1)}; !slices.Equal(first, want) {
		t.Errorf("first %q, want %q", first, want)
	}
	if len(c.kernel) != flows+1 {
		t.Errorf("%d flows in its kernel", len(c.kernel))
	}
	p.b.ops, c.ops = nil, nil
}

// TestNothingMakesWayBeforeTheProof: what has the reply tuple of a flow that begins may be one that the leader lists, too.
func TestNothingMakesWayBeforeTheProof(t *testing.T) {
	p := activeAndStandby(t)
	c := p.fresh(10, 0)
	there := tunnel(1)
	c.kernel[there.Key] = there
	p.packet(p.a, tunnel(2))
	p.advance(100 * time.Millisecond)
	c.wantOps("create 0")
	c.wantOnly(there)
	p.b.ops = nil
}
