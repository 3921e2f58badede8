package engine

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

func only(protocols ...uint8) option {
	return func(c *Config) {
		c.Filter.Some = true
		for _, n := range protocols {
			c.Filter.Protocols[n] = true
		}
	}
}

// anyEvent is an event of one of a few flows, of two protocols.
func anyEvent(rng *rand.Rand) flow.Event {
	f := conn(1+rng.Intn(6), noNAT)
	if rng.Intn(2) == 0 {
		f.L4 = flow.UDP
	}
	f.Reply, f.State, f.Mark = f.Inverse(), uint8(rng.Intn(9)), uint32(rng.Intn(3))
	ev := flow.Event{Kind: flow.EventKind(rng.Intn(3)), Flow: f, Has: flow.HasReply | flow.HasStatus | flow.HasProtoInfo | flow.HasMark}
	if rng.Intn(8) == 0 && ev.Kind != flow.EventDestroy {
		ev.Flow.Kind = flow.KindExpect
		ev.Flow.Extra = &flow.Extra{HasMaster: true, Master: f.Key, Helper: [16]byte{'x'}}
	}
	return ev
}

// TestEarlyChangesNothing: an engine that never sees the events that may be dropped early does the same, byte for byte.
func TestEarlyChangesNothing(t *testing.T) {
	for seed := range int64(40) {
		rng := rand.New(rand.NewSource(seed))
		now := time.Unix(1000, 0)
		filtered := only(flow.TCP)
		make := func() *Engine {
			p := &pair{t: t}
			return p.node("a", 1, []option{filtered, func(c *Config) { c.Filter.AllHelpers = true }}).e
		}
		whole, early := make(), make()
		wanted := Early(&whole.cfg.Filter)
		step := func(a, b Input) {
			t.Helper()
			x, y := trace(whole.Step(now, a)), trace(early.Step(now, b))
			if !bytes.Equal(x, y) {
				t.Fatalf("seed %d: with all events\n%s\nwithout\n%s", seed, x, y)
			}
		}
		same := func(in Input) { step(in, in) }
		same(&Tick{})
		same(&Notice{vrrp.Notice{Source: vrrp.SourceFIFO, Kind: vrrp.Group, Name: "G", State: vrrp.Master}})
		dump := uint64(0)
		for range 400 {
			now = now.Add(time.Duration(rng.Intn(60)) * time.Millisecond)
			switch rng.Intn(12) {
			case 0:
				d := &KernelDump{Dump: whole.dump.id, Done: rng.Intn(3) == 0}
				for range rng.Intn(3) {
					if ev := anyEvent(rng); ev.Flow.Kind == flow.KindFlow {
						d.Flows = append(d.Flows, ev.Flow)
					}
				}
				dump = d.Dump
				same(d)
			case 1:
				same(&Command{ID: dump, Verb: VerbResync})
			case 2:
				same(&Tick{})
			default:
				all := &KernelEvents{Events: []flow.Event{anyEvent(rng), anyEvent(rng)}, Lost: rng.Intn(50) == 0}
				some := &KernelEvents{Lost: all.Lost}
				for _, ev := range all.Events {
					if ev.Flow.Kind == flow.KindExpect || slices.Contains(wanted, ev.Flow.L4) {
						some.Events = append(some.Events, ev)
					}
				}
				step(all, some)
			}
		}
	}
}

// trace is all that an output wants done.
func trace(o *Output) []byte {
	return fmt.Appendf(nil, "%v %v %v %v %v %v", o.AllEvents, o.Ops, o.Dump, o.Datagrams, o.Ready, o.Notes)
}

// TestEarlyEnds before the first operation on a flow that this node's filter leaves out, and when the filter changes.
func TestEarlyEnds(t *testing.T) {
	p := activeAndStandby(t, func(c *Config) {
		if c.Node == "b" {
			only(flow.TCP)(c)
		}
	})
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	p.b.wantOps("create 1")
	if p.b.e.allEvents {
		t.Error("although every flow is of an accepted protocol")
	}
	udp := conn(2, noNAT)
	udp.L4, udp.State = flow.UDP, 0
	udp.Reply = udp.Inverse()
	p.packet(p.a, udp)
	p.advance(time.Second)
	p.b.wantOps("create 2")
	if !p.b.e.Step(p.now, &Tick{}).AllEvents {
		t.Error("not told that all events are needed")
	}
	q := activeAndStandby(t, only(flow.TCP))
	if q.a.e.Step(q.now, &Tick{}).AllEvents {
		t.Error("all events from the start")
	}
	if !q.a.e.Step(q.now, &Filter{}).AllEvents {
		t.Error("not told after a change of the filter")
	}
}
