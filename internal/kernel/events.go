package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/rawio"
)

// EventsConfig configures OpenEvents.
type EventsConfig struct {
	// ReceiveBuffer is the size of the socket's queue in bytes, 0 the kernel's default. Each event takes 1280
	// bytes of twice this size. Without the privilege to force it, net.core.rmem_max is the limit.
	ReceiveBuffer int
	// IgnorePorts are netlink ports (Writer.PortID) whose operations cause no event here.
	IgnorePorts []uint32
	// Protocols are those of the flows whose events come, of all if there are none; AllProtocols ends that.
	Protocols []uint8
}

// EventStats count since OpenEvents.
type EventStats struct {
	Received      uint64 // decoded
	Malformed     uint64 // refused, and skipped
	Overruns      uint64 // times the kernel reported lost events
	ReceiveBuffer int    // bytes granted
	Forced        bool   // granted beyond net.core.rmem_max, or would be
}

// Events receives conntrack events. Receive has one caller at a time; the other methods are safe beside it.
type Events struct {
	file *os.File
	conn syscall.RawConn

	receiving sync.Mutex // held by Receive; guards what follows
	batch     *rawio.Batch
	extras    extras
	busy      bool

	filtering sync.Mutex // guards what the kernel drops by
	ports     []uint32
	protocols []uint8

	closed                        atomic.Bool
	received, malformed, overruns atomic.Uint64
	buffer                        int
	forced                        bool
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
// The filter on ports is in force before the first event can come.
func OpenEvents(c EventsConfig) (*Events, error) {
	fd, _, err := open()
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("kernel: open events: %w", err)
	}
	e := &Events{file: os.NewFile(uintptr(fd), "conntrack events"), batch: rawio.NewBatch(vectors, vectorSize)}
	if err := e.setup(fd, c); err != nil {
		e.file.Close()
		return nil, err
	}
	return e, nil
}

func (e *Events) setup(fd int, c EventsConfig) (err error) {
	if e.conn, err = e.file.SyscallConn(); err != nil {
		return fmt.Errorf("kernel: open events: %w", err)
	}
	if e.buffer, e.forced, err = setReceiveBuffer(fd, c.ReceiveBuffer); err != nil {
		return err
	}
	e.ports, e.protocols = c.IgnorePorts, c.Protocols
	if err := attach(fd, e.ports, e.protocols); err != nil {
		return err
	}
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
	for n < len(into) {
		want := min(vectors, len(into)-n)
		got, err := e.receive(n == 0 && !lost, want)
		switch {
		case err == unix.ENOBUFS:
			lost = true
			e.overruns.Add(1)
			continue
		case err == unix.EAGAIN:
			return n, lost, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			e.busy = false
			return 0, false, nil
		case err != nil:
			return n, lost, e.closedOr(err)
		}
		decoded, short := e.decode(got, into[n:])
		n, lost = n+decoded, lost || short
		if got < want {
			break
		}
	}
	e.busy = n > 1 && n < len(into) // else there is more already
	e.received.Add(uint64(n))
	return n, lost, nil
}

// limit sets a deadline only where there is one: it is a timer of the runtime, which wakes two threads when it fires.
func (e *Events) limit(wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return e.file.SetReadDeadline(time.Now().Add(wait))
}

func (e *Events) receive(wait bool, want int) (int, error) {
	if !wait {
		return e.batch.Try(e.conn, want)
	}
	pause := time.Duration(0)
	if e.busy {
		pause = gather
	}
	return e.batch.Receive(e.conn, want, pause)
}

// closedOr is net.ErrClosed after Close, as promised.
func (e *Events) closedOr(err error) error {
	if e.closed.Load() {
		return net.ErrClosed
	}
	return fmt.Errorf("kernel: receive events: %w", err)
}

// decode decodes the first got messages of the batch. short: one was cut off or did not fit, which is a loss.
func (e *Events) decode(got int, into []flow.Event) (n int, short bool) {
	for i := range got {
		b, whole := e.batch.Datagram(i)
		short = short || !whole
		for len(b) > 0 {
			m, rest, err := nextMessage(b)
			if err != nil {
				e.malformed.Add(1)
				break
			}
			b = rest
			if n == len(into) {
				return n, true // the kernel puts one message into a datagram
			}
			ok, err := e.event(&m, &into[n])
			if err != nil {
				e.malformed.Add(1)
			}
			if ok {
				n++
			}
		}
	}
	return n, short
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

// Ignore replaces the ports whose operations cause no event here. It acts on what the kernel queues from now
// on: call it before the first write of a new Writer.
func (e *Events) Ignore(ports []uint32) error {
	e.filtering.Lock()
	defer e.filtering.Unlock()
	e.ports = ports
	return e.refilter()
}

// AllProtocols lets events of flows of every protocol come from now on.
func (e *Events) AllProtocols() error {
	e.filtering.Lock()
	defer e.filtering.Unlock()
	e.protocols = nil
	return e.refilter()
}

func (e *Events) refilter() (err error) {
	closed := e.conn.Control(func(fd uintptr) { err = attach(int(fd), e.ports, e.protocols) })
	return errors.Join(closed, err)
}

// Stats is what was counted so far.
func (e *Events) Stats() EventStats {
	return EventStats{
		Received:      e.received.Load(),
		Malformed:     e.malformed.Load(),
		Overruns:      e.overruns.Load(),
		ReceiveBuffer: e.buffer,
		Forced:        e.forced,
	}
}

// Close ends a Receive under way and all later ones.
func (e *Events) Close() {
	e.closed.Store(true)
	_ = e.file.Close()
}
