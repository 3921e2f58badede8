package engine

import (
	"bytes"
	"runtime"
	"testing"

	"ctsync/engine/flow"
)

// BenchmarkLargeTable fills the tables of an active node and its warm standby with b.N flows; they talk to each other all the
// while. Time is both nodes' work; memory is that of both, by flow and node. For a table that no machine here has in
// its kernel:
//
//	go test ./engine -run - -bench LargeTable -benchtime 10000000x -timeout 60m
func BenchmarkLargeTable(b *testing.B) {
	b.StopTimer()
	before := heap()
	p := activeAndStandby(b, func(c *Config) { c.TableMax = 2*b.N + 1000 }, warm)
	steps := make([]KernelEvents, 128) // made while the clock stands still: to stop it empties the processor's caches
	for at := 0; at < b.N; {
		for i := range steps {
			steps[i].Events = steps[i].Events[:0]
			for end := min(at+stepEvents, b.N); at < end; at++ {
				steps[i].Events = append(steps[i].Events, flow.Event{Kind: flow.EventNew, Flow: wide(at),
					Has: flow.HasReply | flow.HasStatus | flow.HasTimeout | flow.HasProtoInfo | flow.HasMark})
			}
		}
		b.StartTimer()
		for i := range steps {
			p.now = p.now.Add(stepPause)
			converse(p, p.a.e.Step(p.now, &steps[i]).Datagrams)
		}
		b.StopTimer()
	}
	for range 20 {
		p.now = p.now.Add(stepPause)
		converse(p, p.a.e.Step(p.now, &Tick{}).Datagrams)
	}
	if have := p.b.e.Status().External.Active; have != b.N {
		b.Errorf("the standby has %d flows of %d", have, b.N)
	}
	b.ReportMetric(float64(heap()-before)/float64(2*b.N), "B/flow")
	runtime.KeepAlive(p)
}

// wide makes flow i of 16 million.
func wide(i int) flow.Flow {
	f := spread(0)
	f.Src[1], f.Src[2], f.Src[3] = byte(i>>16), byte(i>>8), byte(i)
	f.SrcL4, f.Dst[3] = uint16(1024+i*31%60000), byte(i%50)
	f.Reply = f.Inverse()
	return f
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// converse carries what the active node said to the standby, and answers back and forth, until both are silent.
func converse(p *pair, said []Datagram) {
	for heard := from(p.a, said); ; {
		answer := from(p.b, p.b.e.Step(p.now, &heard).Datagrams)
		if !p.b.e.Deadline().After(p.now) {
			answer.Datagrams = append(answer.Datagrams, from(p.b, p.b.e.Step(p.now, &Tick{}).Datagrams).Datagrams...)
		}
		if len(answer.Datagrams) == 0 {
			return
		}
		if heard = from(p.a, p.a.e.Step(p.now, &answer).Datagrams); len(heard.Datagrams) == 0 {
			return
		}
	}
}

// from copies what n said, as it is heard: an output lives until the next step.
func from(n *fake, said []Datagram) (heard Datagrams) {
	for _, d := range said {
		heard.Datagrams = append(heard.Datagrams, Datagram{Payload: bytes.Clone(d.Payload), From: n.addr})
	}
	return heard
}
