package peer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"ctsync/internal/rawio"
)

// A reader takes up to batch datagrams per call. bufferSize is above the largest payload that any of our
// versions sends; a longer datagram is cut by the kernel, which marks it, and counted.
const (
	batch      = 32
	bufferSize = 2048
)

// reader reads one socket until it is closed. One goroutine owns it.
type reader struct {
	socket    *socket
	links     []*link
	batch     *rawio.Batch
	datagrams []Datagram
}

func newReader(p *port) *reader {
	return &reader{socket: p.socket, links: p.links, batch: rawio.NewNamedBatch(batch, bufferSize), datagrams: make([]Datagram, 0, batch)}
}

// run reads until the socket is closed.
func (r *reader) run(ctx context.Context, t *Transport, deliver func([]Datagram)) {
	for {
		n, err := r.socket.Receive(r.batch, batch)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// An error of the interface, such as ENETDOWN, which ends with it. Not to be spun on.
			r.links[0].receiveErrors.Add(1)
			if !sleep(ctx, 10*time.Millisecond) {
				return
			}
			continue
		}
		r.datagrams = r.datagrams[:0]
		for i := range n {
			r.take(i)
		}
		if len(r.datagrams) > 0 {
			t.one.Lock()
			deliver(r.datagrams)
			t.one.Unlock()
		}
	}
}

// take counts the i-th of the batch and queues it for delivery, unless it was cut.
func (r *reader) take(i int) {
	payload, whole := r.batch.Datagram(i)
	from := r.batch.From(i)
	l := r.linkOf(from.Addr())
	if !whole {
		l.receiveErrors.Add(1)
		return
	}
	l.packetsReceived.Add(1)
	l.bytesReceived.Add(uint64(len(payload)))
	r.datagrams = append(r.datagrams, Datagram{Payload: payload, Addr: from, Link: l.index})
}

// linkOf is the link whose peer sent it, or the first: a peer may send from another of its addresses.
func (r *reader) linkOf(a netip.Addr) *link {
	for _, l := range r.links {
		if l.Peer == a {
			return l
		}
	}
	return r.links[0]
}
