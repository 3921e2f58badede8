package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// echoes are the words of one family's ICMP: its number and the types of an echo (RFC 792, RFC 4443). The
// kernel fills in the checksum of ICMPv6.
type echoes struct {
	network         string
	protocol        int
	request, answer icmp.Type
}

var families = map[bool]echoes{
	false: {"ip4:icmp", 1, ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply},
	true:  {"ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply},
}

// pinger is the raw sockets of all ICMP echo conversations. Safe for concurrent use.
type pinger struct {
	conns map[bool]*net.IPConn // by whether it is IPv6; fixed after the start

	mu      sync.Mutex
	talking map[uint32]*Conversation
}

func startPinger(l *Lab) (*pinger, error) {
	p := &pinger{conns: map[bool]*net.IPConn{}, talking: map[uint32]*Conversation{}}
	addresses := map[bool]netip.Addr{false: ClientAddress}
	if l.options.IPv6 {
		addresses[true] = ClientAddress6
	}
	for v6, address := range addresses {
		err := l.Client.Do(func() (err error) {
			p.conns[v6], err = net.ListenIP(families[v6].network, &net.IPAddr{IP: address.AsSlice()})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("lab: raw ICMP socket: %w", err)
		}
	}
	for v6, conn := range p.conns {
		go p.receive(conn, families[v6])
	}
	return p, nil
}

// Close ends all pings.
func (p *pinger) Close() {
	for _, conn := range p.conns {
		conn.Close()
	}
}

// pings is the client's side of one conversation.
type pings struct{ stop chan struct{} }

func (p pings) Close() error {
	close(p.stop)
	return nil
}

// add begins a conversation: an ICMP id of its own, one request per pause.
func (p *pinger) add(c *Conversation) error {
	p.mu.Lock()
	p.talking[c.id] = c
	p.mu.Unlock()
	end := pings{stop: make(chan struct{})}
	c.end = end
	go p.ask(c, end.stop)
	return nil
}

func (p *pinger) forget(c *Conversation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.talking, c.id)
}

func (p *pinger) ask(c *Conversation, stop chan struct{}) {
	for number := uint64(1); ; number++ {
		request := icmp.Message{Type: families[c.IPv6].request, Body: &icmp.Echo{
			ID: int(c.id & 0xffff), Seq: int(number & 0xffff), Data: message(c.id, number),
		}}
		b, err := request.Marshal(nil)
		if err != nil {
			c.failed("client", err)
			return
		}
		c.sending(up, number)
		if _, err := p.conns[c.IPv6].WriteTo(b, &net.IPAddr{IP: c.server().AsSlice()}); errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(udpPause()):
		}
	}
}

func (p *pinger) receive(conn *net.IPConn, e echoes) {
	b := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.answer(b[:n], e)
		}
	}
}

func (p *pinger) answer(b []byte, e echoes) {
	m, err := icmp.ParseMessage(e.protocol, b)
	if err != nil || m.Type != e.answer {
		return
	}
	echo, ok := m.Body.(*icmp.Echo)
	if !ok {
		return
	}
	id, number, ok := readMessage(echo.Data)
	p.mu.Lock()
	c := p.talking[id]
	p.mu.Unlock()
	if ok && c != nil && echo.ID == int(id&0xffff) {
		c.arrived(up, number)
	}
}
