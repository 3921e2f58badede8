package engine

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// Lives that the simulation drew in which something was told late, or what a kernel had was another entry than the one
// that was known of. The number is the seed of that day.

// TestAnOldDestroyAfterALoss is about the entry before the one that a dump has shown, the event of which was lost
// (1504).
func TestAnOldDestroyAfterALoss(t *testing.T) {
	for name, change := range map[string]func(*flow.Flow){
		"translated otherwise": func(f *flow.Flow) { f.Reply.DstL4 = 5001 },
		"translated alike":     func(f *flow.Flow) { f.State = flow.TCPSynSent },
	} {
		t.Run(name, func(t *testing.T) {
			p := activeAndStandby(t)
			p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
			f := conn(1, vip)
			f.Reply.DstL4 = 5000
			p.packet(p.a, f)
			p.advance(200 * time.Millisecond)
			p.tell(p.a, &KernelEvents{Lost: true})
			next := f
			change(&next)
			p.a.kernel[f.Key] = next
			p.advance(time.Second)
			p.tell(p.a, &KernelEvents{Lost: true, Events: []flow.Event{{Kind: flow.EventDestroy, Flow: f, Has: flow.HasTimeout}}})
			p.advance(200 * time.Millisecond)
			p.a.wantLists(1, 0)
			if p.a.e.tbl.Entry(p.a.e.tbl.Find(&f.Key)).Kern&kLiberal != 0 {
				t.Error("it counts as written by us")
			}
			p.advance(2 * time.Second)
			p.a.wantLists(1, 0)
			p.a.wantOps()
			if got := p.b.kernel[f.Key]; got.Reply != next.Reply || got.State != next.State {
				t.Errorf("%+v", got)
			}
			p.b.ops = nil
		})
	}
}

// TestLateEventsOfTheEntryBeforeOurs are not what the kernel has (2843).
func TestLateEventsOfTheEntryBeforeOurs(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.b.wantOps("create 1")
	old := f
	old.State, old.Mark = flow.TCPSynSent, 7
	p.tell(p.b, &KernelEvents{Events: []flow.Event{
		{Kind: flow.EventNew, Flow: old, Has: flow.HasReply | flow.HasStatus | flow.HasProtoInfo | flow.HasMark | flow.HasTimeout},
		{Kind: flow.EventDestroy, Flow: old, Has: flow.HasTimeout},
	}})
	p.advance(500 * time.Millisecond)
	own := p.b.e.log.Lives(p.b.e.tbl.Find(&f.Key))
	if own == nil || own.Value.State != f.State || own.Value.Mark != f.Mark {
		t.Fatalf("own %+v", own)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatThisKernelHasMeanwhile is not overwritten by an active node with what it adopts late (2933).
func TestWhatThisKernelHasMeanwhile(t *testing.T) {
	p := activeAndStandby(t, warm)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	f := conn(1, noNAT)
	f.Mark = 1
	p.packet(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.settle()
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	met := f
	met.Mark = 2
	p.b.kernel[f.Key] = met
	p.lose = nil
	p.advance(time.Second)
	p.b.wantOps("create 1", "update 1")
	if got := p.b.kernel[f.Key].Mark; got != 2 {
		t.Errorf("mark %d", got)
	}
	if own := p.b.e.log.Lives(p.b.e.tbl.Find(&f.Key)); own == nil || own.Value.Mark != 2 {
		t.Errorf("own %+v", own)
	}
}

// TestATakeoverWritesWhatWasBusy before it ends: later the kernel would know better (3538).
func TestATakeoverWritesWhatWasBusy(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.b, conn(1, noNAT))
	next := f
	next.Mark, next.Status = 2, f.Status&^flow.Assured
	p.packet(p.a, next)
	p.advance(2 * time.Second)
	p.b.wantLists(0, 1)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.b.wantRole(Active)
	p.b.wantOps("update 1", "update 1")
	if got := p.b.kernel[f.Key]; got.Mark != 2 || got.Status&flow.Assured == 0 {
		t.Errorf("%+v", got)
	}
}

// TestAConnectionThatClosedElsewhere is closed in a warm standby's kernel too once it takes over, and not there as it was
// when that was active before, for days (4443).
func TestAConnectionThatClosedElsewhere(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.b, conn(1, noNAT))
	f.State, f.Timeout = flow.TCPTimeWait, 100
	p.packet(p.a, f)
	p.advance(2 * time.Second)
	p.b.wantLists(0, 1)
	p.swap(p.a, p.b)
	p.b.wantLists(1, 0)
	p.b.wantOps("update 1")
	p.b.wantClosed(f.Key, 100)
}

// TestACloseThatIsHeardLate by the node that acts now, of a connection that it has from before and met not since: it is
// closed here too, else it would last for days, and run out at the standby that saw it close (7503, 7761).
func TestACloseThatIsHeardLate(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.swap(p.a, p.b)
	f.State, f.Timeout = flow.TCPTimeWait, 100
	p.event(p.b, flow.EventUpdate, f)
	p.swap(p.b, p.a)
	p.a.wantOps()
	p.cut = nil
	p.advance(3 * time.Second)
	p.a.wantOps("update 1")
	p.a.wantClosed(f.Key, 100)
	p.b.ops = nil
}

// TestACloseBeforeTheConnectionWasMetHere is of the one before.
func TestACloseBeforeTheConnectionWasMetHere(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.swap(p.a, p.b)
	closed := f
	closed.State, closed.Timeout = flow.TCPTimeWait, 100
	p.event(p.b, flow.EventUpdate, closed)
	p.swap(p.b, p.a)
	p.packet(p.a, f)
	p.cut = nil
	p.advance(3 * time.Second)
	if got := p.a.kernel[f.Key]; got.State != flow.TCPEstablished {
		t.Errorf("%+v", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatFollowedAHeldEndIsWritten at a standby, for the windows: its leader lists it, and the one before was translated
// otherwise (3428).
func TestWhatFollowedAHeldEndIsWritten(t *testing.T) {
	p := activeAndStandby(t)
	old, f := conn(1, vip), conn(1, noNAT)
	p.packet(p.b, old)
	p.packet(p.a, f)
	p.settle()
	p.event(p.b, flow.EventDestroy, old)
	p.packet(p.b, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps()
	p.advance(140 * time.Millisecond)
	p.b.wantOps("update 1")
}

// TestAnotherFlowEndedHere, under the key of one that is translated otherwise and is taken over from a node that acts
// still, as far as is known (2747).
func TestAnotherFlowEndedHere(t *testing.T) {
	p := activeAndStandby(t)
	old, f, other := conn(1, vip), conn(1, vip), conn(2, noNAT)
	old.Reply.DstL4, f.Reply.DstL4 = 5000, 5001
	p.packet(p.a, old)
	p.advance(200 * time.Millisecond)
	p.cut = func(from, to *fake) bool { return true }
	p.event(p.a, flow.EventDestroy, old)
	p.advance(200 * time.Millisecond)
	p.notice(p.b, vrrp.Master)
	p.notice(p.a, vrrp.Backup)
	p.advance(time.Second)
	p.cut = nil
	p.lose = func(from *fake, typ wire.Type) bool { return typ == wire.Want || typ == wire.Data }
	delete(p.b.kernel, old.Key) // unheard
	p.packet(p.b, other)
	p.advance(200 * time.Millisecond)
	p.lose = func(from *fake, typ wire.Type) bool { return typ == wire.Want || from == p.a && typ == wire.Data }
	p.packet(p.b, f)
	p.settle()
	p.a.ops = nil
	p.notice(p.a, vrrp.Master)
	p.settle()
	p.a.wantOps("create 1")
	if got := p.a.kernel[f.Key].Reply; got != f.Reply {
		t.Errorf("reply %v", got)
	}
	p.b.ops = nil
}

// TestAConnectionThatClosedUnwritten by a standby that takes over meanwhile is closed there too (3776).
func TestAConnectionThatClosedUnwritten(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.b.mute = true
	f.State, f.Timeout = flow.TCPTimeWait, 100
	p.event(p.a, flow.EventUpdate, f)
	p.advance(5 * time.Millisecond)
	p.b.mute = false
	p.notice(p.b, vrrp.Master)
	p.advance(2 * time.Second)
	p.b.wantRole(Active)
	if got := p.b.kernel[f.Key].State; got != flow.TCPTimeWait {
		t.Errorf("state %d", got)
	}
	p.b.ops = nil
}

// TestDeletedBeforeItWasTold is about an entry that was in the way of the leader's flow, and of which an event tells only
// after it was deleted (4443).
func TestDeletedBeforeItWasTold(t *testing.T) {
	p := activeAndStandby(t)
	here, there := conn(1, vip), conn(1, vip)
	here.Reply.DstL4, there.Reply.DstL4 = 5000, 5001
	p.b.kernel[here.Key] = here // a packet met it
	p.b.late = func(k flow.OpKind) bool { return k == flow.OpDelete }
	p.packet(p.a, there)
	p.advance(100 * time.Millisecond)
	p.b.wantOps("create 1", "delete 1")
	p.b.refuse = map[flow.OpKind]syscall.Errno{flow.OpCreate: syscall.ENOMEM} // so that there is time
	p.b.answer()
	p.settle()
	p.hears(p.b, flow.EventNew, here, flow.HasReply|flow.HasStatus|flow.HasProtoInfo|flow.HasTimeout)
	p.b.refuse = nil
	p.advance(3 * time.Second)
	if got := p.b.kernel[here.Key]; got.Reply != there.Reply {
		t.Errorf("the kernel has %+v", got)
	}
	p.b.ops = nil
}

// TestAPacketsEntryDeletedUnseen: it had taken the place of a copy that ended, and the event of its beginning comes after our
// delete. Who is active by then makes it again, since its connection goes on (9483); a standby has room for what its leader
// lists next.
func TestAPacketsEntryDeletedUnseen(t *testing.T) {
	for _, active := range []bool{true, false} {
		p := activeAndStandby(t)
		f := p.packet(p.a, conn(1, noNAT))
		p.advance(200 * time.Millisecond)
		met := f
		met.Mark = 2
		p.b.kernel[f.Key] = met
		p.event(p.a, flow.EventDestroy, f)
		p.advance(10 * time.Millisecond)
		p.b.wantKernel()
		if active {
			p.move(p.a, p.b)
		}
		p.hears(p.b, flow.EventNew, met, flow.HasReply|flow.HasStatus|flow.HasProtoInfo|flow.HasMark|flow.HasTimeout)
		p.advance(10 * time.Millisecond)
		if !active {
			p.b.wantLists(0, 0)
			f.Mark = 3
			p.packet(p.a, f)
			p.advance(10 * time.Millisecond)
		}
		p.b.wantKernel(1)
		if got, want := p.b.kernel[f.Key].Mark, map[bool]uint32{true: 2, false: 3}[active]; got != want {
			t.Errorf("mark %d, want %d", got, want)
		}
		p.a.ops, p.b.ops = nil, nil
	}
}

// TestAnObstacleOfWhichNobodyHadTold is not listed once it has made way (5682).
func TestAnObstacleOfWhichNobodyHadTold(t *testing.T) {
	p := activeAndStandby(t, warm)
	f, other := conn(1, vip), conn(2, vip)
	f.Reply.DstL4, other.Reply.DstL4 = 5000, 5000
	other.Status &^= flow.SeenReply | flow.Assured
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.b.kernel[other.Key] = other
	p.move(p.a, p.b)
	p.b.wantKernel(1)
	p.hears(p.b, flow.EventNew, other, flow.HasReply|flow.HasStatus|flow.HasProtoInfo|flow.HasMark|flow.HasTimeout)
	p.advance(10 * time.Millisecond)
	p.b.wantKernel(1)
	p.b.wantLists(1, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestACloseThatIsHeardAfterATakeover, of a connection that was taken over as it was before: it is closed here too (29335).
func TestACloseThatIsHeardAfterATakeover(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	f.State, f.Timeout = flow.TCPTimeWait, 100
	p.event(p.a, flow.EventUpdate, f)
	p.swap(p.a, p.b)
	p.b.ops = nil
	p.cut = nil
	p.advance(3 * time.Second)
	p.b.wantOps("update 1")
	p.b.wantClosed(f.Key, 100)
	p.a.ops = nil
}

// TestNothingIsWrittenOverWhatASleeperHasNotRead: its kernel went on meanwhile, and the events wait (48352).
func TestNothingIsWrittenOverWhatASleeperHasNotRead(t *testing.T) {
	p := activeAndStandby(t, warm)
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.mute = true
	p.move(p.a, p.b)
	p.b.mute = false
	p.now = p.now.Add(5 * time.Second)
	p.tell(p.b, &Tick{}) // what stayed unanswered is due
	p.b.wantOps()
	p.packet(p.b, conn(1, vip))
	p.advance(time.Second)
	p.b.wantOps()
	p.a.ops = nil
}

// TestWhoIsSilentKnowsLess than another active node that is heard: the last leader has died, and what it listed has begun
// anew there (35865).
func TestWhoIsSilentKnowsLess(t *testing.T) {
	p := activeAndStandby(t)
	c := p.join("c")
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.notice(c, vrrp.Master)
	p.packet(c, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.cut = func(from, to *fake) bool { return from == p.a || to == p.a }
	p.advance(1500 * time.Millisecond)
	p.move(c, p.b)
	p.advance(100 * time.Millisecond)
	if got := p.b.kernel[conn(1, vip).Key].Reply; got != conn(1, vip).Reply {
		t.Errorf("%v", got)
	}
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}

// TestWhatAnUpdateMetOfTheNextEntry is put right, although an event of the entry before came between them (268).
func TestWhatAnUpdateMetOfTheNextEntry(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.advance(time.Second)
	next := f
	next.Mark = 9
	p.a.kernel[f.Key] = next // unheard
	p.swap(p.b, p.a)
	p.a.wantOps("update 1")
	if got := p.a.kernel[f.Key].Mark; got != f.Mark {
		t.Fatalf("the update left mark %d", got)
	}
	all := flow.HasReply | flow.HasStatus | flow.HasProtoInfo | flow.HasMark | flow.HasTimeout
	p.tell(p.a, &KernelEvents{Events: []flow.Event{
		{Kind: flow.EventUpdate, Flow: f, Has: all},
		{Kind: flow.EventDestroy, Flow: f, Has: flow.HasTimeout},
		{Kind: flow.EventNew, Flow: next, Has: all},
	}})
	p.advance(500 * time.Millisecond)
	p.a.wantLists(1, 0)
	if got := p.a.kernel[f.Key].Mark; got != next.Mark {
		t.Errorf("the kernel has mark %d", got)
	}
	if own := p.a.e.log.Lives(p.a.e.tbl.Find(&f.Key)); own == nil || own.Value.Mark != next.Mark {
		t.Errorf("own %+v", own)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatHidAnotherEndsLate: what this node had from before its takeover ended moments ago, and nobody has told it. What was
// the leader's under that key is adopted then (62527).
func TestWhatHidAnotherEndsLate(t *testing.T) {
	p := activeAndStandby(t)
	old := p.packet(p.b, conn(1, noNAT))
	p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	delete(p.b.kernel, old.Key)
	p.move(p.a, p.b)
	p.advance(300 * time.Millisecond)
	p.ranOut(p.b, old)
	p.advance(300 * time.Millisecond)
	if got := p.b.kernel[old.Key].Reply; got != conn(1, vip).Reply {
		t.Errorf("%v", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatLeftAndEndedElsewhere, with the address, does not come back with it: the next one under its key is there (71218).
func TestWhatLeftAndEndedElsewhere(t *testing.T) {
	p := activeAndStandby(t, warm)
	vipOf := &Addresses{Addrs: []netip.Addr{vipNet}}
	p.tell(p.a, vipOf)
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, f)
	p.b.late = everything
	p.move(p.a, p.b)
	p.advance(20 * time.Millisecond)
	f.Mark = 7
	p.packet(p.b, f)
	p.advance(20 * time.Millisecond)
	p.tell(p.a, &Addresses{})
	p.tell(p.a, vipOf)
	p.b.answer()
	p.move(p.b, p.a)
	p.advance(time.Second)
	if got := p.a.kernel[f.Key].Mark; got != 7 {
		t.Errorf("%v", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestACloseOfWhatWasWrittenForTheLeader: a connection that closed here, and left with its address before that was heard, is
// closed in the kernel once this node acts again (73156).
func TestACloseOfWhatWasWrittenForTheLeader(t *testing.T) {
	p := activeAndStandby(t)
	vipOf := &Addresses{Addrs: []netip.Addr{vipNet}}
	p.tell(p.a, vipOf)
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	f.State, f.Timeout = flow.TCPTimeWait, 100
	p.event(p.a, flow.EventUpdate, f)
	p.evicts(p.a, f)
	p.move(p.a, p.b)
	p.advance(4 * time.Second)
	p.tell(p.a, vipOf)
	p.move(p.b, p.a)
	p.advance(time.Second)
	if got := p.a.kernel[f.Key].State; got != flow.TCPTimeWait {
		t.Errorf("state %v", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestACloseThatAnotherNodeTells of a connection that was taken over from one that had not heard of it (64837, 70135).
func TestACloseThatAnotherNodeTells(t *testing.T) {
	p, c := threeNodes(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.cut = func(from, to *fake) bool { return from == c || to == c }
	p.notice(c, vrrp.Master)
	p.settle()
	closed := f
	closed.State, closed.Timeout = flow.TCPTimeWait, 100
	p.event(c, flow.EventUpdate, closed)
	p.swap(p.a, p.b)
	p.notice(c, vrrp.Backup)
	p.cut = nil
	p.advance(3 * time.Second)
	p.b.wantClosed(f.Key, 100)
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}

// TestACloseOfARunBefore says nothing of what the node that listed it has begun since, under the same key (34210).
func TestACloseOfARunBefore(t *testing.T) {
	p, c := threeNodes(t)
	closed := conn(1, noNAT)
	closed.State, closed.Timeout = flow.TCPTimeWait, 100
	p.cut = func(from, to *fake) bool { return from == c && to == p.a || from == p.a && to == c }
	p.notice(c, vrrp.Master)
	p.packet(c, closed)
	p.advance(20 * time.Millisecond)
	p.notice(c, vrrp.Backup)
	p.settle()
	p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	p.swap(p.a, p.b)
	if got := p.b.kernel[closed.Key].State; got != flow.TCPEstablished {
		t.Errorf("state %d", got)
	}
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}
