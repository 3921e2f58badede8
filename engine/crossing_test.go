package engine

import (
	"syscall"
	"testing"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// What crosses on its way: an event, an answer, a record and an end may each be older than what is known already. The
// seeds named here are of the simulation on the day when each was found.

// TestWhatIsReadAfterTheStepDown was met before it: the next active node takes it over (14065).
func TestWhatIsReadAfterTheStepDown(t *testing.T) {
	p := activeAndStandby(t)
	p.move(p.a, p.b)
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.wantOps("create 1")
	p.a.ops = nil
}

// TestADumpDuringAnUpdate shows what came after what is being written, which is written anew (6034).
func TestADumpDuringAnUpdate(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.a.late = func(k flow.OpKind) bool { return k == flow.OpUpdate }
	p.a.e.rewrite(p.a.e.tbl.Find(&f.Key))
	p.tell(p.a, &Tick{})
	next := f
	next.Mark = 7
	p.a.kernel[f.Key] = next             // unheard
	p.tell(p.a, &Woke{For: time.Second}) // it compares
	p.advance(100 * time.Millisecond)
	p.a.kernel[f.Key] = f // the update is carried out
	p.a.answer()
	p.advance(time.Second)
	if got := p.a.kernel[f.Key].Mark; got != 7 {
		t.Errorf("mark %d", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatAnObstacleHadHidden is taken over, from a node that steps back and from one that does not: what was in the way, and
// goes, has the key of its connection (6665, 36568).
func TestWhatAnObstacleHadHidden(t *testing.T) {
	t.Run("one active", func(t *testing.T) { obstacleHidSomething(t, func(p *pair) { p.move(p.a, p.b) }) })
	t.Run("two", func(t *testing.T) { obstacleHidSomething(t, func(p *pair) { p.notice(p.b, vrrp.Master) }) })
}

func obstacleHidSomething(t *testing.T, takeover func(*pair)) {
	p := activeAndStandby(t)
	hidden, f := conn(1, noNAT), conn(2, noNAT)
	f.Reply.DstL4 = 7
	old := conn(1, noNAT) // has f's reply tuple
	old.Reply = f.Reply
	old.Status = flow.Confirmed
	p.packet(p.b, old)
	p.cut = func(from, _ *fake) bool { return from == p.b }
	p.packet(p.a, hidden)
	p.packet(p.a, f)
	p.advance(20 * time.Millisecond)
	takeover(p)
	p.advance(time.Second)
	if got := p.b.kernel[hidden.Key].Reply; got != hidden.Reply {
		t.Errorf("%v", got)
	}
	if got := p.b.kernel[f.Key].Reply; got != f.Reply {
		t.Errorf("%v", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAnEventOfWhatWasReplaced comes late, and what refuses an update is translated otherwise: that is ours (7359).
func TestAnEventOfWhatWasReplaced(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, vip))
	p.advance(200 * time.Millisecond)
	p.swap(p.a, p.b)
	p.b.ops = nil
	p.b.refuse = map[flow.OpKind]syscall.Errno{flow.OpUpdate: syscall.EBUSY}
	p.hears(p.b, flow.EventNew, conn(1, noNAT), flow.HasReply|flow.HasStatus|flow.HasProtoInfo|flow.HasTimeout)
	p.advance(100 * time.Millisecond)
	if own := p.b.e.log.Lives(p.b.e.tbl.Find(&f.Key)); own == nil || own.Value.Reply != f.Reply {
		t.Errorf("own %+v", own)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatWasReopenedElsewhere is taken over: what closed here, and waits for its end, has its key (48108).
func TestWhatWasReopenedElsewhere(t *testing.T) {
	p := activeAndStandby(t)
	closed := conn(1, noNAT)
	closed.State, closed.Timeout = flow.TCPTimeWait, 100
	p.packet(p.a, closed)
	p.cut = func(from, _ *fake) bool { return from == p.a }
	p.move(p.a, p.b)
	p.packet(p.b, conn(1, vip))
	p.advance(time.Second)
	p.swap(p.b, p.a)
	if got := p.a.kernel[closed.Key]; got.Reply != conn(1, vip).Reply || got.State != flow.TCPEstablished {
		t.Errorf("%v, state %d", got.Reply, got.State)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatBeganAgainUnheard at one of two active nodes, after the other had told the end of the one before, is a connection of
// its own: it is taken over (40162).
func TestWhatBeganAgainUnheard(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	next := f
	next.Mark = 7
	p.b.kernel[f.Key] = next             // unheard
	p.tell(p.b, &Woke{For: time.Second}) // it compares
	p.advance(time.Second)
	p.notice(p.b, vrrp.Backup)
	p.advance(time.Second)
	if got := p.a.kernel[f.Key].Mark; got != next.Mark {
		t.Errorf("mark %d", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatThePurgeDeleted is not taken over from whom the leader took it: that node was cut off when the leader told the end,
// and stepped down before (48090).
func TestWhatThePurgeDeleted(t *testing.T) {
	p, c := threeNodes(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.notice(c, vrrp.Master)
	p.advance(200 * time.Millisecond)
	p.cut = func(from, to *fake) bool { return from == p.a || to == p.a }
	p.notice(p.a, vrrp.Backup)
	p.advance(200 * time.Millisecond)
	p.event(c, flow.EventDestroy, f)
	p.advance(5 * time.Second)
	p.cut = func(_, to *fake) bool { return to == p.a }
	p.purged(p.b)
	p.swap(c, p.b)
	p.b.wantKernel()
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}

// TestWhatThePurgeDeletedOfAnotherActiveNode goes on there, and is taken over from it all the same (3708).
func TestWhatThePurgeDeletedOfAnotherActiveNode(t *testing.T) {
	p, c := threeNodes(t)
	f := p.packet(p.b, conn(1, noNAT)) // a suspect
	p.cut = func(from, to *fake) bool { return from == p.a && to == c || from == c && to == p.a }
	p.notice(c, vrrp.Master)
	p.packet(c, f)
	p.purged(p.b)
	p.notice(p.b, vrrp.Master)
	p.notice(p.a, vrrp.Backup)
	p.notice(c, vrrp.Backup)
	p.advance(time.Second)
	p.b.wantKernel(1)
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}

// TestWhatThePurgeDeletedOfARunBefore is taken over all the same: the leader, which began anew with an empty kernel, never had it
// (7144).
func TestWhatThePurgeDeletedOfARunBefore(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.cut = func(from, to *fake) bool { return from == p.a || to == p.a }
	again := p.join("a")
	p.notice(again, vrrp.Master)
	p.b.e.count.peersLooked = p.now.Add(time.Minute) // or it would be forgotten soon after the purge
	p.purged(p.b)
	p.swap(again, p.b)
	p.b.wantKernel(1)
	p.a.ops, p.b.ops, again.ops = nil, nil, nil
}

// TestAReplyThatOnlyTheLeaderSaw counts at a takeover, too: without it what our kernel has might be dropped early, and would be taken
// for what stands in another flow's way (25296).
func TestAReplyThatOnlyTheLeaderSaw(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	unreplied := f
	unreplied.State, unreplied.Status = flow.TCPSynSent, flow.Confirmed
	unreplied.TCPFlags = [2]uint8{flow.TCPFlagBeLiberal, flow.TCPFlagBeLiberal}
	p.event(p.b, flow.EventUpdate, unreplied)
	p.swap(p.a, p.b)
	if got := p.b.kernel[f.Key].Status; got&sticky != sticky {
		t.Errorf("status %x", got)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAnEndWhileTheLeaderStandsBy, told by a node that is taking over from it: what the leader lists, proven, does not bring
// that back once it is purged (20121).
func TestAnEndWhileTheLeaderStandsBy(t *testing.T) {
	p, c := threeNodes(t)
	c.late = everything // its takeover takes long
	p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.cut = func(from, to *fake) bool { return from == p.a && to == c }
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.notice(p.a, vrrp.Backup)
	p.notice(c, vrrp.Master)
	p.packet(c, f)
	p.advance(10 * time.Millisecond)
	p.event(c, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	c.answer()
	p.cut = func(from, to *fake) bool { return from == p.a || to == p.a }
	p.aged(p.b, 3*purgeAfter)
	p.b.wantKernel(2)
	p.swap(c, p.b)
	p.b.wantKernel(2)
	p.a.ops, p.b.ops, c.ops = nil, nil, nil
}

// TestAnEndWhileItIsLookedUpInVain leaves nothing behind, and nothing has to make way for what has ended.
func TestAnEndWhileItIsLookedUpInVain(t *testing.T) {
	for _, obstacle := range []bool{false, true} {
		p := activeAndStandby(t)
		f := conn(1, noNAT)
		p.b.refuse = map[flow.OpKind]syscall.Errno{flow.OpCreate: syscall.EEXIST}
		p.b.late = func(k flow.OpKind) bool { return k == flow.OpGet }
		if obstacle {
			p.b.late = func(k flow.OpKind) bool { return k == flow.OpGetReply }
			other := conn(2, noNAT)
			other.Reply = f.Reply
			p.b.kernel[other.Key] = other
		}
		p.packet(p.a, f)
		p.advance(200 * time.Millisecond)
		p.event(p.a, flow.EventDestroy, f)
		p.advance(200 * time.Millisecond)
		p.b.refuse = nil
		p.b.answer()
		p.advance(200 * time.Millisecond)
		if r := p.b.e.tbl.Find(&f.Key); r != 0 {
			t.Errorf("obstacle %t: marks %x", obstacle, p.b.e.tbl.Entry(r).Kern)
		}
		if obstacle {
			p.b.wantKernel(2)
		}
		p.a.ops, p.b.ops = nil, nil
	}
}

// TestAnEndWhileItIsLookedUp, which an unanswered create has made: it goes, though nobody lists it any more when the kernel says what
// it is (152).
func TestAnEndWhileItIsLookedUp(t *testing.T) {
	p := activeAndStandby(t)
	p.b.late = everything
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(200 * time.Millisecond)
	p.b.giveUp()
	p.b.late = func(k flow.OpKind) bool { return k == flow.OpGet }
	p.advance(2 * time.Second)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	p.b.answer()
	p.advance(200 * time.Millisecond)
	p.b.wantKernel()
	p.b.ops = nil
}

// TestAnEndWhileACreateIsInDoubt, one that a standby sent and nobody answered before it was told to take over: what is perhaps
// in its kernel is not told as ended (60343).
func TestAnEndWhileACreateIsInDoubt(t *testing.T) {
	p := activeAndStandby(t)
	p.b.late = everything
	f := p.packet(p.a, conn(1, noNAT))
	p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.event(p.a, flow.EventDestroy, f)
	p.notice(p.b, vrrp.Master)
	p.advance(50 * time.Millisecond)
	first := p.b.due[0]
	p.b.due = p.b.due[1:]
	first.Errno = flow.Unanswered
	p.tell(p.b, &KernelResults{Results: []flow.Result{first}})
	p.b.wantRole(TakingOver)
	p.hold = nil
	p.release(wire.Data)
	p.b.wantKernel(1, 2)
	p.b.wantLists(2, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatADeadNodeTellsLate: the last words of a node that stopped while it acted are still on their way, and are taken over as
// they come (81133).
func TestWhatADeadNodeTellsLate(t *testing.T) {
	p := activeAndStandby(t)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.packet(p.a, conn(1, noNAT))
	p.advance(300 * time.Millisecond) // a heartbeat tells that there is something
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.tell(p.a, &Shutdown{})
	p.settle()
	p.cut = func(from, to *fake) bool { return from == p.a || to == p.a }
	p.advance(time.Second)
	p.b.wantKernel()
	p.release(wire.Data)
	p.advance(100 * time.Millisecond)
	p.b.wantKernel(1)
	p.a.ops, p.b.ops = nil, nil
}

// TestWhatIsMetAfterItsEndElsewhere keeps what the event leaves out.
func TestWhatIsMetAfterItsEndElsewhere(t *testing.T) {
	p, f := twoActive(t)
	p.event(p.a, flow.EventDestroy, f)
	p.advance(200 * time.Millisecond)
	f.Mark = 7
	p.hears(p.b, flow.EventUpdate, flow.Flow{Key: f.Key, Value: flow.Value{Mark: 7}}, flow.HasMark)
	p.advance(200 * time.Millisecond)
	if own := p.b.e.log.Lives(p.b.e.tbl.Find(&f.Key)); own == nil || own.Value.Value != f.Value {
		t.Errorf("%+v", own)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestAReplyThatIsHeardAfterATakeover, of a connection that was taken over as it was before it: the kernel learns of it, else the
// entry may be dropped early (57600).
func TestAReplyThatIsHeardAfterATakeover(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.State, f.Status = flow.TCPSynSent, flow.Confirmed
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.event(p.a, flow.EventUpdate, conn(1, noNAT))
	p.swap(p.a, p.b)
	p.cut = nil
	p.advance(3 * time.Second)
	if got := p.b.kernel[f.Key]; got.State != flow.TCPEstablished || got.Status != conn(1, noNAT).Status {
		t.Errorf("state %d, status %x", got.State, got.Status)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestASuspectHasItsTime: what the leader takes back when the purge's conditions have long held has purge-timeout all the same, however
// often the table is read meanwhile: the datagram that lists it anew may be lost (26809).
func TestASuspectHasItsTime(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(3 * purgeAfter)
	p.b.wantOps("create 1")
	said := 0
	p.lose = func(from *fake, typ wire.Type) bool { // all but the first record
		if from == p.a && typ == wire.Data {
			said++
		}
		return from == p.a && (typ != wire.Data || said > 1)
	}
	p.tell(p.a, &Command{Verb: VerbFlushInternal})
	p.b.failDumps = true
	p.advance(50 * time.Millisecond)
	p.b.failDumps = false
	p.aged(p.b, time.Second)
	p.b.wantOps() // not "delete 1"
	p.lose = nil
	p.advance(time.Second)
	p.ranOut(p.a, f)
	p.advance(time.Second)
	p.b.wantOps("delete 1", "update 1")
	p.a.ops = nil
}

// TestADoubtIsNoEnd: what is still to be looked at when an operator has everything asked for again is in doubt, and not over because an
// earlier node told the end of the connection that had its key before (30253).
func TestADoubtIsNoEnd(t *testing.T) {
	p := activeAndStandby(t)
	c := p.join("c")
	p.notice(c, vrrp.Backup)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(300 * time.Millisecond)
	apart := func(from, to *fake) bool { return from == p.a || to == p.a }
	p.cut = apart
	p.swap(p.a, c)
	p.swap(c, p.b)
	p.cut = func(*fake, *fake) bool { return true }
	p.move(p.b, c)
	p.b.e.eachListed(p.b.e.tbl.Find(&f.Key), func(q *peer, l *copyOf) {
		if q.name == "a" {
			l.Bits |= cache.Dead // as of a connection before f
		}
	})
	p.packet(c, conn(2, noNAT))
	p.advance(time.Second)
	p.b.late = everything
	p.cut = apart
	p.advance(500 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.tell(p.b, &Command{Verb: VerbRequestResync})
	p.b.giveUp()
	p.b.ops = nil
	p.advance(2500 * time.Millisecond) // the proof still holds
	p.b.wantOps()                      // not "delete 1"
	p.a.ops, c.ops = nil, nil
}
