package wire

import (
	"testing"

	"ctsync/engine/flow"
)

// payload is what a datagram may carry on Ethernet, and packet what UDP over IPv4 adds to it.
const (
	payload = 1400
	packet  = 28
)

// change is one record of a benchmark's log, as event n of a busy node.
type change func(n int) (k flow.Key, v flow.Value, age uint64, tomb uint8)

func plain(f func(int) (flow.Key, flow.Value), age uint64, tomb uint8) change {
	return func(n int) (flow.Key, flow.Value, uint64, uint8) {
		k, v := f(n)
		return k, v, age, tomb
	}
}

// changes are the kinds whose size is measured; age is how many changes ago the flow began.
var changes = []struct {
	name string
	of   change
	most float64 // bytes on the wire for one, with its share of everything around it
}{
	{"tcp-snat-new", plain(sampleTCP, 0, 0), 30},
	{"tcp-snat-update", plain(sampleTCP, 100_000, 0), 33},
	{"tcp6", plain(sampleTCP6, 100_000, 0), 54},
	{"udp-snat", plain(sampleUDP, 0, 0), 23},
	{"tomb-tcp", plain(sampleTCP, 100_000, TombEnded), 21},
	{"tomb-tcp6", plain(sampleTCP6, 100_000, TombEnded), 44},
}

// fill makes whole datagrams of n changes and gives each to out.
func fill(of change, n int, repeat bool, out func([]byte)) {
	buf := make([]byte, 0, 2048)
	h := Header{Type: Data, Sender: Epoch{1}}
	var w DataWriter
	for i := 0; i < n; {
		prev := uint64(1_000_000 + i)
		buf = AppendDataPrefix(AppendHeader(buf[:0], &h), prev, prev+50)
		w.Begin(prev)
		for ; i < n; i++ {
			k, v, age, tomb := of(i)
			seq, at := uint64(1_000_001+i), len(buf)
			if repeat {
				buf = w.Append(buf, seq, seq-age, tomb, &k, &v, nil)
			} else {
				buf = AppendRecord(buf, seq-1, seq, seq-age, tomb, &k, &v, nil)
			}
			if len(buf) > payload-sumLen {
				buf = buf[:at]
				break
			}
		}
		out(Seal(buf))
	}
}

func perChange(of change, repeat bool) float64 {
	const n = 20_000
	bytes := 0
	fill(of, n, repeat, func(b []byte) { bytes += len(b) + packet })
	return float64(bytes) / n
}

// TestBytesPerChange holds the size of a change, headers of IP and UDP included, below what it is now.
func TestBytesPerChange(t *testing.T) {
	for _, c := range changes {
		repeat, alone := perChange(c.of, true), perChange(c.of, false)
		t.Logf("%-16s %5.1f bytes, %5.1f where nothing is left out", c.name, repeat, alone)
		if repeat > c.most {
			t.Errorf("%s: %.1f bytes for a change, at most %.0f", c.name, repeat, c.most)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range changes {
		b.Run(c.name, func(b *testing.B) {
			k, v, age, tomb := c.of(1)
			var w DataWriter
			buf := make([]byte, 0, 2048)
			b.ReportAllocs()
			for i := range b.N {
				if i%40 == 0 {
					w.Begin(1_000_000)
					buf = buf[:0]
				}
				k.SrcL4++
				seq := uint64(1_000_001 + i%40)
				buf = w.Append(buf, seq, seq-age, tomb, &k, &v, nil)
			}
			b.ReportMetric(perChange(c.of, true), "wire-B/op")
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, c := range changes {
		b.Run(c.name, func(b *testing.B) {
			var frame []byte
			fill(c.of, 20, true, func(f []byte) { frame = append(frame[:0], f...) })
			var (
				h   Header
				rec Record
			)
			b.ReportAllocs()
			for n := 0; n < b.N; {
				body, err := Open(frame, 0, &h)
				if err != nil {
					b.Fatal(err)
				}
				d, _ := OpenData(body)
				for {
					if ok, err := d.Next(&rec); !ok || err != nil {
						if err != nil {
							b.Fatal(err)
						}
						break
					}
					n++
				}
			}
		})
	}
}

// TestNothingIsAllocated on the way of a change, in either direction, with attributes too.
func TestNothingIsAllocated(t *testing.T) {
	recs := samples()
	buf, beat := make([]byte, 0, 4096), sampleBeat()
	var (
		h    Header
		rec  Record
		w    DataWriter
		back Heartbeat
	)
	round := func() {
		buf = AppendHeader(buf[:0], &Header{Type: Data, Cluster: 1})
		buf = AppendDataPrefix(buf, 1000, 2000)
		w.Begin(1000)
		for i := range recs {
			r := &recs[i]
			buf = w.Append(buf, r.Seq, r.Born, r.Tomb, &r.Key, &r.Value, r.Extra)
		}
		buf = Seal(buf)
		body, err := Open(buf, 1, &h)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := OpenData(body)
		for {
			if ok, err := d.Next(&rec); err != nil {
				t.Fatal(err)
			} else if !ok {
				break
			}
		}
		buf = AppendHeartbeat(buf[:0], &beat)
		if err := DecodeHeartbeat(buf, &back); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for %d records and a heartbeat", n, len(recs))
	}
}
