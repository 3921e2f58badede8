package dialogues

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// channel is a data connection that a dialogue announced.
type channel interface {
	// talk sends something each way and wants it to arrive.
	talk() error
	io.Closer
}

// stream is a TCP connection, by its two ends.
type stream struct{ a, b net.Conn }

func (s stream) talk() error {
	return errors.Join(pass(s.a, s.b, []byte("there it goes")), pass(s.b, s.a, []byte("and back")))
}

func (s stream) Close() error { return errors.Join(s.a.Close(), s.b.Close()) }

// pass writes at one end and reads the same at the other.
func pass(from, to net.Conn, what []byte) error {
	if err := from.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := from.Write(what); err != nil {
		return err
	}
	got := make([]byte, len(what))
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.ReadFull(to, got); err != nil {
		return err
	}
	if !bytes.Equal(got, what) {
		return fmt.Errorf("%q arrived as %q", what, got)
	}
	return nil
}

// datagrams are two UDP sockets. The first to speak knows where the other is, which answers to where it heard
// from.
type datagrams struct {
	first, other *net.UDPConn
	to           netip.AddrPort // of the other, as the first sees it
}

func (d datagrams) talk() error {
	var from netip.AddrPort
	err := repeat(func() error {
		if _, err := d.first.WriteToUDPAddrPort([]byte("ping"), d.to); err != nil {
			return err
		}
		var err error
		from, err = hear(d.other, "ping")
		return err
	})
	if err != nil {
		return fmt.Errorf("to %s: %w", d.to, err)
	}
	return repeat(func() error {
		if _, err := d.other.WriteToUDPAddrPort([]byte("pong"), from); err != nil {
			return err
		}
		back, err := hear(d.first, "pong")
		if err == nil && back != d.to {
			return fmt.Errorf("the answer of %s comes from %s", d.to, back)
		}
		return err
	})
}

func (d datagrams) Close() error { return errors.Join(d.first.Close(), d.other.Close()) }

// tries of one datagram: a neighbour may still have to be found.
const tries = 4

func repeat(once func() error) (err error) {
	for range tries {
		if err = once(); err == nil {
			return nil
		}
	}
	return err
}

// hear waits for one datagram with that text.
func hear(conn *net.UDPConn, want string) (netip.AddrPort, error) {
	if err := conn.SetReadDeadline(time.Now().Add(patience / tries)); err != nil {
		return netip.AddrPort{}, err
	}
	b := make([]byte, 2048)
	n, from, err := conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return from, err
	}
	if string(b[:n]) != want {
		return from, fmt.Errorf("%q instead of %q", b[:n], want)
	}
	return from, nil
}
