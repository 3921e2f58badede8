package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/rawio"
)

// EventsConfig configures OpenEvents.
type EventsConfig struct {
	// ReceiveBuffer is the size of the socket's queue in bytes, 0 the kernel's default. Each event that does not fit into the ring
	// takes 1280 bytes of twice this size. Without the privilege to force it, net.core.rmem_max is the limit.
	ReceiveBuffer int
	// Ring is what events come through, if there is one and it can be used (EventStats); it is the Events' own from then on, also after an error.
	Ring *Ring
	// IgnorePort is a netlink port (Writer.PortID) whose operations cause no event here.
	IgnorePort uint32
	// Protocols are those of the flows whose events come, of all if there are none; AllProtocols ends that.
	Protocols []uint8
}

// EventStats count since OpenEvents.
type EventStats struct {
	Received      uint64 // decoded
	Malformed     uint64 // refused, and skipped
	Overruns      uint64 // times the kernel reported lost events
	Ring          bool   // they come through one
	NoRing        error  // why the configured one is not used
	Overflows     uint64 // times the ring was full, and the socket's queue took over
	ReceiveBuffer int    // bytes granted
	Forced        bool   // granted beyond net.core.rmem_max, or would be
}

// Events receives conntrack events. Receive has one caller at a time; the other methods are safe beside it.
type Events struct {
	socket *rawio.Socket
	config EventsConfig

	receiving sync.Mutex // held by Receive; guards what follows
	batch     *rawio.Batch
	extras    extras
	busy      bool
	overflown bool
	available func(uintptr) bool // both made once: a closure for each wait would be garbage
	readable  func() bool

	closed   atomic.Bool
	changing sync.Mutex                 // held to change the ring, and what the kernel drops
	ring     atomic.Pointer[ringReader] // nil: none
	counts   struct{ received, malformed, overruns, overflows atomic.Uint64 }
	noRing   error
	buffer   int
	forced   bool
}

// Messages per call of recvmmsg, and room for each: the kernel allocates less than a page for an event
// (NLMSG_DEFAULT_SIZE).
const (
	vectors    = 64
	vectorSize = 4096
)

// gather is how long to wait for more events once they come in numbers: to wake up for each would cost
// twice the time (1.7 against 0.8 us per event, measured), and each batch has a cost of its own all the way to
// the peer. It adds to the lag, which is about a millisecond anyway. What comes meanwhile, 140 events at the
// 350,000/s that one kernel makes, is little beside any queue.
const gather = 400 * time.Microsecond

// OpenEvents subscribes to creations, changes and ends of flows in the calling thread's network namespace.
// The filters are in force before the first event can come.
func OpenEvents(c EventsConfig) (*Events, error) {
	e := &Events{batch: rawio.NewBatch(vectors, vectorSize), config: c}
	e.available, e.readable = e.isAvailable, func() bool { return e.socket.Readable() }
	if err := e.open(); err != nil {
		if c.Ring != nil {
			c.Ring.Close()
		}
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Events) open() error {
	fd, _, err := open()
	if err != nil {
		return err
	}
	if e.socket, err = rawio.OwnSocket(fd); err != nil {
		return fmt.Errorf("kernel: open events: %w", err)
	}
	if e.buffer, e.forced, err = setReceiveBuffer(fd, e.config.ReceiveBuffer); err != nil {
		return err
	}
	if err := attach(fd, e.config.IgnorePort, e.config.Protocols); err != nil {
		return err
	}
	if e.config.Ring != nil {
		e.noRing = e.UseRing(e.config.Ring)
	}
	return join(fd)
}

// UseRing has events come through r from now on, in the order in which they happen. r is the Events' own, also after an error.
func (e *Events) UseRing(r *Ring) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	reader, err := newRingReader(r, e.config.IgnorePort, e.config.Protocols)
	if err != nil {
		return err
	}
	if err := e.use(reader); err != nil {
		reader.close()
		return err
	}
	e.ring.Store(reader)
	return nil
}

func (e *Events) use(r *ringReader) (err error) {
	if e.closed.Load() {
		return net.ErrClosed
	}
	if e.ring.Load() != nil {
		return errors.New("kernel: events come through a ring already")
	}
	if err := e.socket.Watch(int(r.ring.records.Fd())); err != nil {
		return err
	}
	closed := e.socket.Control(func(fd int) { err = r.attach(fd) })
	return cmp.Or(closed, err)
}

func join(fd int) error {
	for _, group := range []int{
		unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE, unix.NFNLGRP_CONNTRACK_DESTROY,
		unix.NFNLGRP_CONNTRACK_EXP_NEW, unix.NFNLGRP_CONNTRACK_EXP_DESTROY,
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return fmt.Errorf("kernel: join conntrack events (needs CAP_NET_ADMIN): %w", err)
		}
	}
	return nil
}

// Receive waits up to wait for events, with 0 until there is one, and decodes as many as there are and fit into the slice, in the
// kernel's order. lost says that the kernel dropped events before these because the socket's queue was full.
// Extra of a Flow is valid until the next Receive. No event within wait is n = 0 without an error; after
// Close the error is net.ErrClosed. A message that cannot be decoded is counted and skipped.
func (e *Events) Receive(into []flow.Event, wait time.Duration) (n int, lost bool, err error) {
	e.receiving.Lock()
	defer e.receiving.Unlock()
	e.extras.reset()
	if err := e.limit(wait); err != nil {
		return 0, false, e.closedOr(err)
	}
	for n == 0 && !lost {
		if err := e.await(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return 0, false, nil
			}
			return 0, false, e.closedOr(err)
		}
		if n, lost, err = e.take(into); err != nil {
			return n, lost, e.closedOr(err)
		}
	}
	e.busy = n > 1 && n < len(into) // else there is more already
	e.counts.received.Add(uint64(n))
	return n, lost, nil
}

// limit sets a deadline only where there is one: it is a timer of the runtime, which wakes two threads when it fires.
func (e *Events) limit(wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return e.socket.SetDeadline(time.Now().Add(wait))
}

// await waits until there is something, and for more while events come in numbers.
func (e *Events) await() error {
	if e.closed.Load() {
		return net.ErrClosed // the ring is gone
	}
	err := e.socket.Wait(e.available)
	switch {
	case err != nil:
		e.busy = false
	case e.busy:
		rawio.Nap(gather)
	}
	return err
}

func (e *Events) isAvailable(uintptr) bool {
	if r := e.ring.Load(); r != nil {
		return r.available(e.readable)
	}
	return e.readable()
}

// closedOr is net.ErrClosed after Close, as promised.
func (e *Events) closedOr(err error) error {
	if e.closed.Load() {
		return net.ErrClosed
	}
	return fmt.Errorf("kernel: receive events: %w", err)
}

// decode decodes the messages of one datagram. short: one did not fit, which is a loss.
func (e *Events) decode(b []byte, into []flow.Event) (n int, short bool) {
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil {
			e.counts.malformed.Add(1)
			break
		}
		b = rest
		if n == len(into) {
			return n, true // the kernel puts one message into a datagram
		}
		ok, err := e.event(&m, &into[n])
		if err != nil {
			e.counts.malformed.Add(1)
		}
		if ok {
			n++
		}
	}
	return n, false
}

// event decodes one message; ok is false for what is not an event.
func (e *Events) event(m *message, ev *flow.Event) (ok bool, err error) {
	switch {
	case m.typ == msgDelete, m.typ == msgExpDelete:
		ev.Kind = flow.EventDestroy
	case (m.typ == msgNew || m.typ == msgExpNew) && m.flags&unix.NLM_F_CREATE != 0:
		ev.Kind = flow.EventNew
	case m.typ == msgNew:
		ev.Kind = flow.EventUpdate
	default:
		return false, nil
	}
	family, attrs, err := m.conntrack()
	if err != nil {
		return false, err
	}
	ev.Has, err = e.extras.decode(m.typ, attrs, family, &ev.Flow)
	if m.port != 0 && ev.Kind != flow.EventDestroy {
		ev.Has |= flow.HasRare
	}
	return err == nil, err
}

// AllProtocols lets events of flows of every protocol come from now on.
func (e *Events) AllProtocols() (err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.config.Protocols = nil
	if e.closed.Load() {
		return net.ErrClosed
	}
	if r := e.ring.Load(); r != nil {
		r.allProtocols()
		return nil
	}
	closed := e.socket.Control(func(fd int) { err = attach(fd, e.config.IgnorePort, nil) })
	return cmp.Or(closed, err)
}

// Stats is what was counted so far.
func (e *Events) Stats() EventStats {
	return EventStats{
		Received:      e.counts.received.Load(),
		Malformed:     e.counts.malformed.Load(),
		Overruns:      e.counts.overruns.Load(),
		Ring:          e.ring.Load() != nil,
		NoRing:        e.noRing,
		Overflows:     e.counts.overflows.Load(),
		ReceiveBuffer: e.buffer,
		Forced:        e.forced,
	}
}

// Close ends a Receive under way and all later ones.
func (e *Events) Close() {
	if e.closed.Swap(true) {
		return
	}
	if e.socket != nil {
		e.socket.Close()
	}
	e.receiving.Lock() // nobody looks at the ring
	defer e.receiving.Unlock()
	e.changing.Lock()
	defer e.changing.Unlock()
	if r := e.ring.Load(); r != nil {
		r.close()
	}
}
