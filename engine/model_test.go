package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// The rules that the models of tests/model refuted, each as it goes wrong on the engine; see docs/MODEL.md.

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

// few has tombstones forgotten as soon as there are more than one.
func few(c *Config) { c.TableMax = 1 }

// end tells n of the ends of those flows, in one batch.
func (p *pair) end(n *fake, flows ...flow.Flow) {
	in := &KernelEvents{}
	for _, f := range flows {
		delete(n.kernel, f.Key)
		in.Events = append(in.Events, flow.Event{Kind: flow.EventDestroy, Flow: f})
	}
	p.tell(n, in)
}

// TestLateDataAfterARestart is WAS_FLOOR: an end was taken, a restart forgot it, and DATA from before it comes late.
func TestLateDataAfterARestart(t *testing.T) {
	p := activeAndStandby(t)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(5 * time.Millisecond)
	p.hold = nil
	p.event(p.a, flow.EventDestroy, f)
	p.advance(5 * time.Millisecond)
	p.hold = func(from *fake, typ wire.Type) bool { return typ == wire.Want || typ == wire.Beat }
	p.tell(p.b, &Command{Verb: VerbRequestResync})
	p.release(wire.Data)
	p.b.wantLists(0, 0)
	p.b.wantOps()
}

// TestAnEndGoesOutBeforeItIsForgotten is WAS_PRUNE: a peer that was silent for long is heard again in the
// millisecond between an end and its DATA.
func TestAnEndGoesOutBeforeItIsForgotten(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	p.cut = func(from, _ *fake) bool { return from == p.b }
	p.advance(forgetAfter + time.Second)
	p.b.ops = nil
	a := p.a.e
	p.tell(p.a, &Tick{})
	p.now = a.peers.pruned.Add(beatEvery - 500*time.Microsecond)
	p.tell(p.a, &Keys{}) // a heartbeat, so that the next flush is in a millisecond
	p.now = a.peers.pruned.Add(beatEvery)
	p.event(p.a, flow.EventDestroy, f)
	p.cut = nil
	p.tell(p.b, &Keys{}) // and one that has a meet it again
	p.advance(10 * time.Millisecond)
	p.b.wantLists(0, 0)
	p.b.ops = nil
}

// TestForgottenEndsAreNotPassedOver is WAS_PRUNE where there are more ends than a log keeps: the range that
// lacks them is not said to be known.
func TestForgottenEndsAreNotPassedOver(t *testing.T) {
	p := activeAndStandby(t, few)
	f, g := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT))
	p.advance(time.Second)
	p.now = p.a.e.peers.pruned.Add(beatEvery)
	p.end(p.a, f, g)
	p.advance(2 * time.Second)
	p.b.wantNote(NoteMismatch, 0)
	p.b.wantLists(0, 0)
	p.b.ops = nil
}

// TestForgottenWhileItIsGiven is WAS_GIVE: the ends at the end of a long answer are forgotten while its beginning goes out.
func TestForgottenWhileItIsGiven(t *testing.T) {
	p := activeAndStandby(t, few)
	f, g := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT))
	p.advance(time.Second)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.hold = func(_ *fake, typ wire.Type) bool { return typ == wire.Want }
	for i := range 2000 {
		p.packet(p.a, conn(100+i, noNAT))
	}
	p.advance(beatEvery)
	p.tell(p.a, &Tick{})
	pruned := p.a.e.peers.pruned
	p.end(p.a, f, g)
	p.tell(p.a, &Keys{}) // a heartbeat
	p.advance(pruned.Add(beatEvery - 500*time.Microsecond).Sub(p.now))
	p.lose, p.hold = nil, nil
	p.release(wire.Want)
	p.advance(50 * time.Millisecond)
	p.b.wantNote(NoteMismatch, 0)
	p.b.ops = nil
}

// TestNothingHeldAndLateData is WAS_BASE: who holds nothing asks as from the log's end, and then DATA from before
// that comes late.
func TestNothingHeldAndLateData(t *testing.T) {
	p := newPair(t, few)
	p.lose = func(_ *fake, typ wire.Type) bool { return typ == wire.Want }
	p.hold = func(_ *fake, typ wire.Type) bool { return typ == wire.Data }
	f, g := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT))
	p.advance(5 * time.Millisecond)
	p.hold = nil
	p.lose = func(_ *fake, typ wire.Type) bool { return typ == wire.Want || typ == wire.Data }
	p.end(p.a, f, g)
	p.advance(200 * time.Millisecond)
	p.lose, p.hold = nil, func(_ *fake, typ wire.Type) bool { return typ == wire.Want }
	p.advance(time.Second)
	p.release(wire.Data)
	p.hold = nil
	p.release(wire.Want)
	p.advance(time.Second)
	p.b.wantNote(NoteMismatch, 0)
}

// TestMetWhenTheLogWasEmpty is WAS_FROM_0: a question from 0 lacks ends that are forgotten all the same.
func TestMetWhenTheLogWasEmpty(t *testing.T) {
	p := newPair(t, few)
	p.hold = func(_ *fake, typ wire.Type) bool { return typ == wire.Data || typ == wire.Beat }
	f, g := p.packet(p.a, conn(1, noNAT)), p.packet(p.a, conn(2, noNAT))
	p.advance(5 * time.Millisecond)
	p.hold = func(_ *fake, typ wire.Type) bool { return typ == wire.Want || typ == wire.Beat }
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.end(p.a, f, g)
	p.advance(5 * time.Millisecond)
	p.lose = nil
	p.packet(p.a, conn(3, noNAT))
	p.advance(200 * time.Millisecond)
	p.release(wire.Data)
	p.hold = nil
	p.release(wire.Want)
	p.advance(time.Second)
	p.b.wantNote(NoteMismatch, 0)
}

// TestReadyByProofAgainstTheOneBefore is WAS_READY_AT: since the last proof another node was active, which is silent
// now and of which not all is here.
func TestReadyByProofAgainstTheOneBefore(t *testing.T) {
	p, c := threeNodes(t)
	p.cut = func(from, _ *fake) bool { return from == p.a }
	p.lose = func(from *fake, typ wire.Type) bool { return from == c && typ == wire.Data }
	p.notice(c, vrrp.Master)
	p.packet(c, conn(1, noNAT))
	p.advance(4 * time.Second)
	p.b.wantReady(NotReady)
	p.cut = func(from, _ *fake) bool { return from == p.a || from == c }
	p.advance(5 * time.Second)
	p.b.wantReady(NotReady)
}

// TestEndedWhileTakingOver is WAS_ENDED: a packet met the flow here before the notice, it ended during the takeover, and
// then the record of the node before comes late.
func TestEndedWhileTakingOver(t *testing.T) {
	p := activeAndStandby(t, warm)
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	f := p.lateRecord(conn(2, noNAT))
	p.notice(p.a, vrrp.Backup)
	p.settle()
	p.packet(p.b, f)
	p.notice(p.b, vrrp.Master)
	p.b.wantRole(TakingOver)
	p.event(p.b, flow.EventDestroy, f)
	p.release(wire.Data)
	p.b.wantRole(Active)
	p.b.wantKernel(1)
	p.b.wantOps("create 1")
	p.a.ops = nil
}

// TestEndedBeforeTheStepBackIsHeard is WAS_ENDED: the flow ended here, then the node before is heard to have stepped back
// earlier, then comes its record.
func TestEndedBeforeTheStepBackIsHeard(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	f := p.lateRecord(conn(2, noNAT))
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a || typ == wire.Want }
	p.cut = func(from, _ *fake) bool { return from == p.b }
	p.notice(p.a, vrrp.Backup)
	p.advance(100 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.packet(p.b, f)
	p.advance(time.Second)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(time.Second)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data || typ == wire.Want }
	p.release(wire.Beat)
	p.release(wire.Data)
	p.advance(100 * time.Millisecond)
	p.b.wantKernel(1)
	p.b.wantOps("create 1")
	p.a.ops = nil
}

// TestEndedHereWhileTheOtherActed is what must not come of WAS_ENDED: both were active, out of sight of each other, and
// what ended here went on there until that one stepped back.
func TestEndedHereWhileTheOtherActed(t *testing.T) {
	p := activeAndStandby(t)
	p.cut = func(*fake, *fake) bool { return true }
	f := p.packet(p.a, conn(2, noNAT))
	p.notice(p.b, vrrp.Master)
	p.packet(p.b, f)
	p.advance(20 * time.Second)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(5 * time.Second)
	p.notice(p.a, vrrp.Backup)
	p.advance(5 * time.Second)
	p.cut = nil
	p.advance(time.Second)
	p.b.wantLists(1, 0)
	p.b.wantKernel(2)
	p.a.ops, p.b.ops = nil, nil
}

// lateRecord has f begin at a, whose DATA about it is held, as all questions are.
func (p *pair) lateRecord(f flow.Flow) flow.Flow {
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data || typ == wire.Want }
	p.packet(p.a, f)
	p.advance(5 * time.Millisecond)
	return f
}

// TestEndsAreKeptForLateRecords is WAS_ENDED: the end is known to all, but not the record that is to come.
func TestEndsAreKeptForLateRecords(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	f := p.lateRecord(conn(2, noNAT))
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.packet(p.b, f)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(time.Second)
	p.release(wire.Data)
	p.b.wantKernel(1)
	p.b.wantOps("create 1")
	p.a.ops = nil
}
