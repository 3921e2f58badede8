package kernel

import (
	"errors"
	"net"
	"testing"
	"time"

	"ctsync/engine/flow"
)

func openEvents(t testing.TB, c EventsConfig) *Events {
	t.Helper()
	e, err := OpenEvents(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// eachWay is for what does not depend on how events come: through a ring, through one that overflows all the time, or through the queue
// alone.
func eachWay(t *testing.T, f func(t *testing.T, c EventsConfig)) {
	for name, size := range map[string]int{"ring": ringSize, "small ring": smallRing, "queue": 0} {
		t.Run(name, func(t *testing.T) {
			newNetns(t)
			nft(t, natTables)
			c := EventsConfig{ReceiveBuffer: 8 << 20}
			if size > 0 {
				c.Ring = newRing(t, size)
			}
			f(t, c)
		})
	}
}

// drain receives until nothing came for a while.
func drain(t testing.TB, e *Events) (events []flow.Event, lost bool) {
	t.Helper()
	into := make([]flow.Event, 100)
	for {
		n, l, err := e.Receive(into, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		lost = lost || l
		if n == 0 && !l {
			return events, lost
		}
		for _, ev := range into[:n] {
			if ev.Flow.Extra != nil {
				x := *ev.Flow.Extra
				ev.Flow.Extra = &x
			}
			events = append(events, ev)
		}
	}
}

func kinds(events []flow.Event) (count [3]int) {
	for _, ev := range events {
		count[ev.Kind]++
	}
	return count
}

func TestOwnOperationsAreIgnored(t *testing.T) { eachWay(t, testOwnOperationsAreIgnored) }

func testOwnOperationsAreIgnored(t *testing.T, c EventsConfig) {
	own, foreign := openWriter(t), openWriter(t)
	c.IgnorePort = own.PortID()
	e := openEvents(t, c)
	const n = 1000
	for _, kind := range []flow.OpKind{flow.OpCreate, flow.OpUpdate, flow.OpDelete} {
		mustDo(t, own, numberedOps(kind, 0, n))
		mustDo(t, foreign, numberedOps(kind, n, n))
	}
	events, lost := drain(t, e)
	if lost {
		t.Fatal("events lost")
	}
	if got := kinds(events); got != [3]int{n, n, n} {
		t.Errorf("%v events, want %d of each kind", got, n)
	}
	for i, ev := range events {
		if ev.Flow.Key != numbered(n+i%n).Key {
			t.Fatalf("event %d is of %v", i, ev.Flow.Key)
		}
	}
	if s := e.Stats(); s.Received != 3*n || s.Malformed != 0 || s.Overruns != 0 || s.ReceiveBuffer != 8<<20 {
		t.Errorf("stats %+v", s)
	}
}

func TestEventsCarryTheFlow(t *testing.T) { eachWay(t, testEventsCarryTheFlow) }

func testEventsCarryTheFlow(t *testing.T, c EventsConfig) {
	nft(t, labelTable)
	w := openWriter(t)
	e := openEvents(t, c)
	all := samples()
	createAll(t, w, all)
	events, _ := drain(t, e)
	if len(events) != len(all) {
		t.Fatalf("%d events of %d flows", len(events), len(all))
	}
	for i, ev := range events {
		want := asHeld(all[i].flow)
		got := near(ev.Flow, want)
		if ev.Kind != flow.EventNew || got.Key != want.Key || got.Value != want.Value || ev.Flow.ID == 0 {
			t.Errorf("%s: kind %v\nhave %+v\nwant %+v", all[i].name, ev.Kind, got, want)
		}
		if ev.Has&(flow.HasReply|flow.HasStatus|flow.HasTimeout) != flow.HasReply|flow.HasStatus|flow.HasTimeout {
			t.Errorf("%s: has %b", all[i].name, ev.Has)
		}
		if (ev.Has&flow.HasProtoInfo != 0) != (want.State != 0) {
			t.Errorf("%s: has %b, state %d", all[i].name, ev.Has, want.State)
		}
	}
}

func TestOverrun(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	e := openEvents(t, EventsConfig{ReceiveBuffer: 10000})
	const n = 2000
	mustDo(t, w, numberedOps(flow.OpCreate, 0, n))
	into := make([]flow.Event, n)
	got, lost, err := e.Receive(into, time.Second)
	if err != nil || !lost {
		t.Fatalf("lost %v, %v", lost, err)
	}
	if got == 0 || got >= n {
		t.Errorf("%d events of %d", got, n)
	}
	if s := e.Stats(); s.Overruns != 1 {
		t.Errorf("%d overruns", s.Overruns)
	}
	if got, lost, err := e.Receive(into, 0); got != 0 || lost || err != nil {
		t.Errorf("after the overrun: %d events, lost %v, %v", got, lost, err)
	}
	mustDo(t, w, numberedOps(flow.OpDelete, 7, 3))
	events, lost := drain(t, e)
	if lost || kinds(events) != [3]int{0, 0, 3} {
		t.Errorf("later: %v, lost %v", kinds(events), lost)
	}
}

func TestReceiveFewAtATime(t *testing.T) { eachWay(t, testReceiveFewAtATime) }

func testReceiveFewAtATime(t *testing.T, c EventsConfig) {
	w := openWriter(t)
	e := openEvents(t, c)
	mustDo(t, w, numberedOps(flow.OpCreate, 0, 100))
	into := make([]flow.Event, 7)
	for i := 0; i < 100; {
		n, lost, err := e.Receive(into, time.Second)
		if n == 0 || n > len(into) || lost || err != nil {
			t.Fatalf("at %d: %d events, lost %v, %v", i, n, lost, err)
		}
		if n == len(into) && e.busy {
			t.Fatalf("at %d: the next Receive would wait although there is more", i)
		}
		for _, ev := range into[:n] {
			if ev.Flow.Key != numbered(i).Key {
				t.Fatalf("event %d is of %v", i, ev.Flow.Key)
			}
			i++
		}
	}
}

func TestReceiveWaits(t *testing.T) { eachWay(t, testReceiveWaits) }

func testReceiveWaits(t *testing.T, c EventsConfig) {
	e := openEvents(t, c)
	begin := time.Now()
	n, lost, err := e.Receive(make([]flow.Event, 1), 30*time.Millisecond)
	if d := time.Since(begin); n != 0 || lost || err != nil || d < 30*time.Millisecond {
		t.Errorf("%d events, lost %v, %v after %v", n, lost, err, d)
	}
}

func TestCloseEndsReceive(t *testing.T) { eachWay(t, testCloseEndsReceive) }

func testCloseEndsReceive(t *testing.T, c EventsConfig) {
	e := openEvents(t, c)
	ended := make(chan error)
	go func() {
		_, _, err := e.Receive(make([]flow.Event, 1), time.Hour)
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond)
	e.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a Receive under way: %v", err)
	}
	if _, _, err := e.Receive(nil, time.Hour); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a later Receive: %v", err)
	}
	if err := e.AllProtocols(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("later, all protocols: %v", err)
	}
}

// TestEventsOfOneNamespace: nothing of another network namespace comes in.
func TestEventsOfOneNamespace(t *testing.T) { eachWay(t, testEventsOfOneNamespace) }

func testEventsOfOneNamespace(t *testing.T, c EventsConfig) {
	here := openEvents(t, c)
	newHost(t, "there").do(t, func() error {
		w, err := OpenWriter()
		if err != nil {
			return err
		}
		defer w.Close()
		mustDo(t, w, numberedOps(flow.OpCreate, 0, 50))
		return nil
	})
	if events, lost := drain(t, here); len(events) != 0 || lost {
		t.Errorf("%d foreign events", len(events))
	}
}
