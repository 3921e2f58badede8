package lab

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// pinger is the raw socket of all ICMP echo conversations. Safe for concurrent use.
type pinger struct {
	conn *net.IPConn

	mu      sync.Mutex
	talking map[uint32]*Conversation
}

func startPinger(client *Namespace) (*pinger, error) {
	p := &pinger{talking: map[uint32]*Conversation{}}
	err := client.Do(func() (err error) {
		p.conn, err = net.ListenIP("ip4:icmp", &net.IPAddr{IP: ClientAddress.AsSlice()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lab: raw ICMP socket: %w", err)
	}
	go p.receive()
	return p, nil
}

// Close ends all pings.
func (p *pinger) Close() { p.conn.Close() }

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
		request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{
			ID: int(c.id & 0xffff), Seq: int(number & 0xffff), Data: message(c.id, number),
		}}
		b, err := request.Marshal(nil)
		if err != nil {
			c.failed("client", err)
			return
		}
		c.sending(up, number)
		if _, err := p.conn.WriteTo(b, &net.IPAddr{IP: ServerAddress.AsSlice()}); errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(udpPause()):
		}
	}
}

func (p *pinger) receive() {
	b := make([]byte, 2048)
	for {
		n, _, err := p.conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.answer(b[:n])
		}
	}
}

func (p *pinger) answer(b []byte) {
	const protocolICMP = 1
	m, err := icmp.ParseMessage(protocolICMP, b)
	if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
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
