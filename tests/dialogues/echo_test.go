package dialogues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// hearLong is hear for any length.
func hearLong(conn *net.UDPConn, want string) (netip.AddrPort, error) {
	if err := conn.SetReadDeadline(time.Now().Add(patience / tries)); err != nil {
		return netip.AddrPort{}, err
	}
	b := make([]byte, 1<<16)
	n, from, err := conn.ReadFromUDPAddrPort(b)
	if err == nil && string(b[:n]) != want {
		err = fmt.Errorf("%d bytes instead of %d", n, len(want))
	}
	return from, err
}

// echo is ICMP echo with an id of its own, of either version; the other host's kernel answers.
type echo struct {
	conn           *net.IPConn
	to             netip.Addr
	request, reply byte // types
	id             uint16
	size           int
	seq            uint16
}

func ping(id uint16, size int) func(*flows, *kind) (channel, error) {
	return func(fs *flows, k *kind) (channel, error) {
		caller, callee := fs.ends(k)
		e := &echo{to: callee.seen, request: 8, id: id, size: size}
		protocol := "1"
		if k.ipv6 {
			protocol, e.request, e.reply = "58", 128, 129
		}
		var err error
		e.conn, err = caller.raw(protocol)
		return e, err
	}
}

func (e *echo) Close() error { return e.conn.Close() }

func (e *echo) talk() error {
	return repeat(func() error {
		e.seq++
		b := make([]byte, 8+e.size)
		b[0] = e.request
		binary.BigEndian.PutUint16(b[4:], e.id)
		binary.BigEndian.PutUint16(b[6:], e.seq)
		if e.request == 8 { // the kernel makes that of version 6
			binary.BigEndian.PutUint16(b[2:], checksum(b))
		}
		if _, err := e.conn.WriteToIP(b, &net.IPAddr{IP: e.to.AsSlice()}); err != nil {
			return err
		}
		if err := e.conn.SetReadDeadline(time.Now().Add(patience / tries)); err != nil {
			return err
		}
		for got := make([]byte, 1<<16); ; {
			n, from, err := e.conn.ReadFromIP(got)
			if err != nil {
				return err
			}
			if n == len(b) && got[0] == e.reply && string(got[4:8]) == string(b[4:8]) && from.IP.Equal(e.to.AsSlice()) {
				return nil
			}
		}
	})
}

// checksum is the Internet's (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// mass is a connection whose both ends send all the time, each byte to be known by its place.
type mass struct {
	stream
	got  [2]atomic.Int64 // bytes that arrived, at the callee and at the caller
	mu   sync.Mutex
	fate error
}

func bulk(fs *flows, k *kind) (channel, error) {
	s, err := fs.connection(k)
	if err != nil {
		return nil, err
	}
	m := &mass{stream: s}
	for i, way := range [2][2]net.Conn{{s.a, s.b}, {s.b, s.a}} {
		go m.fill(way[0])
		go m.drain(way[1], &m.got[i])
	}
	return m, nil
}

// period of the pattern is odd, so that no segment looks like another.
const period = 251

func pattern(place int64, b []byte) {
	for i := range b {
		b[i] = byte((place + int64(i)) % period)
	}
}

func (m *mass) fill(to net.Conn) {
	b := make([]byte, 16<<10)
	for place := int64(0); ; place += int64(len(b)) {
		pattern(place, b)
		if _, err := to.Write(b); err != nil {
			m.ended(err)
			return
		}
		time.Sleep(time.Millisecond) // some 100 Mbit/s: the machine has other work too
	}
}

func (m *mass) drain(from net.Conn, got *atomic.Int64) {
	b, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		pattern(got.Load(), want[:n])
		if string(b[:n]) != string(want[:n]) {
			err = errors.New("other bytes than were sent")
		}
		if err != nil {
			m.ended(err)
			return
		}
		got.Add(int64(n))
	}
}

func (m *mass) ended(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fate == nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		m.fate = err
	}
}

// enough is what has to arrive each way, with no pause of twice the time of patience: more than fits into windows and buffers
// that do not scale.
const enough = 1 << 20

func (m *mass) talk() error {
	before := [2]int64{m.got[0].Load(), m.got[1].Load()}
	var seen int64
	for end := time.Now().Add(2 * patience); ; time.Sleep(5 * time.Millisecond) {
		m.mu.Lock()
		fate := m.fate
		m.mu.Unlock()
		up, down := m.got[0].Load()-before[0], m.got[1].Load()-before[1]
		if now := min(up, enough) + min(down, enough); now > seen {
			seen, end = now, time.Now().Add(2*patience)
		}
		switch {
		case fate != nil:
			return fate
		case up >= enough && down >= enough:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%d bytes there and %d back, then none for %s", up, down, 2*patience)
		}
	}
}
