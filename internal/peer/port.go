package peer

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"ctsync/internal/rawio"
)

// port follows one interface and keeps the socket of one UDP port on it open, for the links that use it. One
// goroutine at a time owns it: Open first, then Run.
type port struct {
	cfg    *Config
	name   string
	number uint16
	group  netip.Addr // the zero value in unicast
	links  []*link    // at least one, all of one family
	socket *socket    // nil: not open
	up     bool
	said   string

	read func(name string) (iface, error) // readIface
}

// The words of LinkStats.State.
const (
	stateRunning     = "running"
	stateNoInterface = "waiting for the interface"
	stateDown        = "the interface is down"
	stateNoCarrier   = "no carrier"
)

// look compares what is open with what the host has, opens and closes, and publishes the outcome. Where the
// host cannot be read, as when it changes meanwhile, everything stays as it is.
func (p *port) look() error {
	host, err := p.read(p.name)
	if err != nil {
		return fmt.Errorf("peer: interface %s: %w", p.name, err)
	}
	want, text := p.want(&host)
	if p.socket != nil && (p.socket.bound.index != want.index || p.socket.bound.listen != want.listen) {
		p.close()
	}
	up := text == stateRunning
	switch {
	case up && p.socket == nil:
		up, text = p.open(want)
	case up && !p.up && p.group.IsValid() && p.socket.rejoin(p.group) != nil:
		p.close()
		up, text = p.open(want)
	}
	p.publish(&host, up, text)
	return nil
}

// want is the socket that fits the host, and what is missing. An index or address of zero wants none.
func (p *port) want(host *iface) (binding, string) {
	if host.index == 0 {
		return binding{}, stateNoInterface
	}
	want := binding{index: host.index, listen: p.wildcard()}
	dest := p.links[0].dest.Addr()
	source, ok := host.source(dest, p.listen())
	if ok {
		want.source = source
	}
	if len(p.listen()) > 0 {
		want.listen = source
	}
	switch {
	case !host.up:
		return want, stateDown
	case !host.running:
		return want, stateNoCarrier
	case !ok:
		return want, p.missingAddress()
	}
	return want, stateRunning
}

// listen are the addresses to choose from; multicast is received on any.
func (p *port) listen() []netip.Addr {
	if p.group.IsValid() {
		return nil
	}
	return p.cfg.Listen
}

func (p *port) wildcard() netip.Addr {
	if p.links[0].dest.Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (p *port) missingAddress() string {
	family := "IPv6"
	if p.links[0].dest.Addr().Is4() {
		family = "IPv4"
	}
	if len(p.listen()) > 0 {
		return fmt.Sprintf("waiting for a listen-address of %s: the interface has none of %v", family, p.listen())
	}
	return fmt.Sprintf("waiting for an %s address", family)
}

func (p *port) open(want binding) (up bool, text string) {
	s, err := openSocket(p.name, want, p.number, p.group, p.cfg)
	if errors.Is(err, unix.EADDRINUSE) {
		return false, fmt.Sprintf("UDP port %d is taken: stop conntrackd or the other daemon, or choose another port", p.number)
	}
	if err != nil {
		return false, "cannot be opened: " + err.Error()
	}
	p.socket = s
	return true, stateRunning
}

func (p *port) close() {
	if p.socket != nil {
		p.links[0].countDrops(p.socket)
		p.socket.Close()
		p.socket = nil
	}
}

// publish tells the links, and the log where something changed.
func (p *port) publish(host *iface, up bool, text string) {
	p.up = up
	for _, l := range p.links {
		l.now.Store(p.state(l, host, up, text))
	}
	if text == p.said {
		return
	}
	p.said = text
	if up {
		text = fmt.Sprintf("%s, %s from %s port %d, MTU %d", text, p.links[0].mode(), p.socket.bound.source, p.number, host.mtu)
	}
	p.cfg.Log("sync link %s: %s", p.name, text)
}

func (p *port) state(l *link, host *iface, up bool, text string) *linkState {
	s := &linkState{up: up, mtu: host.mtu, text: text, addrs: host.addrs}
	if p.socket != nil {
		s.out, s.to = p.socket, rawio.NewDestination(l.dest, uint32(host.index))
		if l == p.links[0] {
			s.drops = p.socket
		}
	}
	if !up || !l.Peer.IsValid() {
		return s
	}
	if mtu := pathMTU(p.name, l.dest); mtu > 0 {
		s.mtu = min(mtu, host.mtu)
	}
	return s
}
