package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// server is the far end of all conversations. Safe for concurrent use.
type server struct {
	listeners []net.Listener
	udp       []*net.UDPConn
	probe     *net.UDPConn

	mu      sync.Mutex
	talking map[uint32]*Conversation
	sources map[uint32]netip.AddrPort // of UDP conversations, as first seen
	open    map[net.Conn]bool
}

func startServer(l *Lab) (*server, error) {
	s := &server{
		talking: map[uint32]*Conversation{}, sources: map[uint32]netip.AddrPort{}, open: map[net.Conn]bool{},
	}
	addresses := []netip.Addr{ServerAddress}
	if l.options.IPv6 {
		addresses = append(addresses, ServerAddress6)
	}
	if err := l.Server.Do(func() error { return s.listen(addresses) }); err != nil {
		s.Close()
		return nil, fmt.Errorf("lab: server: %w", err)
	}
	for _, listener := range s.listeners {
		go s.accept(listener)
	}
	for _, conn := range s.udp {
		go s.answerUDP(conn)
	}
	return s, nil
}

func (s *server) listen(addresses []netip.Addr) (err error) {
	for _, a := range addresses {
		listener, err := net.Listen("tcp", netip.AddrPortFrom(a, portTCP).String())
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, listener)
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, portUDP)))
		if err != nil {
			return err
		}
		s.udp = append(s.udp, conn)
	}
	s.probe, err = listenSigned(netip.AddrPortFrom(ServerAddress, portProbe))
	return err
}

// listenSigned opens a socket that tells each datagram's type of service.
func listenSigned(at netip.AddrPort) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1) })
	if err = errors.Join(err, set); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Close ends the server's side of everything.
func (s *server) Close() {
	for _, listener := range s.listeners {
		listener.Close()
	}
	for _, conn := range append(s.udp, s.probe) {
		if conn != nil {
			conn.Close()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		conn.Close()
	}
}

func (s *server) register(c *Conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.talking[c.id] = c
}

func (s *server) forget(c *Conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.talking, c.id)
	delete(s.sources, c.id)
}

func (s *server) conversation(id uint32) *Conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.talking[id]
}

func (s *server) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go s.serve(conn)
	}
}

func (s *server) serve(conn net.Conn) {
	s.keep(conn, true)
	defer s.keep(conn, false)
	var hello [helloSize]byte
	if _, err := io.ReadFull(conn, hello[:]); err != nil {
		return
	}
	c := s.conversation(binary.BigEndian.Uint32(hello[:]))
	if c == nil {
		return
	}
	if c.Kind == Bulk {
		go c.pour(conn, down, "server")
		c.drain(conn, up, "server")
		return
	}
	c.echo(conn)
}

// keep remembers an open connection, or closes and forgets it.
func (s *server) keep(conn net.Conn, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.open[conn] = true
		return
	}
	conn.Close()
	delete(s.open, conn)
}

// answerUDP echoes what it knows, and notices a conversation whose source changed.
func (s *server) answerUDP(conn *net.UDPConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		id, _, ok := readMessage(b[:n])
		c := s.conversation(id)
		if !ok || c == nil {
			continue
		}
		if first := s.source(id, from); first != from {
			c.lost(Moved, fmt.Sprintf("came from %s, now from %s", first, from))
			continue
		}
		_, _ = conn.WriteToUDPAddrPort(b[:n], from)
	}
}

// source is where a conversation came from first.
func (s *server) source(id uint32, from netip.AddrPort) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, known := s.sources[id]
	if !known {
		s.sources[id] = from
		return from
	}
	return first
}
