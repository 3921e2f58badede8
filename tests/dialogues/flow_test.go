package dialogues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// tcp is a connection on which both ends speak.
func tcp(fs *flows, k *kind) (channel, error) { return fs.connection(k) }

func (fs *flows) connection(k *kind) (s stream, err error) {
	caller, callee := fs.ends(k)
	ear, err := callee.listen(k.port)
	if err != nil {
		return s, err
	}
	defer ear.Close()
	if s.a, err = caller.dial(netip.AddrPortFrom(callee.seen, k.port)); err != nil {
		return s, err
	}
	s.b, err = accept(ear)
	return s, err
}

// half is a connection whose caller has nothing more to say.
type half struct {
	stream
	closed bool
}

func halfClosed(fs *flows, k *kind) (channel, error) {
	s, err := fs.connection(k)
	return &half{stream: s}, err
}

func (h *half) talk() error {
	if !h.closed {
		h.closed = true
		if err := h.a.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		if n, err := h.b.Read(make([]byte, 1)); err != io.EOF {
			return fmt.Errorf("instead of the end: %d bytes, %w", n, err)
		}
	}
	return pass(h.b, h.a, []byte("and yet"))
}

// reset is a connection that one end resets, which the other must hear.
type reset struct {
	stream
	by, heard net.Conn
}

func resetByNear(fs *flows, k *kind) (channel, error) {
	s, err := fs.connection(k)
	if k.nat == dnat {
		return reset{s, s.b, s.a}, err
	}
	return reset{s, s.a, s.b}, err
}

func resetByFar(fs *flows, k *kind) (channel, error) {
	s, err := fs.connection(k)
	return reset{s, s.b, s.a}, err
}

var errNotReset = errors.New("no reset arrived")

func (r reset) talk() error {
	if err := r.by.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	if err := r.by.Close(); err != nil {
		return err
	}
	if err := r.heard.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := r.heard.Read(make([]byte, 1)); !isReset(err) {
		return fmt.Errorf("%w: %v", errNotReset, err)
	}
	return nil
}

// udp is a request and an answer.
func udp(fs *flows, k *kind) (channel, error) { return fs.datagrams(k, 8) }

// udpFragments are requests and answers that do not fit into two packets.
func udpFragments(fs *flows, k *kind) (channel, error) { return fs.datagrams(k, 4000) }

func (fs *flows) datagrams(k *kind, size int) (channel, error) {
	caller, callee := fs.ends(k)
	first, err := caller.udp(0)
	if err != nil {
		return nil, err
	}
	other, err := callee.udp(k.port)
	return &exchange{datagrams: datagrams{first: first, other: other, to: netip.AddrPortFrom(callee.seen, k.port)}, size: size}, err
}

// exchange is datagrams of a size whose translation must stay the same.
type exchange struct {
	datagrams
	size int
	from netip.AddrPort // of the first, as the other sees it
}

func (x *exchange) talk() error {
	text := strings.Repeat("x", x.size)
	return repeat(func() error {
		if _, err := x.first.WriteToUDPAddrPort([]byte(text), x.to); err != nil {
			return err
		}
		from, err := hearLong(x.other, text)
		if err != nil {
			return fmt.Errorf("to %s: %w", x.to, err)
		}
		if x.from.IsValid() && x.from != from {
			return fmt.Errorf("it was %s and is %s", x.from, from)
		}
		x.from = from
		if _, err := x.other.WriteToUDPAddrPort([]byte(text), from); err != nil {
			return err
		}
		_, err = hearLong(x.first, text)
		return err
	})
}

// packets are those of a protocol without ports, by raw sockets. What differs from flow to flow is its number.
type packets struct {
	near, far     *net.IPConn
	toFar, toNear netip.Addr
	tag           uint32
}

func raw(l4 int) func(*flows, *kind) (channel, error) {
	return func(fs *flows, k *kind) (channel, error) {
		caller, callee := fs.ends(k)
		near, err := caller.raw(fmt.Sprint(l4))
		if err != nil {
			return nil, err
		}
		far, err := callee.raw(fmt.Sprint(l4))
		p := packets{near: near, far: far, toFar: callee.seen, toNear: caller.seen, tag: uint32(l4)<<8 | uint32(k.nat)}
		if err == nil {
			err = p.send(near, p.toFar, far, "the first") // from the LAN, where flows may begin
		}
		return p, err
	}
}

// talk begins at the WAN: nothing has told the firewall of the flow before.
func (p packets) talk() error {
	return errors.Join(p.send(p.far, p.toNear, p.near, "to the LAN"), p.send(p.near, p.toFar, p.far, "to the WAN"))
}

func (p packets) Close() error { return errors.Join(p.near.Close(), p.far.Close()) }

// send sends text and wants it to arrive. The first four bytes are zero: GRE without options, or any other's number.
func (p packets) send(from *net.IPConn, to netip.Addr, at *net.IPConn, text string) error {
	b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0}, p.tag)
	b = append(b, text...)
	return repeat(func() error {
		if _, err := from.WriteToIP(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return err
		}
		if err := at.SetReadDeadline(time.Now().Add(patience / tries)); err != nil {
			return err
		}
		for got := make([]byte, 2048); ; {
			n, _, err := at.ReadFromIP(got)
			if err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
			if string(got[:n]) == string(b) {
				return nil
			}
		}
	})
}
