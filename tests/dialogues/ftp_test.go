package dialogues

import (
	"fmt"
	"net/netip"
	"strings"
)

// greet has both ends say a line, as FTP's do before anything else: the helper reads only lines whose beginning it
// has seen.
func greet(c *call) error {
	if err := connect(c); err != nil {
		return err
	}
	if _, err := c.line(false, "220 ready"); err != nil {
		return err
	}
	_, err := c.line(true, "USER anonymous")
	return err
}

// resume has both ends say a line after a takeover. The helper takes the first line that it sees for one whose
// beginning it knows, and would not know it again if that were lost and sent once more.
func resume(c *call) error {
	if c.spoken == 1 {
		return nil
	}
	if _, err := c.line(true, "NOOP"); err != nil {
		return err
	}
	_, err := c.line(false, "200 ok")
	return err
}

// ftpActive: the caller announces where it listens (RFC 959 PORT, RFC 2428 EPRT).
func ftpActive(c *call) error {
	if err := resume(c); err != nil {
		return err
	}
	port, err := c.await(c.caller)
	if err != nil {
		return err
	}
	var got string
	if c.ipv6 {
		got, err = c.line(true, "EPRT |2|%s|%d|", c.caller.addr, port)
	} else {
		got, err = c.line(true, "PORT %s", commas(c.caller.at(port)))
	}
	if err != nil {
		return err
	}
	return c.heard(got)
}

// ftpPassive: the callee does (PASV, EPSV).
func ftpPassive(c *call) error {
	if err := resume(c); err != nil {
		return err
	}
	port, err := c.await(c.callee)
	if err != nil {
		return err
	}
	if c.ipv6 {
		if _, err = c.line(true, "EPSV"); err != nil {
			return err
		}
		var got string
		if got, err = c.line(false, "229 Entering Extended Passive Mode (|||%d|)", port); err != nil {
			return err
		}
		_, rest, _ := strings.Cut(got, "(|||")
		if _, err = fmt.Sscanf(rest, "%d|)", &port); err != nil {
			return fmt.Errorf("heard %q: %w", got, err)
		}
		c.peers = append(c.peers, netip.AddrPortFrom(c.callee.seen, port))
		return nil
	}
	if _, err = c.line(true, "PASV"); err != nil {
		return err
	}
	got, err := c.line(false, "227 Entering Passive Mode (%s)", commas(c.callee.at(port)))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(got, "(")
	return c.heard("PORT " + rest)
}

// heard takes the place that a line as it arrived names.
func (c *call) heard(line string) error {
	var place netip.AddrPort
	var err error
	if rest, ok := strings.CutPrefix(line, "EPRT |2|"); ok {
		fields := strings.Split(rest, "|")
		if len(fields) < 2 {
			return fmt.Errorf("heard %q", line)
		}
		place, err = netip.ParseAddrPort("[" + fields[0] + "]:" + fields[1])
	} else {
		var n [6]uint8
		_, err = fmt.Sscanf(line, "PORT %d,%d,%d,%d,%d,%d", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5])
		place = netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5]))
	}
	if err != nil {
		return fmt.Errorf("heard %q: %w", line, err)
	}
	c.peers = append(c.peers, place)
	return nil
}

func commas(at netip.AddrPort) string {
	a, p := at.Addr().As4(), at.Port()
	return fmt.Sprintf("%d,%d,%d,%d,%d,%d", a[0], a[1], a[2], a[3], p>>8, p&0xff)
}

// toCaller and toCallee open the announced TCP connections.
func toCaller(c *call) error { return c.streams(c.callee) }
func toCallee(c *call) error { return c.streams(c.caller) }

// irc offers a file: the caller listens (DCC SEND).
func irc(c *call) error {
	port, err := c.await(c.caller)
	if err != nil {
		return err
	}
	a := c.caller.addr.As4()
	got, err := c.line(true, "PRIVMSG bob :\x01DCC SEND file %d %d 1024\x01", uint32(a[0])<<24|uint32(a[1])<<16|uint32(a[2])<<8|uint32(a[3]), port)
	if err != nil {
		return err
	}
	var addr uint32
	if _, err := fmt.Sscanf(got, "PRIVMSG bob :\x01DCC SEND file %d %d 1024\x01", &addr, &port); err != nil {
		return fmt.Errorf("heard %q: %w", got, err)
	}
	from := netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)})
	c.peers = append(c.peers, netip.AddrPortFrom(from, port))
	return nil
}
