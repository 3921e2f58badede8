package dialogues

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"ctsync/tests/lab"
)

// dialogue is one protocol, spoken from one side.
type dialogue struct {
	name   string
	helper string // its name in the kernel, below which is the type of its object
	l4     string // of the control connection: tcp or udp
	port   uint16 // of the control connection; no two have the same
	inward bool   // the caller is on the WAN, and the callee's address is translated; else the caller's is
	plain  bool   // neither is
	ipv6   bool

	begin   func(*call) error // the control connection
	say     func(*call) error // what makes the helper expect; again and again
	open    func(*call) error // what was announced
	expects int               // how many connections are announced each time

	mute      bool // the control connection carries nothing more after a takeover
	rewritten bool // what the standby expects is not what the master does: see engine/tunnel.go
}

// call is one dialogue going on.
type call struct {
	*dialogue
	caller, callee host

	master    uint16   // the port of the control connection
	near, far net.Conn // the control connection: the caller's end and the callee's
	text      [2]*bufio.Reader
	ears      []*net.TCPListener // where what was announced is to arrive
	socks     []*net.UDPConn
	peers     []netip.AddrPort // and what the other end calls these places
	asker     netip.AddrPort   // who asked last, as the callee sees it
	id        [2]uint16        // of the call, as the caller and as the callee names it
	spoken    int              // how often it was announced
	open_     []channel        // what was opened
	closers   []io.Closer
}

// ends of a dialogue that begins on the LAN, or else on the WAN.
func ends(l *lab.Lab, d *dialogue) *call {
	lan := host{l.Client, lab.ClientAddress, lab.WANVIP}
	wan := host{l.Server, lab.ServerAddress, lab.ServerAddress}
	if d.ipv6 {
		lan = host{l.Client, lab.ClientAddress6, lab.WANVIP6}
		wan = host{l.Server, lab.ServerAddress6, lab.ServerAddress6}
	}
	if d.plain {
		lan.seen = lan.addr
	}
	c := &call{dialogue: d, caller: lan, callee: wan, master: d.port}
	if d.inward {
		c.caller, c.callee = wan, lan
	}
	return c
}

// server is where the caller calls.
func (c *call) server() netip.AddrPort { return netip.AddrPortFrom(c.callee.seen, c.port) }

// connect makes a TCP control connection.
func connect(c *call) error {
	ear, err := c.callee.listen(c.port)
	if err != nil {
		return err
	}
	c.closers = append(c.closers, ear)
	if c.near, err = c.caller.dial(c.server()); err != nil {
		return err
	}
	if c.far, err = accept(ear); err != nil {
		return err
	}
	c.closers = append(c.closers, c.near, c.far)
	c.text = [2]*bufio.Reader{bufio.NewReader(c.near), bufio.NewReader(c.far)}
	return nil
}

// line says a line at one end and gives it as it arrives at the other.
func (c *call) line(fromCaller bool, format string, args ...any) (string, error) {
	from, to, text := c.near, c.far, c.text[1]
	if !fromCaller {
		from, to, text = c.far, c.near, c.text[0]
	}
	if _, err := fmt.Fprintf(from, format+"\r\n", args...); err != nil {
		return "", err
	}
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	return text.ReadString('\n')
}

// await opens an ear for TCP at h.
func (c *call) await(h host) (uint16, error) {
	ear, err := h.listen(0)
	if err != nil {
		return 0, err
	}
	c.ears, c.closers = append(c.ears, ear), append(c.closers, ear)
	return local(ear.Addr()), nil
}

// streams opens the announced TCP connections: from dials each place, behind which is an ear.
func (c *call) streams(from host) error {
	for i, ear := range c.ears {
		a, err := from.dial(c.peers[i])
		if err != nil {
			return err
		}
		b, err := accept(ear)
		if err != nil {
			return err
		}
		c.opened(stream{a, b})
	}
	c.ears, c.peers = nil, nil
	return nil
}

func (c *call) opened(ch channel) {
	c.open_, c.closers = append(c.open_, ch), append(c.closers, ch)
}

// elsewhere opens one that begins at a new port of h, to other, which h sees as to.
func (c *call) elsewhere(h host, other *net.UDPConn, to netip.AddrPort) error {
	first, err := h.udp(0)
	if err != nil {
		return err
	}
	c.opened(datagrams{first: first, other: other, to: to})
	return nil
}

// talk has every open data connection say something each way.
func (c *call) talk() error {
	var errs []error
	for i, ch := range c.open_ {
		if err := ch.talk(); err != nil {
			errs = append(errs, fmt.Errorf("data connection %d of %d: %w", i+1, len(c.open_), err))
		}
	}
	return errors.Join(errs...)
}

func (c *call) close() {
	for _, it := range c.closers {
		_ = it.Close()
	}
}
