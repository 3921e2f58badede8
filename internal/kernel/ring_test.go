package kernel

import (
	"encoding/binary"
	"math/rand"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"ctsync/engine/flow"
)

// smallRing overflows all the time: it has room for 15 events.
const smallRing = 4096

func newRing(t testing.TB, size int) *Ring {
	t.Helper()
	r, err := makeRing(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// numberedMessage is one of that length, with a number in it.
func numberedMessage(i, length int) []byte {
	b := make([]byte, length)
	binary.NativeEndian.PutUint32(b, uint32(length))
	binary.NativeEndian.PutUint32(b[8:], uint32(i))
	return b
}

func numberOf(b []byte) int { return int(binary.NativeEndian.Uint32(b[8:])) }

// TestRingTakesEveryLength: what fits is in the ring, also across its end; what does not has the queue take over.
func TestRingTakesEveryLength(t *testing.T) {
	s := newSieve(t, 0, nil, true)
	defer s.close()
	for length := 16; length <= 1008; length++ {
		if !s.passes(t, numberedMessage(length, length)) || s.ring.queued() {
			t.Fatalf("%d bytes: not in the ring", length)
		}
	}
	s.send(t, numberedMessage(1, 1009))
	if !s.ring.queued() || s.ring.next(noEnd) != nil || len(s.queued(t)) != 1009 {
		t.Error("a message that is too long is not in the queue")
	}
}

// TestRingOverflows: once the ring is full everything goes to the queue, also when there is room again, until the reader has
// emptied both.
func TestRingOverflows(t *testing.T) {
	s := newSieve(t, 0, nil, true)
	defer s.close()
	sent := 0
	send := func() { s.send(t, numberedMessage(sent, 200)); sent++ }
	for !s.ring.queued() {
		send()
	}
	if sent < 8 {
		t.Fatalf("full after %d", sent)
	}
	for i := range sent - 1 {
		if b := s.ring.next(noEnd); b == nil || numberOf(b) != i {
			t.Fatalf("record %d: %v", i, b)
		}
	}
	s.ring.release()
	send()
	first := sent - 2 // the one that did not fit
	readable := func() bool { return first < sent }
	if s.ring.next(noEnd) != nil || !s.ring.available(readable) {
		t.Fatal("what comes after an overflow is not younger")
	}
	for ; first < sent; first++ {
		if b := s.queued(t); b == nil || numberOf(b) != first {
			t.Fatalf("in the queue %d: %v", first, b)
		}
	}
	if s.ring.available(readable) || s.ring.queued() {
		t.Error("both are empty, and the queue has not ended")
	}
	if !s.passes(t, numberedMessage(9, 200)) || s.ring.queued() {
		t.Error("afterwards nothing comes to the ring")
	}
}

// TestStragglers: what another processor was about to queue when both were empty comes before what came into the ring since, though the ring is
// never empty; and is seen before the reader sleeps.
func TestStragglers(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	for _, ringFirst := range []bool{true, false} {
		e := openEvents(t, EventsConfig{Ring: newRing(t, ringSize)})
		if events, _ := drain(t, e); len(events) > 0 { // and the queue's turn is over
			t.Fatal(events)
		}
		r := e.ring.Load()
		r.routing.route = routeQueue
		mustDo(t, w, numberedOps(flow.OpCreate, 0, 1))
		r.routing.route = routeRing
		if ringFirst {
			mustDo(t, w, numberedOps(flow.OpCreate, 1, 20))
		} else {
			r.settle = 0 // however late it comes
		}
		into := make([]flow.Event, 10)
		n, lost, err := e.Receive(into, time.Second)
		if n == 0 || lost || err != nil || into[0].Flow.Key != numbered(0).Key {
			t.Errorf("ring first %v: %d events, lost %v, %v; the first is of %v", ringFirst, n, lost, err, into[0].Flow.Key)
		}
		mustDo(t, w, numberedOps(flow.OpDelete, 0, 1))
		if ringFirst {
			mustDo(t, w, numberedOps(flow.OpDelete, 1, 20))
		}
		e.Close()
	}
}

// fakeRing is one whose other side is the test.
func fakeRing(e *Events) *ringReader {
	const size = 4096
	r := &ringReader{ring: &Ring{}, routing: new(routing), consumed: new(uint64), produced: new(uint64), data: make([]byte, 2*size), size: size}
	e.ring.Store(r)
	return r
}

// besideFake is a fake ring in a namespace of its own, and who makes events for the queue beside it.
func besideFake(t *testing.T) (*Writer, *Events, *ringReader) {
	t.Helper()
	newNetns(t)
	nft(t, natTables)
	e := openEvents(t, EventsConfig{})
	return openWriter(t), e, fakeRing(e)
}

// put puts an event into a fake ring, complete or not, and gives its header.
func (r *ringReader) put(b []byte, busy uint32) (header *uint32) {
	at := r.data[*r.produced:]
	length := uint32(recordSizes[1])
	binary.NativeEndian.PutUint32(at, length|busy)
	binary.NativeEndian.PutUint32(at[recordHeader:], uint32(len(b)))
	copy(at[recordHeader+recordLength:], b)
	*r.produced += recordHeader + uint64(length)
	return (*uint32)(unsafe.Pointer(&at[0]))
}

func eventNumber(i int) []byte {
	f := numbered(i)
	return eventOf(&f, false, 0)
}

// TestABusyRecord: while the oldest record of a full ring is being written nothing younger overtakes it, and nobody waits for it
// in a loop; then everything comes in order.
func TestABusyRecord(t *testing.T) {
	w, e, r := besideFake(t)
	header := r.put(eventNumber(0), recordBusy)
	r.put(eventNumber(1), 0)
	mustDo(t, w, numberedOps(flow.OpCreate, 2, 1)) // to the queue
	into := make([]flow.Event, 10)
	for range 3 {
		if n, lost, err := e.takeOverflow(r, into); n != 0 || lost || err != nil {
			t.Fatalf("meanwhile: %d events, lost %v, %v", n, lost, err)
		}
	}
	*header &^= recordBusy
	n, lost, err := e.Receive(into, time.Second)
	if n != 3 || lost || err != nil {
		t.Fatalf("%d events, lost %v, %v", n, lost, err)
	}
	for i, ev := range into[:n] {
		if ev.Flow.Key != numbered(i).Key {
			t.Errorf("event %d is of %v", i, ev.Flow.Key)
		}
	}
	if r.queued() || r.settle == 0 {
		t.Error("messages go to the queue still, or stragglers are not expected")
	}
}

// TestABusyRecordAlone: it is waited for, though nothing is in the queue and who completes it wakes nobody.
func TestABusyRecordAlone(t *testing.T) {
	_, e, r := besideFake(t)
	header := r.put(eventNumber(0), recordBusy)
	time.AfterFunc(20*time.Millisecond, func() { atomic.StoreUint32(header, *header&^recordBusy) })
	if n, lost, err := e.Receive(make([]flow.Event, 1), time.Second); n != 1 || lost || err != nil {
		t.Errorf("%d events, lost %v, %v", n, lost, err)
	}
}

// TestOverflowBesideAStraggler: in which order both came is not known, and said.
func TestOverflowBesideAStraggler(t *testing.T) {
	w, e, r := besideFake(t)
	into := make([]flow.Event, 10)
	for _, route := range []uint32{routeRing, routeQueue} {
		mustDo(t, w, numberedOps(flow.OpCreate, int(route), 1))
		r.routing.route = route
		if n, lost, err := e.takeStragglers(r, into); n != 1 || lost != (route == routeQueue) || err != nil {
			t.Errorf("route %d: %d events, lost %v, %v", route, n, lost, err)
		}
	}
}

// TestNotWhatCameMeanwhile: what is copied after the reader looked waits until it has looked for stragglers again.
func TestNotWhatCameMeanwhile(t *testing.T) {
	_, e, r := besideFake(t)
	r.put(eventNumber(0), 0)
	r.put(nil, 0) // a wake-up
	until := r.look()
	r.put(eventNumber(1), 0)
	into := make([]flow.Event, 10)
	for _, want := range []int{1, 0} {
		if n, short := e.takeRing(r, until, into); n != want || short {
			t.Errorf("%d events, want %d; short %v", n, want, short)
		}
	}
}

// TestOlderInTheRing: what was copied while the queue was being read goes before it.
func TestOlderInTheRing(t *testing.T) {
	w, e, r := besideFake(t)
	mustDo(t, w, numberedOps(flow.OpCreate, 1, 2))
	r.put(eventNumber(0), 0)
	into := make([]flow.Event, 10)
	n, dry, lost, err := e.takeQueued(r, into)
	if n != 3 || !dry || lost || err != nil || into[0].Flow.Key != numbered(0).Key {
		t.Errorf("%d events, dry %v, lost %v, %v; the first is of %v", n, dry, lost, err, into[0].Flow.Key)
	}
}

// TestRingAsksAndLooksAgain: what was copied after the reader looked, and before it asked for a wake-up, wakes nobody.
func TestRingAsksAndLooksAgain(t *testing.T) {
	s := newSieve(t, 0, nil, true)
	defer s.close()
	s.ring.routing.route = routeQueue
	readable := func() bool {
		s.ring.routing.route = routeRing
		s.send(t, numberedMessage(1, 100))
		return false
	}
	if !s.ring.available(readable) || s.ring.routing.route != routeRing {
		t.Errorf("overlooked, route %d", s.ring.routing.route)
	}
}

// TestRingIsNotWokenInVain: only the first message that comes while the reader sleeps wakes it.
func TestRingIsNotWokenInVain(t *testing.T) {
	s := newSieve(t, 0, nil, true)
	defer s.close()
	records := func() int {
		s.ring.routing.route = routeRing // as if it was awake
		n := 0
		for s.ring.next(noEnd) != nil {
			n++
		}
		s.ring.release()
		return n
	}
	before := *s.ring.produced
	if s.ring.available(func() bool { return false }) || s.ring.routing.route != routeWake {
		t.Fatal("it does not ask for a wake-up")
	}
	for i := range 3 {
		s.send(t, numberedMessage(i, 100))
		if s.ring.routing.route != routeRing {
			t.Fatalf("message %d: route %d", i, s.ring.routing.route)
		}
	}
	if got := *s.ring.produced - before; got != 3*256+recordHeader+recordLength {
		t.Errorf("%d bytes: more or less than three messages and a wake-up", got)
	}
	if n := records(); n != 3 {
		t.Errorf("%d messages", n)
	}
}

// TestEventsWakeTheReader: each of many events that come one by one, whenever the reader is about to sleep.
func TestEventsWakeTheReader(t *testing.T) { eachWay(t, testEventsWakeTheReader) }

func testEventsWakeTheReader(t *testing.T, c EventsConfig) {
	w := openWriter(t)
	e := openEvents(t, c)
	into := make([]flow.Event, 8)
	step := make(chan bool)
	go func() {
		defer close(step)
		var results []flow.Result
		for i := range 2000 {
			kind := []flow.OpKind{flow.OpCreate, flow.OpDelete}[i%2]
			for from := time.Now(); time.Since(from) < time.Duration(i%50)*time.Microsecond; {
			}
			results = w.Do(numberedOps(kind, 0, 1), results[:0])
			if !<-step {
				return
			}
		}
	}()
	for i := range 2000 {
		n, lost, err := e.Receive(into, 10*time.Second)
		if n != 1 || lost || err != nil {
			t.Errorf("event %d: %d, lost %v, %v", i, n, lost, err)
			step <- false
			return
		}
		step <- true
	}
	if r := e.ring.Load(); r != nil && *r.consumed != *r.produced {
		t.Errorf("%d of %d bytes given back", *r.consumed, *r.produced)
	}
}

// TestOrderOfEvents: of each flow, made, changed and ended by one of several writers while the reader now and then looks away until
// everything is full, each event comes once and in order.
func TestOrderOfEvents(t *testing.T) { eachWay(t, testOrderOfEvents) }

func testOrderOfEvents(t *testing.T, c EventsConfig) {
	const writers, rounds, batch = 3, 300, 20
	c.ReceiveBuffer = 256 << 20
	e := openEvents(t, c)
	var working sync.WaitGroup
	for i := range writers {
		w := openWriter(t)
		working.Go(func() {
			var results []flow.Result
			for round := range rounds {
				for _, kind := range []flow.OpKind{flow.OpCreate, flow.OpUpdate, flow.OpDelete} {
					results = w.Do(numberedOps(kind, (i*rounds+round)*batch, batch), results[:0])
				}
			}
		})
	}
	rng := rand.New(rand.NewSource(1))
	seen := map[flow.Key]int{}
	into := make([]flow.Event, 100)
	for left := writers * rounds * batch * 3; left > 0; {
		n, lost, err := e.Receive(into, 10*time.Second)
		if n == 0 || lost || err != nil {
			t.Fatalf("%d events left: %d, lost %v, %v", left, n, lost, err)
		}
		for i := range into[:n] {
			ev := &into[i]
			if step := []int{flow.EventNew: 0, flow.EventUpdate: 1, flow.EventDestroy: 2}[ev.Kind]; seen[ev.Flow.Key] != step {
				t.Fatalf("%v: %v after %d events", ev.Flow.Key, ev.Kind, seen[ev.Flow.Key])
			}
			seen[ev.Flow.Key]++
		}
		left -= n
		if rng.Intn(20) == 0 {
			time.Sleep(time.Duration(rng.Intn(20)) * time.Millisecond)
		}
	}
	working.Wait()
	st := e.Stats()
	t.Logf("%+v", st)
	if r := e.ring.Load(); r != nil && r.size == smallRing && st.Overflows == 0 {
		t.Error("the small ring did not overflow")
	}
}

// TestRingOnTheWay: events that come while a ring is given are neither lost nor in another order; a second one is refused.
func TestRingOnTheWay(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	e := openEvents(t, EventsConfig{ReceiveBuffer: 64 << 20})
	const batches, batch = 100, 100
	done := make(chan bool)
	go func() {
		defer close(done)
		var results []flow.Result
		for i := range batches {
			if i == batches/3 {
				if err := e.UseRing(newRing(t, ringSize)); err != nil {
					t.Error(err)
				}
			}
			results = w.Do(numberedOps(flow.OpCreate, i*batch, batch), results[:0])
		}
	}()
	into := make([]flow.Event, 100)
	for at := 0; at < batches*batch; {
		n, lost, err := e.Receive(into, 10*time.Second)
		if n == 0 || lost || err != nil {
			t.Fatalf("at %d: %d, lost %v, %v", at, n, lost, err)
		}
		for _, ev := range into[:n] {
			if ev.Flow.Key != numbered(at).Key {
				t.Fatalf("event %d is of %v", at, ev.Flow.Key)
			}
			at++
		}
	}
	<-done
	drain(t, e) // the queue's turn is over
	mustDo(t, w, numberedOps(flow.OpDelete, 0, 10))
	if events, lost := drain(t, e); len(events) != 10 || lost {
		t.Errorf("%d events, lost %v", len(events), lost)
	}
	if r := e.ring.Load(); r == nil || *r.consumed == 0 {
		t.Error("nothing came through the ring")
	}
	if err := e.UseRing(newRing(t, ringSize)); err == nil {
		t.Error("a second ring is taken")
	}
}

// TestNoRing: what is none is refused, and given up.
func TestNoRing(t *testing.T) {
	newNetns(t)
	e := openEvents(t, EventsConfig{})
	for _, n := range []int{2, 3} {
		var files []*os.File
		for range n {
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		r, err := RingOf(files)
		if n == 3 && err == nil {
			err = e.UseRing(r)
		}
		if err == nil || e.Stats().Ring {
			t.Errorf("%d files: taken", n)
		}
		for _, f := range files {
			if f.Close() == nil {
				t.Errorf("%d files: one is still open", n)
			}
		}
	}
}
