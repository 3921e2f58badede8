package dialogues

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// H.323's messages are packed (ITU-T X.691): what is not an address here is bits of choices, options and lengths,
// as few as the helper's decoder accepts.

// protocolID is H.225's object identifier, version 4, with its length.
var protocolID = []byte{6, 0, 8, 0x91, 0x4a, 0, 4}

// tpkt frames a message (RFC 1006).
func tpkt(b []byte) []byte {
	return append([]byte{3, 0, byte((len(b) + 4) >> 8), byte(len(b) + 4)}, b...)
}

// Q.931 message types, and H.225's choice of the same message with its options: only h245Address is there.
var (
	q931Setup   = [3]byte{5, 0x00, 0x40}
	q931Connect = [3]byte{7, 0x02, 0x40}
)

// q931 is a message that says where H.245 is to be connected to. at is the place of the address in it.
func q931(kind [3]byte, place netip.AddrPort) (b []byte, at int) {
	body := append([]byte{5, kind[1], kind[2]}, protocolID...) // 5: X.680 and X.691
	body = append(body, 0)                                     // an IPv4 address follows
	at = len(body)
	body = appendPlace(body, place)
	body = append(body, 0, 0)                // an endpoint without anything
	body = append(body, make([]byte, 16)...) // conference
	if kind == q931Setup {
		body = append(body, 0) // create, point to point
	}
	head := []byte{8, 2, 0, 1, kind[0], 0x7e, byte(len(body) >> 8), byte(len(body))}
	return tpkt(append(head, body...)), 4 + len(head) + at
}

// openChannel is H.245's OpenLogicalChannel, with the place of the RTP stream.
func openChannel(place netip.AddrPort) (b []byte, at int) {
	b = []byte{3, 0, 0, 1, 6, 0, 10, 0x10, 0, 1, 0} // request, channel 2, no data, h2250 of 10 bytes: session 1
	return tpkt(appendPlace(b, place)), 4 + len(b)
}

func appendPlace(b []byte, p netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(append(b, p.Addr().AsSlice()...), p.Port())
}

// placed carries a message and gives the place that it names as it arrives.
func placed(from, to net.Conn, b []byte, at int) (netip.AddrPort, error) {
	got, err := carry(from, to, b)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return placeIn(got, at), nil
}

// placeIn is the address in a message.
func placeIn(b []byte, at int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[at:at+4])), binary.BigEndian.Uint16(b[at+4:]))
}

// h323Begin is a control connection on which both ends have said something: a helper reads nothing before.
func h323Begin(c *call) error {
	if err := connect(c); err != nil {
		return err
	}
	_, err := carry(c.far, c.near, tpkt([]byte{8, 2, 0, 1, 2})) // call proceeding, without more
	return err
}

// h323Setup: the caller says where it wants H.245, in its SETUP.
func h323Setup(c *call) error { return c.h245(c.caller, q931Setup) }

// h323Connect: the callee does, in its CONNECT.
func h323Connect(c *call) error { return c.h245(c.callee, q931Connect) }

func (c *call) h245(at host, kind [3]byte) error {
	port, err := c.await(at)
	if err != nil {
		return err
	}
	from, to := c.near, c.far
	if at == c.callee {
		from, to = to, from
	}
	b, off := q931(kind, at.at(port))
	place, err := placed(from, to, b, off)
	c.peers = append(c.peers, place)
	return err
}

// h245Begin opens H.245 where SETUP announced it: that is the control connection from then on.
func h245Begin(c *call) error {
	if err := h323Begin(c); err != nil {
		return err
	}
	if err := h323Setup(c); err != nil {
		return err
	}
	c.master = c.peers[0].Port()
	if err := c.streams(c.callee); err != nil {
		return err
	}
	h245 := c.open_[0].(stream)
	c.open_, c.near, c.far = nil, h245.b, h245.a
	return h245.talk()
}

// h245Channel: the caller says where it wants to hear the callee.
func h245Channel(c *call) error {
	mine, err := c.rtp(c.caller)
	if err != nil {
		return err
	}
	b, at := openChannel(mine)
	place, err := placed(c.near, c.far, b, at)
	if err != nil {
		return err
	}
	if place.Addr() != c.caller.seen {
		return fmt.Errorf("the callee is told %s", place)
	}
	c.peers = []netip.AddrPort{place}
	return nil
}

// h245Media opens RTP and RTCP, which begin at the callee.
func h245Media(c *call) error {
	if len(c.open_) > 0 {
		return nil
	}
	for i, ear := range c.socks {
		if err := c.elsewhere(c.callee, ear, netip.AddrPortFrom(c.peers[0].Addr(), c.peers[0].Port()+uint16(i))); err != nil {
			return err
		}
	}
	return nil
}
