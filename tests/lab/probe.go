package lab

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const probePause = 5 * time.Millisecond

// Gap is the longest pause in the forwarding of probes, which the client sends every 5 ms.
type Gap struct {
	Last   time.Time     // when the last probe before the pause reached the server
	Length time.Duration // from there to the next; a pause that has not ended counts until now
}

// first is what was first seen of the probes that one router forwarded.
type first struct {
	forwarded time.Time // reached the server
	answered  time.Time // its answer reached the client
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
	firsts  [3]first // since forget, by the number of the router
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
	conn, err := openUDP(p.client, netip.AddrPortFrom(ServerAddress, portProbe))
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
	p.last, p.longest, p.firsts = time.Now(), Gap{}, [3]first{}
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

// firstOf is what was first seen of the probes that a router forwarded.
func (p *probe) firstOf(r *Router) first {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.firsts[r.number()]
}

// serve notes each probe's arrival at the server, and answers it with the number of the router that it came
// through behind its pattern.
func (p *probe) serve() {
	b, control := make([]byte, 2048), make([]byte, 64)
	for {
		n, c, _, from, err := p.server.ReadMsgUDPAddrPort(b, control)
		if err != nil {
			return
		}
		router := signature(control[:c])
		if id, _, ok := readMessage(b[:n]); ok && p.forwarded(id, router, from) {
			_, _ = p.server.WriteToUDPAddrPort(append(b[:n], router), from)
		}
	}
}

// signature is the number of the router that forwarded a datagram: its rules write it into the DSCP, the
// upper six bits of the type of service (RFC 2474). 0 for none of ours.
func signature(control []byte) byte {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS && len(m.Data) > 0 && m.Data[0]>>2 <= 2 {
			return m.Data[0] >> 2
		}
	}
	return 0
}

// forwarded notes an arrival; false for one that is not of the present stream and translation.
func (p *probe) forwarded(id uint32, router byte, from netip.AddrPort) bool {
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
		p.longest = Gap{Last: p.last, Length: length}
	}
	p.last = now
	if f := &p.firsts[router]; f.forwarded.IsZero() {
		f.forwarded = now
	}
	return true
}

// receive notes the first answer to what each router forwarded.
func (p *probe) receive(conn *net.UDPConn, id uint32) {
	b := make([]byte, 2048)
	for {
		n, err := conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != messageSize+1 || b[messageSize] > 2 {
			continue
		}
		if got, _, ok := readMessage(b[:messageSize]); ok && got == id {
			p.answered(b[messageSize])
		}
	}
}

func (p *probe) answered(router byte) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := &p.firsts[router]; f.answered.IsZero() {
		f.answered = now
	}
}
