package lab

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const probePause = 5 * time.Millisecond

// Gap is the longest pause in the forwarding of probes, which the client sends every 5 ms.
type Gap struct {
	Last      time.Time     // when the last probe before the pause reached the server
	Forwarded time.Time     // when the first one after it did
	Length    time.Duration // between the two; a pause that has not ended counts until now
	Answered  time.Time     // when the client had the first answer to a probe that was sent within the pause or later
}

// probe is a stream of UDP datagrams through one translation. Safe for concurrent use.
type probe struct {
	client *Namespace
	server *net.UDPConn

	mu      sync.Mutex
	conn    *net.UDPConn
	id      uint32         // of the present stream; older ones are ignored
	source  netip.AddrPort // of the present stream at the server; a probe from elsewhere was translated anew
	last    time.Time      // arrival at the server
	longest Gap
}

func startProbe(l *Lab, s *server) (*probe, error) {
	p := &probe{client: l.Client, server: s.probe}
	go p.serve()
	if err := p.restart(); err != nil {
		return nil, err
	}
	return p, nil
}

// restart begins a new stream, with a new translation.
func (p *probe) restart() error {
	conn, err := openUDP(p.client, portProbe)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn = conn
	p.id++
	p.source = netip.AddrPort{}
	go p.send(conn, p.id)
	go p.receive(conn, p.id)
	return nil
}

// known says whether a probe of the present stream has reached the server.
func (p *probe) known() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.source.IsValid()
}

// Close ends the stream.
func (p *probe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.Close()
}

// forget starts a new measurement.
func (p *probe) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.longest = time.Now(), Gap{}
}

func (p *probe) gap() Gap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Since(p.last); now > p.longest.Length {
		return Gap{Last: p.last, Length: now}
	}
	return p.longest
}

func (p *probe) send(conn *net.UDPConn, id uint32) {
	ticker := time.NewTicker(probePause)
	defer ticker.Stop()
	for number := uint64(1); ; number++ {
		if _, err := conn.Write(message(id, number)); errors.Is(err, net.ErrClosed) {
			return
		}
		<-ticker.C
	}
}

// serve notes each probe's arrival at the server, and answers it.
func (p *probe) serve() {
	b := make([]byte, 2048)
	for {
		n, from, err := p.server.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if id, _, ok := readMessage(b[:n]); ok && p.forwarded(id, from) {
			_, _ = p.server.WriteToUDPAddrPort(b[:n], from)
		}
	}
}

// forwarded notes an arrival; false for one that is not of the present stream and translation.
func (p *probe) forwarded(id uint32, from netip.AddrPort) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if id != p.id {
		return false
	}
	if !p.source.IsValid() {
		p.source, p.last = from, now
	}
	if p.source != from {
		return false
	}
	if length := now.Sub(p.last); length > p.longest.Length {
		p.longest = Gap{Last: p.last, Forwarded: now, Length: length}
	}
	p.last = now
	return true
}

// receive notes the first answer after the longest pause.
func (p *probe) receive(conn *net.UDPConn, id uint32) {
	b := make([]byte, 2048)
	for {
		n, err := conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if got, _, ok := readMessage(b[:max(n, 0)]); err == nil && ok && got == id {
			p.answered()
		}
	}
}

func (p *probe) answered() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := &p.longest; !g.Forwarded.IsZero() && g.Answered.IsZero() {
		g.Answered = now
	}
}
