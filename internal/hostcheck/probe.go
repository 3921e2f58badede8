package hostcheck

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// A probe is asked for twice, as one datagram may be lost anywhere.
const (
	probeWait  = 400 * time.Millisecond
	probeTimes = 2
	smallProbe = 128 // bytes of the whole datagram
)

// probe asks an address by ICMP echo, in a small datagram and in one of mtu bytes that nobody may fragment, and tells
// which were answered. Without the right to raw sockets neither is.
func probe(to netip.Addr, mtu int) (small, whole bool) {
	p, err := newProber(to)
	if err != nil {
		return false, false
	}
	defer p.conn.Close()
	if small = p.answered(smallProbe); !small {
		return false, false
	}
	return true, p.answered(mtu)
}

type prober struct {
	conn   net.PacketConn
	to     *net.IPAddr
	header int // bytes of the IP header
	ask    icmp.Type
	answer icmp.Type
	proto  int
	seq    int
}

func newProber(to netip.Addr) (*prober, error) {
	p := &prober{to: &net.IPAddr{IP: to.WithZone("").AsSlice(), Zone: to.Zone()}, header: 20, ask: ipv4.ICMPTypeEcho, answer: ipv4.ICMPTypeEchoReply, proto: 1}
	network := "ip4:icmp"
	level, option := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if to.Is6() {
		network = "ip6:ipv6-icmp"
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
		p.header, p.ask, p.answer, p.proto = 40, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58
	}
	conn, err := net.ListenPacket(network, "")
	if err != nil {
		return nil, err
	}
	p.conn = conn
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err == nil {
		// not to be fragmented, and not to be cut to what was once learned of the path (ip(7), IP_PMTUDISC_PROBE)
		cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, unix.IP_PMTUDISC_PROBE) })
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// icmpHeader is that of an echo (RFC 792, RFC 4443, section 4).
const icmpHeader = 8

func (p *prober) answered(size int) bool {
	id := os.Getpid() & 0xffff
	for range probeTimes {
		p.seq++
		m := icmp.Message{Type: p.ask, Body: &icmp.Echo{ID: id, Seq: p.seq, Data: make([]byte, max(size-p.header-icmpHeader, 0))}}
		b, err := m.Marshal(nil)
		if err != nil {
			return false
		}
		if _, err := p.conn.WriteTo(b, p.to); err == nil && p.await(id) {
			return true
		}
	}
	return false
}

func (p *prober) await(id int) bool {
	p.conn.SetReadDeadline(time.Now().Add(probeWait))
	buf := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return false
		}
		m, err := icmp.ParseMessage(p.proto, buf[:n])
		if err != nil || m.Type != p.answer || !from.(*net.IPAddr).IP.Equal(p.to.IP) {
			continue
		}
		if e, ok := m.Body.(*icmp.Echo); ok && e.ID == id && e.Seq == p.seq {
			return true
		}
	}
}
