package peer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
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
	messages  [batch]ipv4.Message
	datagrams []Datagram
}

func newReader(p *port) *reader {
	r := &reader{socket: p.socket, links: p.links, datagrams: make([]Datagram, 0, batch)}
	for i := range r.messages {
		r.messages[i].Buffers = [][]byte{make([]byte, bufferSize)}
	}
	return r
}

// run reads until the socket is closed.
func (r *reader) run(ctx context.Context, t *Transport, deliver func([]Datagram)) {
	for {
		n, err := r.socket.readBatch(r.messages[:])
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
		for i := range r.messages[:n] {
			r.take(&r.messages[i])
		}
		if len(r.datagrams) > 0 {
			t.one.Lock()
			deliver(r.datagrams)
			t.one.Unlock()
		}
	}
}

// take counts one message and queues it for delivery, unless it was cut.
func (r *reader) take(m *ipv4.Message) {
	from := sender(m.Addr)
	l := r.linkOf(from.Addr())
	if m.Flags&unix.MSG_TRUNC != 0 {
		l.receiveErrors.Add(1)
		return
	}
	l.packetsReceived.Add(1)
	l.bytesReceived.Add(uint64(m.N))
	r.datagrams = append(r.datagrams, Datagram{Payload: m.Buffers[0][:m.N], Addr: from, Link: l.index})
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

func sender(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	addr, _ := netip.AddrFromSlice(udp.IP)
	return netip.AddrPortFrom(addr.Unmap(), uint16(udp.Port))
}
