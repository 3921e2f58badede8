package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// expires is when the copy of number i runs out in n's kernel.
func expires(p *pair, n *fake, i int) time.Time {
	p.t.Helper()
	for k, f := range n.kernel {
		if int(k.SrcL4) == i {
			return n.written[k].Add(time.Duration(f.Timeout) * time.Second)
		}
	}
	p.t.Fatalf("%s's kernel has no %d", n.name, i)
	return time.Time{}
}

// TestACopyLastsAsLongAsAFlowSeenJustNow: whenever the takeover comes, a copy at a hot standby has at least the time
// left that a packet would have given the flow, or commit-timeout; and little more than that.
func TestACopyLastsAsLongAsAFlowSeenJustNow(t *testing.T) {
	for _, c := range []struct {
		name          string
		timeout       uint32
		commit        time.Duration
		least, spares time.Duration
	}{
		{"closing", 3, 0, 10 * time.Second, 10 * time.Second},
		{"datagrams", 30, 0, 30 * time.Second, 30 * time.Second},
		{"stream", 120, 0, 2 * time.Minute, time.Minute},
		{"established", 432000, 0, 5 * 24 * time.Hour, 15 * time.Hour},
		{"commit-timeout", 432000, 180 * time.Second, 3 * time.Minute, time.Minute},
		{"a short one", 30, 180 * time.Second, 3 * time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := activeAndStandby(t, func(cfg *Config) { cfg.CommitTimeout = c.commit })
			f := conn(1, noNAT)
			f.Timeout = c.timeout
			p.packet(p.a, f)
			p.advance(200 * time.Millisecond)
			for range 90 {
				left := expires(p, p.b, 1).Sub(p.now)
				if left < c.least || left > c.least+c.spares {
					t.Fatalf("%v left, want %v to %v", left, c.least, c.least+c.spares)
				}
				p.advance(1700 * time.Millisecond)
			}
			p.b.ops = nil
		})
	}
}

// TestAWarmCommitGivesTheTimeout: without spare time, since packets refresh it from now on.
func TestAWarmCommitGivesTheTimeout(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := conn(1, noNAT)
	f.Timeout = 120
	p.packet(p.a, f)
	p.advance(time.Second)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.b.wantOps("create 1")
	if got := p.b.kernel[f.Key].Timeout; got != 120 {
		t.Fatalf("%d s", got)
	}
}

// TestATableTellsWhatIsLeft: a flow that only a dump shows may be refreshed a moment later without an event, so that
// what it had left is no measure for its copy; but of what is closed it is.
func TestATableTellsWhatIsLeft(t *testing.T) {
	established, udp, closing, expectation := conn(1, noNAT), conn(2, noNAT), conn(3, noNAT), conn(4, noNAT)
	established.Timeout = 60
	udp.L4, udp.State, udp.Timeout = flow.UDP, 0, 5
	udp.Reply = udp.Inverse()
	closing.State, closing.Timeout = flow.TCPTimeWait, 2
	expectation.Kind, expectation.Timeout = flow.KindExpect, 7
	p := newPair(t)
	for _, c := range []struct {
		f    flow.Flow
		want uint32
	}{{established, 3 * 3600}, {udp, 300}, {closing, 2}, {expectation, 7}} {
		timeouts := flow.DefaultTimeouts()
		timeouts.UDPStream = 300
		p.tell(p.a, &KernelTimeouts{Timeouts: timeouts})
		if got := p.a.e.asSeen(&c.f); got != c.want {
			t.Errorf("%v: %d s, want %d", c.f.Key, got, c.want)
		}
	}
	established.Timeout = 400000
	if got := p.a.e.asSeen(&established); got != 400000 {
		t.Errorf("one with much left: %d s", got)
	}
}

// TestARefreshedCopyOfATableEntry: such a flow's copy is as long-lived as any.
func TestARefreshedCopyOfATableEntry(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.Timeout = 20
	p.a.kernel[f.Key] = f // its event was lost
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.b.wantOps("create 1")
	if left := expires(p, p.b, 1).Sub(p.now); left < 3*time.Hour-time.Minute {
		t.Fatalf("%v left", left)
	}
}

// TestWhatRanDownAtAWarmStandbyIsRenewed: an entry that is there from before has not been refreshed by the packets that
// went through the other node.
func TestWhatRanDownAtAWarmStandbyIsRenewed(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := conn(1, noNAT)
	f.L4, f.State, f.Timeout = flow.UDP, 0, 120
	f.Reply = f.Inverse()
	p.packet(p.a, f)
	p.advance(time.Second)
	p.swap(p.a, p.b)
	p.b.wantOps("create 1")
	p.advance(50 * time.Second)
	p.a.wantOps()
	p.swap(p.b, p.a)
	p.a.wantOps("update 1")
	if left := expires(p, p.a, 1).Sub(p.now); left < 118*time.Second {
		t.Errorf("%v left", left)
	}
	p.advance(50 * time.Second)
	p.swap(p.a, p.b)
	p.b.wantOps("update 1")
}

// TestWhatRunsOutDuringATakeover: an entry from before ends at a warm standby just when it is to be renewed. It was only
// old: the connection lives, and its packets went through the other node.
func TestWhatRunsOutDuringATakeover(t *testing.T) {
	for name, answered := range map[string]bool{"told before the answer": false, "told after the answer": true} {
		t.Run(name, func(t *testing.T) {
			p := activeAndStandby(t, warm)
			f := p.packet(p.a, conn(1, noNAT))
			p.advance(time.Second)
			p.swap(p.a, p.b)
			p.b.wantOps("create 1")
			f.Timeout = 299
			p.event(p.b, flow.EventUpdate, f)
			p.advance(time.Second)
			p.a.late = everything
			delete(p.a.kernel, f.Key) // and its event is on the way
			p.move(p.b, p.a)
			if answered {
				p.a.answer()
				p.settle()
			}
			p.ranOut(p.a, f)
			if !answered {
				p.a.answer()
			}
			p.advance(time.Second)
			p.a.wantKernel(1)
			p.a.wantLists(1, 0)
			p.a.ops, p.b.ops = nil, nil
		})
	}
}

// TestWhatIsStillOursRunsOutDuringATakeover: so it is with what this node has not given to the other one yet, and which
// began anew there in an entry of a closed connection.
func TestWhatIsStillOursRunsOutDuringATakeover(t *testing.T) {
	p := activeAndStandby(t, warm)
	f := conn(1, noNAT)
	f.State, f.Timeout = flow.TCPTimeWait, 120
	p.packet(p.a, f)
	p.advance(time.Second)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.b && typ == wire.Data } // a gives nothing back
	p.swap(p.a, p.b)
	p.b.wantOps("create 1")
	p.lose = nil
	f.State, f.Timeout = flow.TCPEstablished, 300
	p.event(p.b, flow.EventUpdate, f)
	p.advance(100 * time.Millisecond)
	p.a.late = everything
	delete(p.a.kernel, f.Key)
	p.move(p.b, p.a)
	p.ranOut(p.a, f)
	p.a.answer()
	p.advance(time.Second)
	p.a.wantKernel(1)
	p.a.wantLists(1, 0)
	p.a.ops, p.b.ops = nil, nil
}

// TestACopyThatWentUnseen: the first comparison after a takeover shows that a copy is not there, and its event does not come:
// it was lost before. Later such an entry has ended.
func TestACopyThatWentUnseen(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	p.b.wantOps("create 1")
	delete(p.b.kernel, f.Key)
	p.swap(p.a, p.b)
	p.b.wantKernel(1)
	p.b.wantLists(1, 0)
	p.b.ops = nil
	p.advance(5 * time.Second)
	delete(p.b.kernel, f.Key)
	p.tell(p.b, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.b.wantKernel()
	p.b.wantLists(0, 0)
	p.a.ops = nil
}

// TestWhatRanOutWaitsForItsTurn: with much to write in a takeover the end of an entry from before may be told when it is
// known to be gone and has not been written anew yet.
func TestWhatRanOutWaitsForItsTurn(t *testing.T) {
	p := activeAndStandby(t, warm)
	var flows []flow.Flow
	for i := range maxOutstanding + maxOpsPerStep + 50 { // so that some wait
		flows = append(flows, p.packet(p.a, conn(1+i, noNAT)))
	}
	p.advance(time.Second)
	p.swap(p.a, p.b)
	for i := range flows {
		flows[i].Timeout--
		p.event(p.b, flow.EventUpdate, flows[i])
	}
	p.advance(time.Second)
	p.a.late = everything
	delete(p.a.kernel, flows[0].Key)
	p.move(p.b, p.a)
	p.a.answer()
	p.a.late = everything
	p.settle()
	p.ranOut(p.a, flows[0])
	p.a.answer()
	p.advance(time.Second)
	if _, there := p.a.kernel[flows[0].Key]; !there {
		t.Error("it is not there")
	}
	p.a.wantLists(len(flows), 0)
	p.a.ops, p.b.ops = nil, nil
}
