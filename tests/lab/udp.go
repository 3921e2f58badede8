package lab

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// udpPause before a request: 100 ms on average, each time another, so that conversations do not keep step.
func udpPause() time.Duration { return 75*time.Millisecond + rand.N(50*time.Millisecond) }

// dialUDP opens a request and answer conversation. Single datagrams may be lost while a router changes; what
// counts is that answers come again, through the same translation.
func dialUDP(client *Namespace, c *Conversation) error {
	conn, err := openUDP(client, netip.AddrPortFrom(c.server(), portUDP))
	if err != nil {
		return err
	}
	c.end = conn
	go func() {
		for number := uint64(1); ; number++ {
			c.sending(up, number)
			if _, err := conn.Write(message(c.id, number)); errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(udpPause())
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, err := conn.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if id, number, ok := readMessage(b[:max(n, 0)]); err == nil && ok && id == c.id {
				c.arrived(up, number)
			}
		}
	}()
	return nil
}

func openUDP(client *Namespace, to netip.AddrPort) (conn *net.UDPConn, err error) {
	err = client.Do(func() (err error) {
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	return conn, err
}
