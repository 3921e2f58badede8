package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
)

// inFlowtable is f as the kernel lists it while a flowtable forwards its packets.
func inFlowtable(f flow.Flow) flow.Flow {
	f.Status |= flow.Offload
	f.Timeout, f.State, f.WScale, f.TCPFlags = 0, 0, [2]uint8{}, [2]uint8{}
	return f
}

// TestFlowtable: what a listing leaves out of flows in a flowtable is as it was, and is no change.
func TestFlowtable(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.WScale, f.TCPFlags, f.Timeout = [2]uint8{7, 9}, [2]uint8{3, 3}, 432000
	p.packet(p.a, f)
	stream := conn(2, noNAT)
	stream.L4, stream.State, stream.Timeout = flow.UDP, 0, 120
	stream.Reply = stream.Inverse()
	p.packet(p.a, stream)
	p.advance(10 * time.Millisecond)
	p.b.ops = nil
	last, _ := p.a.e.Live()
	for _, f := range []flow.Flow{f, stream} {
		p.a.kernel[f.Key] = inFlowtable(f)
	}
	for range 2 {
		p.tell(p.a, &Command{Verb: VerbResync})
		p.advance(time.Second)
	}
	if now, _ := p.a.e.Live(); now != last {
		t.Errorf("%d changes in the log for flows that a flowtable took", now-last)
	}
	marked := inFlowtable(stream)
	marked.Mark, marked.Timeout = 5, 24*60*60
	p.event(p.a, flow.EventUpdate, marked)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("update 2")
	if got := p.b.kernel[stream.Key]; got.Mark != 5 || got.Timeout > 240 || got.Status&offloaded != 0 {
		t.Errorf("mark %d, %d s, status %#x", got.Mark, got.Timeout, got.Status)
	}
	if got := p.b.kernel[f.Key]; got.State != flow.TCPEstablished || got.WScale != f.WScale {
		t.Errorf("state %d, window scale %v", got.State, got.WScale)
	}
}

// TestFlowtableOfBefore: what was in a flowtable before the daemon began arrives as one that is established, and lasts.
func TestFlowtableOfBefore(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	p.a.kernel[f.Key] = inFlowtable(f)
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	p.a.ops = nil // written once: for the windows
	p.b.wantOps("create 1")
	if got := p.b.kernel[f.Key]; got.State != flow.TCPEstablished || got.Timeout < seenWithin {
		t.Errorf("state %d, %d s", got.State, got.Timeout)
	}
}
