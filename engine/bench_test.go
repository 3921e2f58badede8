package engine

import (
	"testing"
	"time"

	"ctsync/engine/flow"
)

// The benchmarks give whole steps what a firewall gives them at 60,000 events a second. b.N is in flows.

const (
	stepEvents = 32                     // what a reader finds each time
	stepPause  = 533 * time.Microsecond // at 60,000 events a second
	tableFlows = 49 * 128 * stepEvents  // 200,000, then they begin anew
)

// large is a firewall with room for what the benchmarks do.
func large(c *Config) { c.TableMax = 10 * tableFlows }

// spread makes flow i, with clients, ports and servers that differ as widely as real ones.
func spread(i int) flow.Flow {
	f := conn(0, noNAT)
	f.Src[1], f.Src[2], f.Src[3] = byte(i*7919>>16), byte(i*7919>>8), byte(i*7919)
	f.SrcL4, f.Dst[3] = uint16(1024+i*31%60000), byte(i%50)
	f.Reply = f.Inverse()
	return f
}

func eventsOf(in *KernelEvents, kind flow.EventKind, from, to int) *KernelEvents {
	in.Events = in.Events[:0]
	for i := from; i < to; i++ {
		in.Events = append(in.Events, flow.Event{Kind: kind, Flow: spread(i),
			Has: flow.HasReply | flow.HasStatus | flow.HasTimeout | flow.HasProtoInfo | flow.HasMark})
	}
	return in
}

// drive gives a node the events of b.N flows, step by step, and take every step's datagrams. Events are made while
// the clock stands still, many steps at a time, for stopping it empties the processor's caches.
func drive(b *testing.B, kind flow.EventKind, take func(*pair, []Datagram)) (p *pair) {
	steps := make([]KernelEvents, 128)
	b.ReportAllocs()
	for done := 0; done < b.N; {
		at := done % tableFlows
		b.StopTimer()
		if at == 0 {
			p = activeAndStandby(b, large, warm)
		}
		for i := range steps {
			eventsOf(&steps[i], kind, at+i*stepEvents, at+(i+1)*stepEvents)
		}
		b.StartTimer()
		for i := range steps {
			p.now = p.now.Add(stepPause)
			take(p, p.a.e.Step(p.now, &steps[i]).Datagrams)
		}
		done += len(steps) * stepEvents
	}
	return p
}

func BenchmarkActiveNew(b *testing.B) {
	drive(b, flow.EventNew, func(*pair, []Datagram) {})
}

// BenchmarkStandbyNew is the other end of BenchmarkActiveNew, a warm standby.
func BenchmarkStandbyNew(b *testing.B) {
	var in Datagrams
	p := drive(b, flow.EventNew, func(p *pair, ds []Datagram) {
		in.Datagrams = in.Datagrams[:0]
		for _, d := range ds {
			d.From = p.a.addr
			in.Datagrams = append(in.Datagrams, d)
		}
		if len(ds) > 0 {
			p.b.e.Step(p.now, &in)
		}
	})
	if p.b.e.Status().External.Active == 0 {
		b.Fatal("nothing arrived")
	}
}
