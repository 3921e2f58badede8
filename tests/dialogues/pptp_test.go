package dialogues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// PPTP's control messages (RFC 2637, section 2): types and lengths.
const (
	pptpMagic        = 0x1a2b3c4d
	pptpStartRequest = 1
	pptpStartReply   = 2
	pptpCallRequest  = 7
	pptpCallReply    = 8
	pptpEchoRequest  = 5

	pptpStartLength       = 156
	pptpCallRequestLength = 168
	pptpCallReplyLength   = 32
	pptpEchoLength        = 16
)

func pptpMessage(typ uint16, length int) []byte {
	b := make([]byte, length)
	binary.BigEndian.PutUint16(b, uint16(length))
	binary.BigEndian.PutUint16(b[2:], 1) // control message
	binary.BigEndian.PutUint32(b[4:], pptpMagic)
	binary.BigEndian.PutUint16(b[8:], typ)
	return b
}

// carry sends a message from one end to the other and gives it as it arrives.
func carry(from, to net.Conn, b []byte) ([]byte, error) {
	if _, err := from.Write(b); err != nil {
		return nil, err
	}
	got := make([]byte, len(b))
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(to, got)
	return got, err
}

// pptpBegin is a control connection with both ends' greetings.
func pptpBegin(c *call) error {
	if err := connect(c); err != nil {
		return err
	}
	if _, err := carry(c.near, c.far, pptpMessage(pptpStartRequest, pptpStartLength)); err != nil {
		return err
	}
	b := pptpMessage(pptpStartReply, pptpStartLength)
	b[14] = 1 // result: successful
	_, err := carry(c.far, c.near, b)
	return err
}

// pptpCall asks for one call. A control connection has one, as far as the helper knows: the second time only says
// something.
func pptpCall(c *call) error {
	if c.spoken > 1 {
		_, err := carry(c.near, c.far, pptpMessage(pptpEchoRequest, pptpEchoLength))
		return err
	}
	b := pptpMessage(pptpCallRequest, pptpCallRequestLength)
	binary.BigEndian.PutUint16(b[12:], 100+c.port%100)
	got, err := carry(c.near, c.far, b)
	if err != nil {
		return err
	}
	b = pptpMessage(pptpCallReply, pptpCallReplyLength)
	binary.BigEndian.PutUint16(b[12:], 200+c.port%100)
	copy(b[14:16], got[12:14]) // the caller's, as the callee knows it
	b[16] = 1                  // result: connected
	if got, err = carry(c.far, c.near, b); err != nil {
		return err
	}
	if own := binary.BigEndian.Uint16(got[14:]); own != 100+c.port%100 {
		return fmt.Errorf("the caller's id %d came back as %d", 100+c.port%100, own)
	}
	c.id = [2]uint16{binary.BigEndian.Uint16(b[14:]), binary.BigEndian.Uint16(got[12:])}
	return nil
}

// tunnel is a call's data: GRE whose key is the call id of who receives it (RFC 2637, section 4.1).
type tunnel struct {
	near, far       *net.IPConn
	toFar, toNear   netip.Addr
	farKey, nearKey uint16 // as the other end names them
	own             [2]uint16
}

// pptpTunnel opens the call's data, if this is its first announcement.
func pptpTunnel(c *call) error {
	if len(c.open_) > 0 {
		return nil
	}
	near, err := c.caller.raw("gre")
	if err != nil {
		return err
	}
	far, err := c.callee.raw("gre")
	if err != nil {
		return errors.Join(err, near.Close())
	}
	c.opened(tunnel{near: near, far: far, toFar: c.callee.seen, toNear: c.caller.seen,
		nearKey: c.id[0], farKey: c.id[1], own: [2]uint16{100 + c.port%100, 200 + c.port%100}})
	return nil
}

func (t tunnel) talk() error {
	return errors.Join(
		greTo(t.near, t.toFar, t.farKey, t.far, t.own[1], "there"),
		greTo(t.far, t.toNear, t.nearKey, t.near, t.own[0], "and back"))
}

func (t tunnel) Close() error { return errors.Join(t.near.Close(), t.far.Close()) }

// greTo sends text with a key and wants it at the other end with the key that the end knows itself by.
func greTo(from *net.IPConn, to netip.Addr, key uint16, at *net.IPConn, want uint16, text string) error {
	b := binary.BigEndian.AppendUint16(nil, 0x3001) // key and sequence number are there, version 1
	b = binary.BigEndian.AppendUint16(b, 0x880b)    // PPP
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	b = binary.BigEndian.AppendUint16(b, key)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = append(b, text...)
	return repeat(func() error {
		if _, err := from.WriteToIP(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return err
		}
		return greAt(at, want, text)
	})
}

// greAt waits for that text with that key; others' tunnels are heard too.
func greAt(at *net.IPConn, want uint16, text string) error {
	if err := at.SetReadDeadline(time.Now().Add(patience / tries)); err != nil {
		return err
	}
	var others []uint16
	for b := make([]byte, 2048); ; {
		n, _, err := at.ReadFromIP(b)
		if err != nil {
			return fmt.Errorf("GRE with key %d: %w; heard keys %v", want, err, others)
		}
		if n < 12 || string(b[12:n]) != text {
			continue
		}
		if key := binary.BigEndian.Uint16(b[6:]); key != want {
			others = append(others, key)
			continue
		}
		return nil
	}
}
