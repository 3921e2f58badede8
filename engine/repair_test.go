package engine

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// lossy has the link lose so many of 100 datagrams, both ways.
func (p *pair) lossy(percent int) {
	dice := rand.New(rand.NewSource(int64(percent)))
	p.lose = func(*fake, wire.Type) bool { return dice.Intn(100) < percent }
}

// flood begins n flows on a, 60,000 a second.
func (p *pair) flood(n int) {
	var in KernelEvents
	for i := 0; i < n; i += stepEvents {
		p.tell(p.a, eventsOf(&in, flow.EventNew, i, min(i+stepEvents, n)))
		p.advance(stepPause)
	}
}

// unheard is a pair of which b has not heard n of a's flows; from then on the link loses as told.
func unheard(t *testing.T, n, percent int) *pair {
	p := activeAndStandby(t, large, warm)
	p.lossy(100)
	p.advance(5 * time.Second)
	p.flood(n)
	p.lossy(percent)
	return p
}

// wantRepaired waits until b has all of a's log, and gives how long that took.
func (p *pair) wantRepaired(limit time.Duration) time.Duration {
	p.t.Helper()
	began := p.now
	for rep := p.b.e.peers.list[0].rep; rep.Have < p.a.e.log.Last; {
		p.advance(time.Millisecond)
		if p.now.Sub(began) > limit {
			p.t.Fatalf("after %s b has %d of %d", limit, rep.Have, p.a.e.log.Last)
		}
	}
	return p.now.Sub(began)
}

func (n *fake) repairs() int { return int(n.e.count.messages.Repairs) }

// A link that loses much, and goes on to, is no reason to be behind: what is lost is asked for while more comes, many
// gaps at a time.
func TestHeavyLossIsRepaired(t *testing.T) {
	const flows = 100_000
	for percent, limit := range map[int]time.Duration{1: 50 * time.Millisecond, 10: 200 * time.Millisecond, 30: 500 * time.Millisecond} {
		t.Run(fmt.Sprintf("%d of 100 lost", percent), func(t *testing.T) {
			p := activeAndStandby(t, large, warm)
			p.lossy(percent)
			p.flood(flows)
			took := p.wantRepaired(limit)
			t.Logf("all of %d flows %s after the last; %d datagrams of repair", flows, took, p.a.repairs())
		})
	}
}

// The same for what is there when a peer comes: an answer's own losses are part of the next question.
func TestFirstSyncUnderLoss(t *testing.T) {
	const flows = 100_000
	for percent, limit := range map[int]time.Duration{1: 200 * time.Millisecond, 10: 500 * time.Millisecond, 30: 2 * time.Second} {
		t.Run(fmt.Sprintf("%d of 100 lost", percent), func(t *testing.T) {
			p := unheard(t, flows, percent)
			p.b.e.count.messages.Lost = 0
			took := p.wantRepaired(limit)
			needed := 1700 * 100 / (100 - percent)
			if n := p.a.repairs(); n > needed*11/10 {
				t.Errorf("%d datagrams of repair, about %d are needed", n, needed)
			}
			if n := int(p.b.e.count.messages.Lost); n > flows+stepEvents {
				t.Errorf("%d counted as lost of %d", n, flows)
			}
			t.Logf("all of %d flows after %s; %d datagrams of repair", flows, took, p.a.repairs())
		})
	}
}

// An answer that comes late, when it has been asked for again, does not have everything asked for twice from then on.
func TestLateAnswerIsNoReasonToAskAhead(t *testing.T) {
	p := unheard(t, 20_000, 0)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data || typ == wire.Want }
	for p.a.repairs() < 2*creditFull {
		p.advance(time.Millisecond)
		p.release(wire.Want)
	}
	for rep := p.b.e.peers.list[0].rep; rep.Have < p.a.e.log.Last; {
		p.releaseHeld(2 * time.Millisecond) // as long as a datagram takes
		p.advance(time.Millisecond / 2)
	}
	if n := p.a.repairs(); n > 330+2*creditFull {
		t.Errorf("%d datagrams of repair", n)
	}
}

// Nor is anybody asked twice on a way of 50 ms, once that is known: it would carry everything twice (R3).
func TestLongWay(t *testing.T) {
	p := unheard(t, 20_000, 0)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data || typ == wire.Want }
	for rep := p.b.e.peers.list[0].rep; rep.Have < p.a.e.log.Last; {
		p.releaseHeld(50 * time.Millisecond)
		p.advance(time.Millisecond / 2)
	}
	if n := p.a.repairs(); n > 330+2*creditFull {
		t.Errorf("%d datagrams of repair", n)
	}
}

// A slow link is not asked again for what is on its way.
func TestSlowAnswerIsWaitedFor(t *testing.T) {
	p := unheard(t, 20_000, 0)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	for rep := p.b.e.peers.list[0].rep; rep.Have < p.a.e.log.Last; { // a datagram each 10 ms
		p.advance(10 * time.Millisecond)
		if len(p.held) > 0 {
			next := p.held[0]
			p.held = p.held[1:]
			p.tell(next.to, next.in)
		}
	}
	if n := p.a.repairs(); n > 330+2*creditFull {
		t.Errorf("%d datagrams of repair", n)
	}
}

// A node that knows neither further ranges nor the mark of an answer's end, whichever of the two it is, gets and gives
// everything: what is not answered is asked for again.
func TestOlderVersionIsRepaired(t *testing.T) {
	p := unheard(t, 20_000, 10)
	p.says = func(payload []byte) []byte {
		var h wire.Header
		body, err := wire.Open(payload, wire.ClusterHash("c"), &h)
		if err != nil {
			t.Fatal(err)
		}
		if h.Final = false; h.Type == wire.Want {
			var a wire.Ask
			if err := wire.DecodeAsk(body, &a); err != nil {
				t.Fatal(err)
			}
			a.Further = nil
			body = wire.AppendAsk(nil, &a)
		}
		return wire.Seal(append(wire.AppendHeader(nil, &h), body...))
	}
	p.advance(100 * time.Millisecond)
	t.Logf("all of it after %s", p.wantRepaired(10*time.Second))
}

// A question of as many ranges as there can be, however far apart, fits into the smallest datagram.
func TestManyGapsFitIntoOneQuestion(t *testing.T) {
	p := activeAndStandby(t)
	p.tell(p.b, &PayloadLimit{Bytes: minPayload})
	a := p.b.e.peers.list[0]
	for i := range uint64(100) {
		a.rep.Range((i+2)<<50, (i+2)<<50+1, p.b.e.release)
	}
	asked := 0
	p.says = func(payload []byte) []byte {
		if wire.Type(payload[3]) == wire.Want {
			asked++
		}
		if len(payload) > minPayload {
			t.Errorf("a datagram of %d bytes, at most %d fit", len(payload), minPayload)
		}
		return payload
	}
	p.advance(100 * time.Millisecond)
	if asked == 0 {
		t.Error("nothing was asked")
	}
}

// A question that comes after the heartbeat that says that it has been answered is no reason to begin again, whatever has
// been forgotten of ends meanwhile.
func TestLateQuestionIsOver(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(9, noNAT))
	p.advance(time.Second)
	first := true
	p.hold = func(from *fake, typ wire.Type) bool {
		return typ == wire.Want || first && from == p.a && typ == wire.Data
	}
	gone := p.packet(p.a, conn(1, noNAT))
	p.advance(time.Millisecond)
	first = false
	p.packet(p.a, conn(2, noNAT))
	p.advance(200 * time.Millisecond)
	p.release(wire.Data)
	p.event(p.a, flow.EventDestroy, gone)
	p.advance(time.Second)
	p.b.wantLists(0, 2)
	if len(p.held) == 0 || p.a.e.log.Horizon == 0 {
		t.Fatalf("%d questions are held, ends up to %d are forgotten", len(p.held), p.a.e.log.Horizon)
	}
	p.release(wire.Want)
	p.advance(time.Second)
	if n := p.b.restarts(); n != 0 {
		t.Errorf("%d restarts", n)
	}
	p.b.ops = nil
}
