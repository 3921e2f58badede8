package engine

import (
	"fmt"
	"math"
	"math/rand"
	"sort"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

// Short flows, as many networks have them: of 100 flows 30 are DNS questions, whose entry stays for 30 s, 55 are TCP
// connections of some 0.3 s (log-normal, half of them 0.1 to 0.9 s) and 15 of some 30 s, whose entry stays for 120 s after the
// end.
const (
	shortRate  = 25 // flows a second
	shortFor   = 200 * time.Second
	dnsShare   = 30
	shortShare = 55
)

type happening struct {
	at   time.Duration
	kind flow.EventKind
	f    flow.Flow
	ends bool // the connection, not the entry
}

// shortFlows are the events of a load in their order.
func shortFlows(rng *rand.Rand) (all []happening) {
	for i := range int(shortRate * shortFor / time.Second) {
		at := time.Duration(rng.Int63n(int64(shortFor)))
		f := conn(1024+i%60000, noNAT)
		f.Src[2] = byte(i / 60000)
		f.Reply = f.Inverse()
		f.Status = flow.Confirmed
		add := func(after time.Duration, kind flow.EventKind, state uint8, ends bool) {
			f.State = state
			if kind == flow.EventUpdate {
				f.Status |= flow.SeenReply
			}
			all = append(all, happening{at + after, kind, f, ends})
		}
		if rng.Intn(100) < dnsShare {
			f.L4 = flow.UDP
			f.Reply = f.Inverse()
			add(0, flow.EventNew, 0, false)
			add(20*time.Millisecond, flow.EventUpdate, 0, true)
			add(30*time.Second, flow.EventDestroy, 0, false)
			continue
		}
		median := 0.3
		if rng.Intn(shortShare+15) >= shortShare {
			median = 30
		}
		lasts := time.Duration(median * math.Exp(1.6*rng.NormFloat64()) * float64(time.Second))
		add(0, flow.EventNew, flow.TCPSynSent, false)
		add(10*time.Millisecond, flow.EventUpdate, flow.TCPSynRecv, false)
		add(11*time.Millisecond, flow.EventUpdate, flow.TCPEstablished, false)
		end := max(lasts, 15*time.Millisecond)
		add(end, flow.EventUpdate, flow.TCPFinWait, true)
		add(end+10*time.Millisecond, flow.EventUpdate, flow.TCPLastAck, false)
		add(end+20*time.Millisecond, flow.EventUpdate, flow.TCPTimeWait, false)
		add(end+120*time.Second, flow.EventDestroy, flow.TCPTimeWait, false)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].at < all[j].at })
	return all
}

// BenchmarkSyncAfter measures what sync-after saves and costs: bytes on the link and operations in the standby's kernel a
// flow, how many of the connections that live at any time the standby does not have, and how many of their packets are
// those's. With packets, those of sync-after-packets; of the connections every fourth is busy.
func BenchmarkSyncAfter(b *testing.B) {
	for _, d := range []time.Duration{0, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 31 * time.Second} {
		b.Run(d.String(), func(b *testing.B) {
			for range b.N {
				measureShortFlows(b, d, 0)
			}
		})
	}
	for _, n := range []uint64{20, 100, 500} {
		b.Run(fmt.Sprintf("31s,packets=%d", n), func(b *testing.B) {
			for range b.N {
				measureShortFlows(b, 31*time.Second, n)
			}
		})
	}
}

// perSecond is how many packets a connection has, of which every fourth is busy.
func perSecond(k *flow.Key) float64 {
	if k.SrcL4%4 == 0 {
		return 200
	}
	return 2
}

func measureShortFlows(b *testing.B, d time.Duration, n uint64) {
	p := &pair{t: &testing.T{}, now: time.Unix(1000, 0)}
	p.a, p.b = p.join("a", packets(n, d)), p.join("b", packets(n, d))
	p.advance(300 * time.Millisecond)
	p.notice(p.a, vrrp.Master)
	p.advance(time.Second)
	idle := p.a.bytes.Len()
	p.advance(10 * time.Second)
	beats := p.a.bytes.Len() - idle // in 10 s without a flow
	began := p.now
	p.a.bytes.Reset()
	p.b.ops = nil
	live := map[flow.Key]time.Duration{}
	p.a.packets = func(k flow.Key) uint64 {
		at, there := live[k]
		if !there {
			return 0 // it is over
		}
		return 6 + uint64(perSecond(&k)*p.now.Sub(began.Add(at)).Seconds())
	}
	var seen, lacking, flows int
	var rate, lackingRate float64
	next := 20 * time.Second // once it is as it stays
	for _, h := range shortFlows(rand.New(rand.NewSource(1))) {
		if h.at > shortFor {
			break
		}
		if at := began.Add(h.at); at.After(p.now) {
			p.advance(at.Sub(p.now))
		}
		switch {
		case h.ends:
			delete(live, h.f.Key)
		case h.kind == flow.EventNew:
			live[h.f.Key] = h.at
			flows++
		}
		p.event(p.a, h.kind, h.f)
		if h.at >= next {
			next += time.Second
			for k := range live {
				seen++
				rate += perSecond(&k)
				if _, ok := p.b.kernel[k]; !ok {
					lacking++
					lackingRate += perSecond(&k)
				}
			}
		}
	}
	sent := p.a.bytes.Len() - beats*int(p.now.Sub(began)/(10*time.Second))
	b.ReportMetric(float64(sent)/float64(flows), "B/flow")
	b.ReportMetric(float64(len(p.b.ops))/float64(flows), "ops/flow")
	b.ReportMetric(100*float64(lacking)/float64(max(seen, 1)), "%unprotected")
	b.ReportMetric(100*lackingRate/max(rate, 1), "%packets")
}
