package dialogues

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// sockets opens both ends of a UDP control connection: socks 0 is the caller's, socks 1 the callee's.
func sockets(c *call) error {
	for _, it := range []struct {
		h    host
		port uint16
	}{{c.caller, 0}, {c.callee, c.port}} {
		s, err := it.h.udp(it.port)
		if err != nil {
			return err
		}
		c.socks, c.closers = append(c.socks, s), append(c.closers, s)
	}
	return nil
}

// ask says something to the callee and gives it as it arrives, and who seems to have said it.
func (c *call) ask(text string) (string, netip.AddrPort, error) {
	if _, err := c.socks[0].WriteToUDPAddrPort([]byte(text), c.server()); err != nil {
		return "", netip.AddrPort{}, err
	}
	return listen(c.socks[1])
}

// reply is the callee's answer to one who asked.
func (c *call) reply(to netip.AddrPort, text string) (string, error) {
	if _, err := c.socks[1].WriteToUDPAddrPort([]byte(text), to); err != nil {
		return "", err
	}
	got, _, err := listen(c.socks[0])
	return got, err
}

func listen(s *net.UDPConn) (string, netip.AddrPort, error) {
	if err := s.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", netip.AddrPort{}, err
	}
	b := make([]byte, 4096)
	n, from, err := s.ReadFromUDPAddrPort(b)
	return string(b[:n]), from, err
}

// tftp asks for a file (RFC 1350), which comes from another port.
func tftp(c *call) error {
	_, from, err := c.ask("\x00\x01file\x00octet\x00")
	c.peers = append(c.peers[:0], from)
	return err
}

// tftpData sends the file, to where the request came from.
func tftpData(c *call) error { return c.elsewhere(c.callee, c.socks[0], c.peers[0]) }

// amanda has the callee name three ports for the caller to connect to.
func amanda(c *call) error {
	_, from, err := c.ask("Amanda 2.6 REQ HANDLE 000-00000000 SEQ 0\nSERVICE sendbackup\n")
	if err != nil {
		return err
	}
	var ports [3]uint16
	for i := range ports {
		if ports[i], err = c.await(c.callee); err != nil {
			return err
		}
	}
	const form = "CONNECT DATA %d MESG %d INDEX %d\n"
	got, err := c.reply(from, fmt.Sprintf("Amanda 2.6 REP HANDLE 000-00000000 SEQ 0\n"+form+"OPTIONS ;\n", ports[0], ports[1], ports[2]))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(got, "SEQ 0\n")
	if _, err := fmt.Sscanf(rest, form, &ports[0], &ports[1], &ports[2]); err != nil {
		return fmt.Errorf("heard %q: %w", got, err)
	}
	for _, p := range ports {
		c.peers = append(c.peers, netip.AddrPortFrom(c.callee.seen, p))
	}
	return nil
}
