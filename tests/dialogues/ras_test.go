package dialogues

import (
	"fmt"
	"net/netip"
	"slices"
)

// RAS is what H.323's endpoints say to their gatekeeper: H.225's second half, packed without a frame of its own. The
// first byte has the choice of the message, before the bits that say which options it has.
const (
	rasGatekeeperRequest   = 0 << 2
	rasGatekeeperConfirm   = 1 << 2
	rasRegistrationRequest = 3 << 2
	rasRegistrationConfirm = 4<<2 | 2 // with extensions: the time to live
	rasAdmissionRequest    = 9 << 2
	rasAdmissionConfirm    = 10 << 2
)

// ras begins a message: no options, its number, and with version the protocol's.
func ras(kind byte, version bool) []byte {
	b := []byte{kind, 0, 0, 1}
	if version {
		b = append(b, protocolID...)
	}
	return b
}

// rasPlace appends an IPv4 address with its choice; at is where it is.
func rasPlace(b []byte, p netip.AddrPort) (out []byte, at int) {
	b = append(b, 0)
	return appendPlace(b, p), len(b)
}

// rasSays carries a message from the caller, or else from the callee, and gives what arrives.
func (c *call) rasSays(fromCaller bool, b []byte) ([]byte, error) {
	if fromCaller {
		got, from, err := c.ask(string(b))
		c.asker = from
		return []byte(got), err
	}
	got, err := c.reply(c.asker, string(b))
	return []byte(got), err
}

// rasNames is rasSays of a message with a place at one spot, which is translated on the way.
func (c *call) rasNames(fromCaller bool, b []byte, at int) (netip.AddrPort, error) {
	got, err := c.rasSays(fromCaller, b)
	if err == nil && len(got) != len(b) {
		err = fmt.Errorf("%d bytes arrived as %d", len(b), len(got))
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	return placeIn(got, at), nil
}

// rasDiscovery asks for a gatekeeper, who wants to hear everything else at another port.
func rasDiscovery(c *call) error {
	b, _ := rasPlace(ras(rasGatekeeperRequest, true), c.caller.at(local(c.socks[0].LocalAddr())))
	if _, err := c.rasSays(true, append(b, 0, 0)); err != nil { // an endpoint without anything
		return err
	}
	ear, err := c.callee.udp(0)
	if err != nil {
		return err
	}
	c.socks, c.closers = append(c.socks[:2], ear), append(c.closers, ear)
	b, at := rasPlace(ras(rasGatekeeperConfirm, true), c.callee.at(local(ear.LocalAddr())))
	place, err := c.rasNames(false, b, at)
	c.peers = []netip.AddrPort{place}
	return err
}

// rasElsewhere speaks to the gatekeeper at the port that it named.
func rasElsewhere(c *call) error { return c.elsewhere(c.caller, c.socks[2], c.peers[0]) }

// registeredFor is how long a registration holds, in seconds: longer than the helper's expectations do.
const registeredFor = 900

// rasRegister says where the caller takes calls; the gatekeeper agrees for some time.
func rasRegister(c *call) error {
	port, err := c.await(c.caller)
	if err != nil {
		return err
	}
	b, at := rasPlace(append(ras(rasRegistrationRequest, true), 0, 1), c.caller.at(port)) // one address for calls
	b, _ = rasPlace(append(b, 1), c.caller.at(local(c.socks[0].LocalAddr())))             // and one for RAS
	place, err := c.rasNames(true, append(b, 0, 0, 0, 0, 0, 0), at)                       // an endpoint without anything, of nobody
	if err != nil {
		return err
	}
	if place.Addr() != c.caller.seen {
		return fmt.Errorf("the gatekeeper is told %s", place)
	}
	c.peers = []netip.AddrPort{place}
	const ttl = registeredFor - 1
	confirm := append(ras(rasRegistrationConfirm, true), 0, 0, 0, 'e') // no addresses, an endpoint's name of one character
	// Of six extensions the second, 3 bytes with a number of two, and the sixth, a flag.
	confirm = append(confirm, 5<<1, 1<<7|1<<3, 3, 1<<6, ttl>>8, ttl&0xff, 1, 0)
	_, err = c.rasSays(false, confirm)
	return err
}

// rasAdmission asks for a call, and is told where to make it.
func rasAdmission(c *call) error {
	request := append(ras(rasAdmissionRequest, false), 0, 0, 0, 'e', 0) // point to point, from endpoint e, without a name
	request = append(request, 0, 1, 0, 1)                               // bandwidth, call 1
	if _, err := c.rasSays(true, slices.Concat(request, make([]byte, 17))); err != nil {
		return err
	}
	port, err := c.await(c.callee)
	if err != nil {
		return err
	}
	b, at := rasPlace(append(ras(rasAdmissionConfirm, false), 0, 1), c.callee.at(port)) // bandwidth, direct
	place, err := c.rasNames(false, b, at)
	c.peers = append(c.peers, place)
	return err
}
