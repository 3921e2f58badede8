package kernel

import (
	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/rawio"
)

// take takes what there is, in order: see ringReader.
func (e *Events) take(into []flow.Event) (n int, lost bool, err error) {
	r := e.ring.Load()
	switch {
	case r == nil:
		n, _, lost, err = e.takeQueued(nil, into)
		return n, lost, err
	case r.queued():
		return e.takeOverflow(r, into)
	}
	e.overflown = false
	until := r.look()
	if r.settle > 0 {
		if n, lost, err = e.takeStragglers(r, into); err != nil {
			return n, lost, err
		}
	}
	more, short := e.takeRing(r, until, into[n:])
	return n + more, lost || short, nil
}

// takeStragglers takes what is in the queue though messages go to the ring.
func (e *Events) takeStragglers(r *ringReader, into []flow.Event) (n int, lost bool, err error) {
	r.settle--
	n, _, lost, err = e.takeQueued(nil, into)
	return n, lost || n > 0 && r.queued(), err // full meanwhile: what came in which order is not known
}

// takeOverflow is for a ring that was full: first what is in it, then the queue.
func (e *Events) takeOverflow(r *ringReader, into []flow.Event) (n int, lost bool, err error) {
	if !e.overflown {
		e.counts.overflows.Add(1)
	}
	e.overflown = true
	n, lost = e.takeRing(r, noEnd, into)
	switch {
	case n == len(into):
		return n, lost, nil
	case !r.drained(): // the next record is being written
		if n == 0 {
			rawio.Nap(gather)
		}
		return n, lost, nil
	}
	more, dry, short, err := e.takeQueued(r, into[n:])
	if dry && r.drained() {
		r.reopen()
	}
	return n + more, lost || short, err
}

// takeRing takes what is in the ring before the position until.
func (e *Events) takeRing(r *ringReader, until uint64, into []flow.Event) (n int, short bool) {
	for n < len(into) && !short {
		b := r.next(until)
		if b == nil {
			break
		}
		var decoded int
		decoded, short = e.decode(b, into[n:])
		n += decoded
	}
	r.release()
	return n, short
}

// takeQueued takes what is in the socket's queue; dry: there is no more. What is in the ring older, if that is given, by the time that it is
// taken, goes before it.
func (e *Events) takeQueued(older *ringReader, into []flow.Event) (n int, dry, lost bool, err error) {
	for n < len(into) && !dry {
		want := min(vectors, len(into)-n)
		got, err := e.socket.Try(e.batch, want)
		switch {
		case err == unix.ENOBUFS:
			lost = true
			e.counts.overruns.Add(1)
			continue
		case err == unix.EAGAIN:
			return n, true, lost, nil
		case err != nil:
			return n, false, lost, err
		}
		dry = got < want
		if older != nil {
			more, short := e.takeRing(older, noEnd, into[n:len(into)-got])
			n, lost = n+more, lost || short
		}
		for i := range got {
			b, whole := e.batch.Datagram(i)
			decoded, short := e.decode(b, into[n:])
			n, lost = n+decoded, lost || short || !whole
		}
	}
	return n, dry, lost, nil
}
