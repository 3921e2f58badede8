package engine

import (
	"net/netip"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// closedPair has a closed connection on a, whose time is two minutes.
func closedPair(t *testing.T, options ...option) (*pair, flow.Flow) {
	p := activeAndStandby(t, options...)
	f := conn(1, noNAT)
	f.State, f.Timeout = flow.TCPTimeWait, 120
	p.packet(p.a, f)
	p.a.written[f.Key] = p.now
	p.advance(200 * time.Millisecond)
	return p, f
}

// pass lets seconds pass in which kernels end what has run out.
func (p *pair) pass(seconds int) {
	for range seconds {
		p.advance(time.Second)
		for _, n := range p.all {
			for k, f := range n.kernel {
				if !n.written[k].Add(time.Duration(f.Timeout) * time.Second).After(p.now) {
					p.event(n, flow.EventDestroy, f)
				}
			}
		}
		p.settle()
	}
}

// TestAClosedConnectionRunsDownOverTakeovers: no takeover gives it its time anew, whatever the mode.
func TestAClosedConnectionRunsDownOverTakeovers(t *testing.T) {
	for name, options := range map[string][]option{"hot": nil, "warm": {warm}} {
		t.Run(name, func(t *testing.T) {
			p, _ := closedPair(t, options...)
			from, to := p.a, p.b
			for range 12 {
				p.pass(9)
				p.swap(from, to)
				from, to = to, from
			}
			p.pass(5)
			p.a.wantKernel()
			p.b.wantKernel()
			p.a.wantLists(0, 0)
			p.b.wantLists(0, 0)
			p.a.ops, p.b.ops = nil, nil
		})
	}
}

// TestAClosedConnectionIsNotRenewed: a copy of it lasts about as long as the original, and what a node that has
// been told nothing of the end still lists does not come back at a takeover.
func TestAClosedConnectionIsNotRenewed(t *testing.T) {
	for name, options := range map[string][]option{"hot": nil, "warm": {warm}} {
		t.Run(name, func(t *testing.T) {
			p, f := closedPair(t, options...)
			p.a.written[f.Key] = p.now.Add(time.Hour) // its kernel is late with tidying
			if name == "hot" {
				p.b.wantOps("create 1")
				if got := p.b.kernel[f.Key].Timeout; got != 120 {
					t.Fatalf("a copy of %d s", got)
				}
			}
			p.pass(125)
			p.b.wantKernel()
			p.b.wantOps()
			delete(p.a.kernel, f.Key) // and dies
			p.cut = func(*fake, *fake) bool { return true }
			p.notice(p.b, vrrp.Master)
			p.advance(time.Second)
			p.b.wantOps()
			p.b.wantLists(0, 0)
		})
	}
}

// TestAClosedConnectionIsTakenOver: with what is left of it.
func TestAClosedConnectionIsTakenOver(t *testing.T) {
	p, f := closedPair(t, warm)
	p.pass(50)
	p.swap(p.a, p.b)
	p.b.wantOps("create 1")
	if got := p.b.kernel[f.Key].Timeout; got < 68 || got > 72 {
		t.Errorf("%d s left, want about 70", got)
	}
}

// TestWhatClosedHereUnheardRunsDown: the node that has taken over lists the connection as it was before, and an entry that
// is closed gets no time for that (seed 110).
func TestWhatClosedHereUnheardRunsDown(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	f.State, f.Timeout = flow.TCPTimeWait, 120
	p.event(p.a, flow.EventUpdate, f)
	p.swap(p.a, p.b)
	p.advance(3 * time.Second)
	p.a.wantOps("update 1")
	p.b.wantOps("create 1")
	p.a.wantClosed(f.Key, 120)
}

// TestAClosedConnectionThatGoesOn: packets refresh it without an event, as its node's kernel still has it long after its
// time. Its copy comes back.
func TestAClosedConnectionThatGoesOn(t *testing.T) {
	p, f := closedPair(t)
	p.a.written[f.Key] = p.now.Add(time.Hour)
	p.b.wantOps("create 1")
	p.pass(200)
	p.b.wantKernel()
	p.pass(20)
	p.b.wantKernel(1)
	p.pass(200)
	p.b.wantKernel(1)
	p.b.ops = nil
}

// TestAClosedConnectionOfWhichTheEndIsMissing: it is not as one that packets refresh, though the node that lists it here
// has long tidied it away (seeds 6390, 6447, 6831).
func TestAClosedConnectionOfWhichTheEndIsMissing(t *testing.T) {
	p, f := closedPair(t)
	p.advance(time.Second)
	p.b.wantOps("create 1")
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	p.event(p.a, flow.EventDestroy, f)
	p.pass(300)
	p.b.wantKernel()
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.b.wantOps()
	p.b.wantLists(0, 0)
}

// TestAClosedConnectionThatIsRefreshed all the same is written at last, though its time was over when there was room for
// it (seed 3266).
func TestAClosedConnectionThatIsRefreshed(t *testing.T) {
	p := activeAndStandby(t)
	f, other := conn(1, noNAT), conn(1, noNAT)
	f.State, f.Timeout = flow.TCPTimeWait, 5
	other.Reply.DstL4 = 5000
	p.packet(p.b, other) // a suspect, until the purge
	p.packet(p.a, f)
	for range 120 {
		p.advance(time.Second)
		if got, there := p.b.kernel[f.Key]; there && got.Reply == other.Reply {
			got.Timeout-- // no packet
			p.b.kernel[f.Key] = got
		}
	}
	if got := p.b.kernel[f.Key]; got.Reply != f.Reply {
		t.Errorf("%+v", got)
	}
	p.b.ops = nil
}

// TestAClosedConnectionLastsAsLongAsTheLeaders at a standby whose own entry of it has less time left (seed 5044).
func TestAClosedConnectionLastsAsLongAsTheLeaders(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.State, f.Timeout = flow.TCPTimeWait, 3
	p.packet(p.b, f)
	f.Timeout = 100
	p.packet(p.a, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("update 1")
	if got := p.b.kernel[f.Key].Timeout; got < 99 || got > 100 {
		t.Errorf("%d s", got)
	}
}

// TestWhatClosedAndLeftWithTheAddress is in the way of no other connection once its time is over (24697).
func TestWhatClosedAndLeftWithTheAddress(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := conn(1, vip)
	f.Reply.DstL4, f.State, f.Timeout = 5000, flow.TCPTimeWait, 4
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.evicts(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.event(p.b, flow.EventDestroy, f)
	p.advance(time.Second)
	next := conn(1, vip)
	next.Reply.DstL4 = 5001
	p.packet(p.b, next)
	p.advance(10 * time.Second)
	p.a.wantLists(1, 0)
	p.notice(p.b, vrrp.Backup)
	p.cut = nil
	p.advance(time.Second)
	p.a.wantOps()
	p.notice(p.a, vrrp.Master)
	p.advance(time.Second)
	p.a.wantOps("create 1")
	if got := p.a.kernel[f.Key]; got.Reply != next.Reply {
		t.Errorf("%+v", got)
	}
	p.b.ops = nil
}

// TestWhatClosedAndLeftWithTheAddressDoesNotComeBack once its time is over.
func TestWhatClosedAndLeftWithTheAddressDoesNotComeBack(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	f := conn(1, vip)
	f.State, f.Timeout = flow.TCPTimeWait, 4
	p.packet(p.a, f)
	p.advance(200 * time.Millisecond)
	p.cut = func(*fake, *fake) bool { return true }
	p.evicts(p.a, f)
	p.notice(p.a, vrrp.Backup)
	p.advance(10 * time.Second)
	p.a.wantLists(1, 0)
	p.notice(p.a, vrrp.Master)
	p.advance(time.Second)
	p.a.wantLists(0, 0)
	p.a.wantOps()
	p.b.ops = nil
}
