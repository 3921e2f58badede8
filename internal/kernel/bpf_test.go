package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"ctsync/engine/flow"
)

// sieve is a pair of sockets with a program on the second: what is sent into the first and comes out has passed the
// kernel's own interpreter.
type sieve struct {
	in, out int
	ring    *ringReader
}

func newSieve(t testing.TB, ignore uint32, protocols []uint8, withRing bool) (s sieve) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s = sieve{in: fds[0], out: fds[1]}
	if !withRing {
		if err := attach(s.out, ignore, protocols); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s.ring, err = newRingReader(newRing(t, smallRing), ignore, protocols); err != nil {
		t.Fatal(err)
	}
	if err := s.ring.attach(s.out); err != nil {
		t.Fatal(err)
	}
	s.ring.available(func() bool { return false }) // it is not the queue's turn
	return s
}

func (s sieve) close() {
	unix.Close(s.in)
	unix.Close(s.out)
	if s.ring != nil {
		s.ring.close()
	}
}

func (s sieve) send(t testing.TB, b []byte) {
	t.Helper()
	if err := unix.Send(s.in, b, 0); err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
}

// queued is what is next in the socket's queue, nil if nothing is.
func (s sieve) queued(t testing.TB) []byte {
	t.Helper()
	buf := make([]byte, 2*maxMessage)
	n, err := unix.Read(s.out, buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// passes says whether message b comes out, and whole, on one way.
func (s sieve) passes(t testing.TB, b []byte) bool {
	t.Helper()
	s.send(t, b)
	out := s.queued(t)
	if s.ring != nil {
		if copied := s.ring.next(noEnd); copied != nil {
			if out != nil {
				t.Fatal("it comes twice")
			}
			out = slices.Clone(copied)
		}
		s.ring.release()
	}
	if out != nil && !bytes.Equal(out, b) {
		t.Fatalf("%d of %d bytes", len(out), len(b))
	}
	return out != nil
}

// eventOf is an event on f of the socket with that port.
func eventOf(f *flow.Flow, destroyed bool, port uint32) []byte {
	b := appendOp(nil, 7, 0, &flow.Op{Kind: flow.OpCreate, Flow: *f})
	if destroyed {
		typ := binary.NativeEndian.Uint16(b[typeOffset:])
		binary.NativeEndian.PutUint16(b[typeOffset:], typ&0xff00|2)
	}
	binary.NativeEndian.PutUint32(b[portOffset:], port)
	return b
}

// TestProgramIsTheFilter: for any flow, set of protocols and ports, the kernel's program drops just what the filter on
// protocols leaves out, and what the ports caused.
func TestProgramIsTheFilter(t *testing.T) {
	for _, withRing := range []bool{true, false} {
		t.Run(fmt.Sprintf("ring %v", withRing), func(t *testing.T) { testProgramIsTheFilter(t, withRing) })
	}
}

func testProgramIsTheFilter(t *testing.T, withRing bool) {
	rapid.Check(t, func(rt *rapid.T) {
		f := anyFlow(rt)
		var filter flow.Filter
		protocols := rapid.SliceOfNDistinct(rapid.SampledFrom([]uint8{1, 6, 17, 33, 47, 50, 51, 58, 132, 136}), 0, 10, rapid.ID).Draw(rt, "protocols")
		for _, p := range protocols {
			filter.Some, filter.Protocols[p] = true, true
		}
		ignore := rapid.SampledFrom([]uint32{0, 1, 77, 4242, 1 << 31}).Draw(rt, "ignore")
		port := rapid.SampledFrom([]uint32{0, 1, 77, 4242, 1 << 31, 1 << 24}).Draw(rt, "port")
		s := newSieve(t, ignore, protocols, withRing)
		defer s.close()
		want := filter.Accepts(&f.Key, &f.Value) && (ignore == 0 || port != ignore)
		for _, destroyed := range []bool{false, true} {
			if got := s.passes(t, eventOf(&f, destroyed, port)); got != want {
				rt.Fatalf("protocol %d of %v, port %d, not %d, end %v: %v", f.L4, protocols, port, ignore, destroyed, got)
			}
		}
	})
}

// TestProgramPassesTheRest: expectations, and what has no protocol where it should be, whatever is accepted.
func TestProgramPassesTheRest(t *testing.T) {
	for _, withRing := range []bool{true, false} {
		t.Run(fmt.Sprintf("ring %v", withRing), func(t *testing.T) { testProgramPassesTheRest(t, withRing) })
	}
}

func testProgramPassesTheRest(t *testing.T, withRing bool) {
	s := newSieve(t, 0, []uint8{flow.TCP}, withRing)
	defer s.close()
	udp := newFlow(flow.UDP, "10.0.0.1", 1, "10.0.0.2", 2)
	whole := eventOf(&udp, false, 0)
	if s.passes(t, whole) {
		t.Fatal("a flow of another protocol passes")
	}
	expectation := slices.Clone(whole)
	binary.NativeEndian.PutUint16(expectation[typeOffset:], msgExpNew)
	if !s.passes(t, expectation) {
		t.Error("an expectation is dropped")
	}
	for cut := headers; cut < headers+8; cut++ { // before the protocol
		if !s.passes(t, whole[:cut]) {
			t.Errorf("cut at %d: dropped, and not counted as malformed", cut)
		}
	}
}

// TestProtocolsOfEvents: in front of a real kernel, and until all are wanted.
func TestProtocolsOfEvents(t *testing.T) { eachWay(t, testProtocolsOfEvents) }

func testProtocolsOfEvents(t *testing.T, c EventsConfig) {
	w := openWriter(t)
	c.Protocols = []uint8{flow.TCP, flow.ICMP}
	e := openEvents(t, c)
	flows := []flow.Flow{
		newFlow(flow.TCP, "10.0.0.1", 1, "10.0.0.2", 2), newFlow(flow.UDP, "10.0.0.1", 1, "10.0.0.2", 2),
		newFlow(flow.UDP, "2001:db8::1", 1, "2001:db8::2", 2), newFlow(flow.TCP, "2001:db8::1", 1, "2001:db8::2", 2),
	}
	round := func() (protocols []uint8) {
		t.Helper()
		for _, kind := range []flow.OpKind{flow.OpCreate, flow.OpUpdate, flow.OpDelete} {
			var ops []flow.Op
			for _, f := range flows {
				ops = append(ops, flow.Op{Kind: kind, Flow: f})
			}
			mustDo(t, w, ops)
		}
		events, _ := drain(t, e)
		for _, ev := range events {
			protocols = append(protocols, ev.Flow.L4)
		}
		return protocols
	}
	if got := round(); len(got) != 6 || slices.Contains(got, flow.UDP) {
		t.Errorf("events of %v", got)
	}
	if err := e.AllProtocols(); err != nil {
		t.Fatal(err)
	}
	if got := round(); len(got) != 12 {
		t.Errorf("all: events of %v", got)
	}
}
