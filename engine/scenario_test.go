package engine

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

var (
	vip    = flow.Addr{198, 51, 100, 1}
	vipNet = netip.AddrFrom4([4]byte{198, 51, 100, 1})
)

func TestFirstSync(t *testing.T) {
	p := newPair(t)
	p.notice(p.a, vrrp.Master)
	for i := range 500 {
		p.packet(p.a, conn(1000+i, noNAT))
	}
	p.advance(time.Second)
	p.notice(p.b, vrrp.Backup)
	p.advance(2 * time.Second)
	p.b.wantLists(0, 500)
	p.b.wantReady(Ready)
	if len(p.b.kernel) != 500 {
		t.Fatalf("b's kernel has %d flows", len(p.b.kernel))
	}
	p.b.ops = nil
}

func TestLiveChanges(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 1")
	f.State = flow.TCPTimeWait
	p.event(p.a, flow.EventUpdate, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("update 1")
	if got := p.b.kernel[f.Key].State; got != flow.TCPTimeWait {
		t.Fatalf("state %d", got)
	}
	p.event(p.a, flow.EventDestroy, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("delete 1")
	p.b.wantLists(0, 0)
}

func TestGapIsAskedFor(t *testing.T) {
	p := activeAndStandby(t)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.packet(p.a, conn(1, noNAT))
	p.advance(50 * time.Millisecond)
	p.b.wantLists(0, 0)
	p.lose = nil
	p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantLists(0, 2)
	p.b.wantOps("create 1", "create 2")
	if s := p.b.e.Status(); s.Peers[0].Restarts != 0 || s.Messages.Lost == 0 {
		t.Fatalf("%d restarts, %d lost", s.Peers[0].Restarts, s.Messages.Lost)
	}
}

// TestEveryLossIsCountedOnce: while one gap is asked for the next ones come; and asking again is no further loss.
func TestEveryLossIsCountedOnce(t *testing.T) {
	p := activeAndStandby(t)
	sent, lost := 0, 0
	p.lose = func(from *fake, typ wire.Type) bool { return typ == wire.Want && sent < 60 }
	p.says = func(payload []byte) []byte {
		if wire.Type(payload[3]) != wire.Data {
			return payload
		}
		if sent++; sent%3 != 0 {
			return payload
		}
		if answer := payload[4]&1 != 0; !answer {
			lost++
		}
		return nil
	}
	for i := range 90 {
		p.packet(p.a, conn(i+1, noNAT))
		p.advance(2 * time.Millisecond)
	}
	p.lose, p.says = nil, nil
	p.advance(3 * time.Second)
	p.b.wantLists(0, 90)
	if n := int(p.b.e.Status().Messages.Lost); n < lost-1 || n > lost+1 {
		t.Errorf("%d counted as lost of %d", n, lost)
	}
	p.b.ops = nil
}

func TestRestartKeepsWhatIsThereUntilProof(t *testing.T) {
	p := activeAndStandby(t)
	gone := p.packet(p.a, conn(1, noNAT))
	p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1", "create 2")
	// b misses the end, and a forgets it: a holds b for gone.
	p.lose = func(*fake, wire.Type) bool { return true }
	p.advance(11 * time.Minute)
	p.event(p.a, flow.EventDestroy, gone)
	p.advance(5 * time.Second)
	p.b.ops = nil
	p.b.wantLists(0, 2)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Beat && p.b.restarts() > 0 }
	p.packet(p.a, conn(3, noNAT))
	p.advance(2 * time.Second)
	if p.b.restarts() != 1 {
		t.Fatalf("%d restarts", p.b.restarts())
	}
	p.b.wantKernel(1, 2, 3) // no proof yet, no sweep
	p.lose = nil
	p.advance(5 * time.Second)
	p.b.wantKernel(2, 3)
	p.b.wantLists(0, 2)
	p.b.ops = nil
}

func (n *fake) restarts() uint64 { return n.e.Status().Peers[0].Restarts }

func TestMismatchRestartsWithoutHarm(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.b.e.peers.list[0].rep.Digest++ // memory went bad
	p.advance(90 * time.Millisecond)
	p.b.wantNote(NoteMismatch, 1)
	p.b.wantKernel(1)
	p.advance(2 * time.Second)
	p.b.wantReady(Ready)
	p.b.wantNote(NoteMismatch, 0)
	p.b.ops = nil // the one that was doubted may be written again
	p.b.wantKernel(1)
}

// TestOldHeartbeatIsNoMismatch: a repair leaves out what has changed since the heartbeat that comes after it.
func TestOldHeartbeatIsNoMismatch(t *testing.T) {
	p := activeAndStandby(t)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Want }
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	if len(p.held) == 0 {
		t.Fatal("b asks for nothing")
	}
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Beat || typ == wire.Want }
	p.advance(100 * time.Millisecond) // a heartbeat for the state before the change
	f.State = flow.TCPFinWait
	p.event(p.a, flow.EventUpdate, f)
	p.lose = nil
	p.release(wire.Want)
	p.advance(5 * time.Millisecond)
	p.release(wire.Beat)
	p.b.wantNote(NoteMismatch, 0)
	p.hold = nil
	p.release(wire.Want)
	p.advance(time.Second)
	p.b.wantReady(Ready)
	p.b.ops = nil
}

func TestTakeoverHotWritesNothing(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.packet(p.a, conn(2, vip))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1", "create 2")
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.b.wantOps()
	p.b.wantLists(2, 0)
	p.notice(p.a, vrrp.Backup)
	p.advance(3 * time.Second)
	p.a.wantLists(0, 2)
	p.a.wantOps("update 1", "update 2") // BE_LIBERAL, for the way back
	p.a.wantReady(Ready)
}

func TestTakeoverWarmCommits(t *testing.T) {
	p := activeAndStandby(t, warm)
	p.packet(p.a, conn(1, noNAT))
	p.packet(p.a, conn(2, vip))
	p.advance(200 * time.Millisecond)
	p.b.wantOps()
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.b.wantOps("create 1", "create 2")
	if s := p.b.e.Status().Activity; s.TakeoverAdopted != 2 || s.TakeoverWritten != 2 || s.TakeoverFailed != 0 {
		t.Fatalf("%+v", s)
	}
}

// TestTakeoverTellsWhenTheLastFlowWasIn: a kernel that is slow to answer counts, what it had already does not.
func TestTakeoverTellsWhenTheLastFlowWasIn(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.settle()
	if s := p.b.e.Status().Activity; s.TakeoverForwarding != 0 {
		t.Errorf("hot: %+v", s)
	}
	p.b.ops = nil

	p = activeAndStandby(t, warm)
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.now = p.now.Add(3 * time.Millisecond)
	p.settle()
	p.b.wantOps("create 1")
	if s := p.b.e.Status().Activity; s.TakeoverForwarding != 3*time.Millisecond {
		t.Errorf("warm: %+v", s)
	}
}

// TestAWarmStandbyLetsGoOfWhatEnded: what went through it before and ended since is in the way of the connections
// that reuse its addresses and ports, in the moment before the commit.
func TestAWarmStandbyLetsGoOfWhatEnded(t *testing.T) {
	p := activeAndStandby(t, warm)
	ends, stays := p.packet(p.a, conn(1, vip)), p.packet(p.a, conn(2, vip))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.b.wantOps("create 1", "create 2")
	p.advance(2 * time.Second)
	p.a.wantLists(0, 2)
	p.event(p.b, flow.EventDestroy, ends)
	p.advance(200 * time.Millisecond)
	p.a.wantOps("delete 1")
	p.a.wantKernel(2)
	if _, ok := p.a.kernel[stays.Key]; !ok {
		t.Error("the flow that goes on is gone")
	}
}

// TestAWarmStandbyLetsGoOfWhatWasReplaced: the same client port again, translated to another port.
func TestAWarmStandbyLetsGoOfWhatWasReplaced(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.advance(2 * time.Second)
	p.b.ops = nil
	next := f
	next.Reply.DstL4++
	p.event(p.b, flow.EventDestroy, f)
	p.event(p.b, flow.EventNew, next)
	p.advance(200 * time.Millisecond)
	p.a.wantOps("delete 1")
	p.a.wantKernel()
	p.swap(p.b, p.a)
	p.a.wantOps("create 1")
	if p.a.kernel[next.Key].Reply != next.Reply {
		t.Errorf("%+v", p.a.kernel)
	}
}

func TestFailbackGivesTheFlowsBack(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.advance(2 * time.Second)
	p.a.wantLists(0, 1)
	p.b.wantLists(1, 0)
	p.swap(p.b, p.a)
	p.advance(2 * time.Second)
	p.a.wantLists(1, 0)
	p.b.wantLists(0, 1)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(500 * time.Millisecond)
	p.a.wantKernel()
	p.b.wantKernel()
	p.a.ops, p.b.ops = nil, nil
}

// purgeable has b demoted with a flow of its own that the leader cannot list: its address is another's.
func purgeable(t *testing.T) (*pair, flow.Flow) {
	p := activeAndStandby(t)
	f := conn(9, noNAT)
	p.b.kernel[f.Key] = f
	p.tell(p.b, &Command{Verb: VerbResync}) // what a packet left here meanwhile
	p.advance(100 * time.Millisecond)
	p.b.wantLists(1, 0)
	return p, f
}

func TestPurgeWithoutAPacket(t *testing.T) {
	p, _ := purgeable(t)
	for range 6 {
		p.aged(p.b, 5*time.Second)
		if got, want := p.b.e.Status().Kernel.Suspects, len(p.b.kernel); got != want {
			t.Errorf("%d suspects are shown, %d are there", got, want)
		}
	}
	p.b.wantOps("delete 9")
	p.b.wantNote(NotePurged, 1)
	p.b.wantLists(0, 0)
}

func TestPurgeSparesWhatAPacketRefreshed(t *testing.T) {
	p, _ := purgeable(t)
	p.advance(60 * time.Second) // the kernel shows the same timeout again and again
	p.b.wantOps()
	p.b.wantKernel(9)
}

// TestPurgeWaitsUntilTheLeaderCouldAdopt: what only a demoted node had stays there until the leader's HAVE
// says that it knows of it.
func TestPurgeWaitsUntilTheLeaderCouldAdopt(t *testing.T) {
	p := activeAndStandby(t)
	p.swap(p.a, p.b)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Data }
	p.packet(p.b, conn(5, noNAT))
	p.advance(300 * time.Millisecond)
	p.swap(p.b, p.a)
	p.aged(p.b, 50*time.Second)
	p.b.wantKernel(5)
	p.lose = nil
	p.advance(time.Second)
	p.a.wantKernel(5) // merged
	p.a.ops, p.b.ops = nil, nil
}

func TestReadyWaitsForTheKernel(t *testing.T) {
	p := newPair(t)
	p.notice(p.a, vrrp.Master)
	for i := range 5 {
		p.packet(p.a, conn(1+i, noNAT))
	}
	p.b.mute = true
	p.notice(p.b, vrrp.Backup)
	p.advance(5 * time.Second)
	p.b.wantReady(NotReady)
	p.b.mute = false
	p.advance(5 * time.Second)
	p.b.wantReady(Ready)
	p.b.wantKernel(1, 2, 3, 4, 5)
	p.b.ops = nil
}

func TestEvictionIsNotAnEnd(t *testing.T) {
	for _, order := range []string{"address first", "event first"} {
		t.Run(order, func(t *testing.T) {
			p := newPair(t)
			p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
			p.notice(p.a, vrrp.Master)
			p.notice(p.b, vrrp.Backup)
			p.advance(time.Second)
			f := p.packet(p.a, conn(1, vip))
			p.advance(100 * time.Millisecond)
			if order == "address first" {
				p.evicts(p.a, f)
			} else {
				p.event(p.a, flow.EventDestroy, f)
				p.advance(20 * time.Millisecond)
				p.tell(p.a, &Addresses{})
			}
			p.notice(p.a, vrrp.Backup)
			p.advance(50 * time.Millisecond)
			p.notice(p.b, vrrp.Master)
			p.advance(2 * time.Second)
			p.b.wantRole(Active)
			p.b.wantLists(1, 0)
			p.b.wantKernel(1)
			p.b.wantOps("create 1")
			p.a.wantKernel(1) // back as a copy
			p.a.ops = nil
		})
	}
}

func TestEndOfATranslatedFlow(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, vip))
	p.advance(100 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(50 * time.Millisecond)
	p.b.wantKernel(1) // it may be an eviction
	p.advance(100 * time.Millisecond)
	p.b.wantKernel()
	p.b.wantOps("create 1", "delete 1")
}

func TestStatisticsAddUp(t *testing.T) {
	p := activeAndStandby(t)
	for i := range 10 {
		p.packet(p.a, conn(100+i, noNAT))
	}
	p.event(p.a, flow.EventDestroy, conn(100, noNAT))
	p.packet(p.a, conn(101, noNAT)) // anew, its end unheard
	p.advance(300 * time.Millisecond)
	p.swap(p.a, p.b)
	p.advance(3 * time.Second)
	for _, n := range []*fake{p.a, p.b} {
		for name, c := range map[string]CacheStats{"internal": n.e.Status().Internal, "external": n.e.Status().External} {
			if c.Created-c.Destroyed != uint64(c.Active) {
				t.Errorf("%s, %s: %d created, %d destroyed, %d active", n.name, name, c.Created, c.Destroyed, c.Active)
			}
		}
	}
	if in, ex := p.b.e.Status().Internal.Active, p.a.e.Status().External.Active; in != ex || in != 9 {
		t.Errorf("active node's internal %d, standby's external %d", in, ex)
	}
	p.a.ops, p.b.ops = nil, nil
}

func TestTakeoverEndsWithoutAKernel(t *testing.T) {
	p := activeAndStandby(t, warm)
	for i := range 20 {
		p.packet(p.a, conn(100+i, noNAT))
	}
	p.advance(300 * time.Millisecond)
	p.b.mute = true
	p.notice(p.b, vrrp.Master)
	p.advance(10 * time.Millisecond)
	p.b.wantRole(Active)
	if n := p.b.e.Status().Activity.TakeoverFailed; n != 20 {
		t.Errorf("%d failures told", n)
	}
	p.b.mute = false
	p.advance(3 * time.Second)
	if len(p.b.kernel) != 20 {
		t.Errorf("%d flows in the kernel once it answers", len(p.b.kernel))
	}
	p.b.ops = nil
}

func TestSameInputsSameBytes(t *testing.T) {
	run := func() []byte {
		p := activeAndStandby(t)
		for i := range 300 {
			p.packet(p.a, conn(1000+i, noNAT))
		}
		p.advance(time.Second)
		p.swap(p.a, p.b)
		p.advance(3 * time.Second)
		p.a.ops, p.b.ops = nil, nil
		return append(p.a.bytes.Bytes(), p.b.bytes.Bytes()...)
	}
	if !bytes.Equal(run(), run()) {
		t.Fatal("two runs differ")
	}
}

// TestNoticesAndRoles is the table of what each notice does in each role.
func TestNoticesAndRoles(t *testing.T) {
	for _, c := range []struct {
		role   Role
		notice vrrp.State
		want   Role
	}{
		{Standby, vrrp.Master, Active},
		{Standby, vrrp.Backup, Standby},
		{Standby, vrrp.Fault, Standby},
		{Standby, vrrp.Stop, Standby},
		{Standby, vrrp.Deleted, Standby},
		{Active, vrrp.Master, Active},
		{Active, vrrp.Backup, Standby},
		{Active, vrrp.Fault, Standby},
		{Active, vrrp.Stop, Standby},
		{Active, vrrp.Deleted, Standby},
	} {
		p := newPair(t)
		if c.role == Active {
			p.notice(p.a, vrrp.Master)
			p.settle()
		}
		p.notice(p.a, c.notice)
		p.settle()
		if got := p.a.e.Status().Role; got != c.want {
			t.Errorf("%v, %v: %v, want %v", c.role, c.notice, got, c.want)
		}
	}
}

func TestReadyIsUnknownBeforeTheFirstNotice(t *testing.T) {
	p := newPair(t)
	p.advance(time.Second)
	p.a.wantReady(LeaveAsItIs)
	p.notice(p.a, vrrp.Backup)
	p.a.wantReady(NotReady)
}

// TestEventsDoNotAllocate: the common path costs no allocation per event.
func TestEventsDoNotAllocate(t *testing.T) {
	p := activeAndStandby(t)
	const n = 512
	in := &KernelEvents{}
	for i := range n {
		f := conn(1000+i, noNAT)
		in.Events = append(in.Events, flow.Event{Kind: flow.EventNew, Flow: f, Has: flow.HasReply | flow.HasStatus | flow.HasTimeout | flow.HasProtoInfo | flow.HasMark})
	}
	p.lose = func(*fake, wire.Type) bool { return true }
	p.a.e.Step(p.now, in)
	for i := range in.Events {
		in.Events[i].Kind = flow.EventUpdate
	}
	for range 20 {
		p.now = p.now.Add(2 * time.Millisecond)
		p.a.e.Step(p.now, in)
	}
	per := testing.AllocsPerRun(50, func() {
		p.now = p.now.Add(2 * time.Millisecond)
		p.a.e.Step(p.now, in)
	}) / n
	if per > 0.05 { // a block of the log, a datagram: per batch, not per event
		t.Errorf("%.3f allocations an event", per)
	}
}

// TestQuietHeartbeats: while nothing happens a node says five times less, and says at once that something has.
func TestQuietHeartbeats(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	p.b.wantOps("create 1")
	beats := func(d time.Duration) int {
		n := 0
		p.lose = func(from *fake, typ wire.Type) bool {
			if from == p.a && typ == wire.Beat {
				n++
			}
			return false
		}
		p.advance(d)
		p.lose = nil
		return n
	}
	if n := beats(time.Second); n < 9 {
		t.Errorf("%d heartbeats in the second after a change", n)
	}
	p.advance(2 * time.Second)
	if n := beats(5 * time.Second); n < 9 || n > 11 {
		t.Errorf("%d heartbeats in 5 s", n)
	}
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.packet(p.a, conn(2, noNAT))
	p.advance(50 * time.Millisecond)
	p.lose = nil
	p.advance(150 * time.Millisecond)
	p.b.wantOps("create 2") // though what told it was lost
	p.advance(4 * time.Second)
	p.cut = func(from, _ *fake) bool { return from == p.a }
	p.advance(2 * time.Second) // b's next heartbeat after three were lost says so
	if n := beats(time.Second); n < 9 {
		t.Errorf("%d heartbeats in a second while they are lost", n)
	}
}

// TestQuietHeartbeatsGoTogether: what costs an idle node is to wake up, so one heartbeat has the others follow at once.
func TestQuietHeartbeatsGoTogether(t *testing.T) {
	p, c := threeNodes(t)
	p.advance(4 * purgeAfter) // the purge's dumps are over
	p.b.e.send.nextBeat = p.b.e.send.nextBeat.Add(130 * time.Millisecond)
	c.e.send.nextBeat = c.e.send.nextBeat.Add(290 * time.Millisecond)
	p.advance(2 * time.Second)
	sent, at := map[*fake]int{}, map[time.Time]bool{}
	p.lose = func(from *fake, typ wire.Type) bool {
		sent[from]++
		at[p.now] = true
		return false
	}
	p.advance(5 * time.Second)
	for n, beats := range sent {
		if beats < 9 || beats > 11 {
			t.Errorf("%s: %d heartbeats in 5 s", n.name, beats)
		}
	}
	if len(sent) != 3 || len(at) > 11 {
		t.Errorf("%d nodes, %d times", len(sent), len(at))
	}
	p.cut = func(from, _ *fake) bool { return from == p.a } // whoever began before
	p.advance(time.Second)
	sent = map[*fake]int{}
	p.advance(2 * time.Second)
	for n, beats := range sent {
		if beats < 3 {
			t.Errorf("%s: %d heartbeats in 2 s without those of a", n.name, beats)
		}
	}
}

// TestTwoActiveWithLosses: that another node acts is not forgotten, and told again, for one heartbeat that is lost.
func TestTwoActiveWithLosses(t *testing.T) {
	p := activeAndStandby(t)
	p.notice(p.b, vrrp.Master)
	p.advance(20 * time.Second)
	n := 0
	p.lose = func(_ *fake, typ wire.Type) bool {
		n++
		return typ == wire.Beat && n%5 == 0
	}
	p.a.notes, p.b.notes = nil, nil
	p.advance(time.Minute)
	for _, f := range p.all {
		for _, note := range f.notes {
			if note.Kind == NoteOneActive || note.Kind == NoteTwoActive {
				t.Fatalf("%s: %+v", f.name, note)
			}
		}
	}
	p.a.ops, p.b.ops = nil, nil
}
