package dialogues

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"ctsync/tests/lab"
)

// patience is how long an answer may take; a neighbour's address has to be found meanwhile.
const patience = 3 * time.Second

// host is one end of a dialogue.
type host struct {
	*lab.Namespace
	addr netip.Addr // its own
	seen netip.Addr // what the other end calls it
}

func (h host) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.addr, port) }

// listen takes TCP connections; port 0 is any.
func (h host) listen(port uint16) (ear *net.TCPListener, err error) {
	err = h.Do(func() (err error) {
		ear, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(h.at(port)))
		return err
	})
	return ear, err
}

func (h host) dial(to netip.AddrPort) (conn net.Conn, err error) {
	err = h.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", to.String())
		return err
	})
	return conn, err
}

// udp is a socket that talks to anybody; port 0 is any.
func (h host) udp(port uint16) (conn *net.UDPConn, err error) {
	err = h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(h.at(port)))
		return err
	})
	return conn, err
}

// raw is a socket for the packets of a protocol, by name or number.
func (h host) raw(protocol string) (conn *net.IPConn, err error) {
	family := "ip4:"
	if h.addr.Is6() {
		family = "ip6:"
	}
	err = h.Do(func() (err error) {
		conn, err = net.ListenIP(family+protocol, &net.IPAddr{IP: h.addr.AsSlice()})
		return err
	})
	return conn, err
}

// accept takes one connection.
func accept(ear *net.TCPListener) (net.Conn, error) {
	if err := ear.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return ear.Accept()
}

// local is the port of a socket of ours.
func local(a net.Addr) uint16 {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		panic(fmt.Sprintf("dialogues: address %v: %v", a, err))
	}
	return p.Port()
}
