package dialogues

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// sipMessage is one with the headers that the helper reads (RFC 3261), and a body.
func sipMessage(first, contact string, via netip.AddrPort, cseq int, method, more, body string) string {
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	return first + "\r\n" +
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\n", via, cseq) +
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: 1@example.com\r\n" +
		fmt.Sprintf("CSeq: %d %s\r\nContact: <sip:alice@%s>\r\n", cseq, method, contact) +
		more + kind + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
}

// sdp offers one audio stream (RFC 4566).
func sdp(at netip.AddrPort) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=call\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 0\r\n", at.Addr(), at.Port())
}

// field is what follows a text in a message, up to the end of its line or one of the stops.
func field(message, after, stops string) string {
	_, rest, _ := strings.Cut(message, after)
	if i := strings.IndexAny(rest, "\r\n"+stops); i >= 0 {
		return rest[:i]
	}
	return rest
}

// media is where an SDP body says that the stream goes.
func media(message string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(field(message, "c=IN IP4 ", ""))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("heard %q: %w", message, err)
	}
	port, err := strconv.ParseUint(field(message, "m=audio ", " "), 10, 16)
	return netip.AddrPortFrom(addr, uint16(port)), err
}

// rtp opens two neighbouring UDP ports at h, the first of them even: RTP's and RTCP's.
func (c *call) rtp(h host) (ports netip.AddrPort, err error) {
	for port := uint16(30000 + 100*(int(c.port)%100) + 10*c.spoken); port < 65000; port += 1000 {
		a, errA := h.udp(port)
		b, errB := h.udp(port + 1)
		if errA == nil && errB == nil {
			c.socks = append(c.socks, a, b)
			return h.at(port), nil
		}
		err = fmt.Errorf("port %d: %v, %v", port, errA, errB)
	}
	return ports, err
}

// sipInvite is a call: both ends say where they want to hear the other.
func sipInvite(c *call) error {
	c.socks = c.socks[:2]
	mine, err := c.rtp(c.caller)
	if err != nil {
		return err
	}
	theirs, err := c.rtp(c.callee)
	if err != nil {
		return err
	}
	self := c.caller.at(local(c.socks[0].LocalAddr()))
	got, from, err := c.ask(sipMessage("INVITE sip:bob@example.com SIP/2.0", self.String(), self, c.spoken, "INVITE", "", sdp(mine)))
	if err != nil {
		return err
	}
	place, err := media(got)
	if err != nil {
		return err
	}
	via, err := netip.ParseAddrPort(field(got, "Via: SIP/2.0/UDP ", ";"))
	if err != nil {
		return fmt.Errorf("heard %q: %w", got, err)
	}
	answer := sipMessage("SIP/2.0 200 OK", c.callee.at(c.port).String(), via, c.spoken, "INVITE", "", sdp(theirs))
	if got, err = c.reply(from, answer); err != nil {
		return err
	}
	back, err := media(got)
	c.peers = []netip.AddrPort{place, back}
	return err
}

// sipMedia opens what was announced: RTP begins at the callee, RTCP at the caller.
func sipMedia(c *call) error {
	mine, theirs := c.socks[2:4], c.socks[4:6]
	next := func(p netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), p.Port()+1) }
	c.opened(datagrams{first: theirs[0], other: mine[0], to: c.peers[0]})
	c.opened(datagrams{first: mine[1], other: theirs[1], to: next(c.peers[1])})
	return nil
}

// sipRegister tells a registrar where the caller may be called, for an hour.
func sipRegister(c *call) error {
	self := c.caller.at(local(c.socks[0].LocalAddr()))
	got, from, err := c.ask(sipMessage("REGISTER sip:example.com SIP/2.0", self.String(), self, c.spoken, "REGISTER", "Expires: 3600\r\n", ""))
	if err != nil {
		return err
	}
	contact, err := netip.ParseAddrPort(field(got, "Contact: <sip:alice@", ">;"))
	if err != nil {
		return fmt.Errorf("heard %q: %w", got, err)
	}
	c.peers = []netip.AddrPort{contact}
	_, err = c.reply(from, sipMessage("SIP/2.0 200 OK", contact.String(), from, c.spoken, "REGISTER", "Expires: 3600\r\n", ""))
	return err
}

// sipIncoming calls the caller back, from another port than the registrar's.
func sipIncoming(c *call) error { return c.elsewhere(c.callee, c.socks[0], c.peers[0]) }
