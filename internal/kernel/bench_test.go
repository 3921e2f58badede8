package kernel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

func BenchmarkDecode(b *testing.B) {
	m := golden(b, "event-update-6-2-established")
	var f flow.Flow
	var x flow.Extra
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeFlow(m[headers:], flow.IPv4, &f, &x); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	op := flow.Op{Kind: flow.OpCreate, Flow: findSample("tcp snat port")}
	buf := make([]byte, 0, maxMessage)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendOp(buf[:0], 1, 0, &op)
	}
}

// BenchmarkReceive is per event, out of a full queue.
func BenchmarkReceive(b *testing.B) {
	newNetns(b)
	nft(b, natTables)
	w := openWriter(b)
	e := openEvents(b, EventsConfig{ReceiveBuffer: 64 << 20})
	const n = 20000
	into := make([]flow.Event, 1024)
	b.ReportAllocs()
	for at := 0; at < b.N; {
		b.StopTimer()
		mustDo(b, w, numberedOps(flow.OpCreate, 0, n/2))
		mustDo(b, w, numberedOps(flow.OpDelete, 0, n/2))
		b.StartTimer()
		for left := n; left > 0; {
			got, lost, err := e.Receive(into, time.Second)
			if err != nil || lost || got == 0 {
				b.Fatal(got, lost, err)
			}
			left -= got
			at += got
		}
	}
}

// BenchmarkReceiveOnline is per event too, beside a writer that makes them as fast as it can.
func BenchmarkReceiveOnline(b *testing.B) {
	newNetns(b)
	nft(b, natTables)
	w := openWriter(b)
	e := openEvents(b, EventsConfig{ReceiveBuffer: 8 << 20})
	stop, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		var results []flow.Result
		create, remove := numberedOps(flow.OpCreate, 0, maxBatch), numberedOps(flow.OpDelete, 0, maxBatch)
		for {
			select {
			case <-stop:
				return
			default:
			}
			results = w.Do(create, results[:0])
			results = w.Do(remove, results[:0])
		}
	}()
	into := make([]flow.Event, 1024)
	calls := 0
	b.ReportAllocs()
	b.ResetTimer()
	at := 0
	for at < b.N {
		n, _, err := e.Receive(into, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		calls++
		at += n
	}
	b.ReportMetric(float64(at)/float64(calls), "events/call")
	b.ReportMetric(float64(e.Stats().Overruns), "overruns")
	close(stop)
	<-ended
}

// benchmarkCreate is per operation; a create is undone off the clock.
func benchmarkCreate(b *testing.B, size int, flows func(i int) flow.Flow) {
	newNetns(b)
	nft(b, natTables)
	w := openWriter(b)
	const n = 8 * maxBatch
	list := make([]flow.Op, n)
	results := make([]flow.Result, 0, n)
	b.ReportAllocs()
	for at := 0; at < b.N; at += n {
		b.StopTimer()
		for i := range list {
			list[i] = flow.Op{Kind: flow.OpCreate, Flow: flows(i)}
		}
		b.StartTimer()
		for i := 0; i < n; i += size {
			results = w.Do(list[i:i+size], results[:0])
			if results[0].Errno != 0 {
				b.Fatal(results[0].Errno)
			}
		}
		b.StopTimer()
		for i := range list {
			list[i].Kind = flow.OpDelete
		}
		mustDo(b, w, list)
		b.StartTimer()
	}
}

func numberedSNAT(i int) flow.Flow {
	return snat(numbered(i), "198.51.100.1", uint16(1024+i))
}

func BenchmarkCreate(b *testing.B)      { benchmarkCreate(b, 8*maxBatch, numbered) }
func BenchmarkCreateOne(b *testing.B)   { benchmarkCreate(b, 1, numbered) }
func BenchmarkCreateSNAT(b *testing.B)  { benchmarkCreate(b, 8*maxBatch, numberedSNAT) }
func BenchmarkUpdate(b *testing.B)      { benchmarkKnown(b, flow.OpUpdate) }
func BenchmarkGet(b *testing.B)         { benchmarkKnown(b, flow.OpGet) }
func BenchmarkCreateTwice(b *testing.B) { benchmarkKnown(b, flow.OpCreate) }

// benchmarkKnown is per operation on entries that are there.
func benchmarkKnown(b *testing.B, kind flow.OpKind) {
	newNetns(b)
	nft(b, natTables)
	w := openWriter(b)
	const n = 8 * maxBatch
	mustDo(b, w, numberedOps(flow.OpCreate, 0, n))
	list := numberedOps(kind, 0, n)
	results := make([]flow.Result, 0, n)
	b.ReportAllocs()
	for at := 0; at < b.N; at += n {
		results = w.Do(list, results[:0])
		if len(results) != n {
			b.Fatal(len(results))
		}
	}
}

// BenchmarkDump is per entry.
func BenchmarkDump(b *testing.B) {
	newNetns(b)
	nft(b, natTables)
	const n = 50000
	w := openWriter(b)
	mustDo(b, w, numberedOps(flow.OpCreate, 0, n))
	into := make([]flow.Flow, 1024)
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; {
		if err := Dump(into, func(f []flow.Flow) error { at += len(f); return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations holds the common path to none at all.
func TestAllocations(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	e := openEvents(t, EventsConfig{ReceiveBuffer: 8 << 20})
	m := golden(t, "dump-seqadj")
	create, remove := numberedOps(flow.OpCreate, 0, 100), numberedOps(flow.OpDelete, 0, 100)
	get, update := numberedOps(flow.OpGet, 0, 100), numberedOps(flow.OpUpdate, 0, 100)
	results := make([]flow.Result, 0, 1000)
	into := make([]flow.Event, 1000)
	buf := make([]byte, 0, maxMessage)
	var f flow.Flow
	var x flow.Extra
	for name, act := range map[string]func(){
		"decode": func() { _, _ = DecodeFlow(m[headers:], flow.IPv4, &f, &x) },
		"encode": func() { buf = appendOp(buf[:0], 1, unix.NLM_F_ACK, &create[0]) },
		"operations": func() {
			results = w.Do(create, results[:0])
			results = w.Do(create, results) // every one refused
			results = w.Do(get, results)
			results = w.Do(update, results)
			results = w.Do(remove, results)
		},
		"receive": func() {
			results = w.Do(create, results[:0])
			results = w.Do(remove, results)
			for left := 200; left > 0; {
				n, lost, err := e.Receive(into, time.Second)
				if n == 0 || lost || err != nil {
					t.Fatal(n, lost, err)
				}
				left -= n
			}
		},
	} {
		_, _ = drain(t, e)
		if n := testing.AllocsPerRun(20, act); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
