package dialogues

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// refused is a UDP flow whose other end is gone: what its host answers (ICMP, port unreachable) has the flow's packet in it,
// as it arrived, and must find back to who sent it, as it was sent.
type refused struct{ *net.UDPConn }

func udpRefused(fs *flows, k *kind) (channel, error) {
	caller, callee := fs.ends(k)
	other, err := callee.udp(k.port)
	if err != nil {
		return nil, err
	}
	defer other.Close()
	var conn *net.UDPConn
	err = caller.Do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(caller.at(0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(callee.seen, k.port)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return refused{conn}, repeat(func() error {
		if _, err := conn.Write([]byte("ping")); err != nil {
			return err
		}
		from, err := hear(other, "ping")
		if err == nil {
			_, err = other.WriteToUDPAddrPort([]byte("pong"), from)
		}
		if err == nil {
			_, err = hear(conn, "pong")
		}
		return err
	})
}

func (r refused) talk() error {
	return repeat(func() error {
		if _, err := r.Write([]byte("ping")); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if err := r.SetReadDeadline(time.Now().Add(patience / tries)); err != nil {
			return err
		}
		if _, err := r.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("instead of a refusal: %w", err)
		}
		return nil
	})
}
