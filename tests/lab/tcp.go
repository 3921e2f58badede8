package lab

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Sizes and paces of TCP conversations: bulk ones send about 800 kB/s each way.
const (
	helloSize = 4 // a conversation's id, before all else
	idleSize  = 64
	bulkSize  = 8192
	bulkPause = 10 * time.Millisecond
)

// dialTCP opens the client's side of a conversation.
func dialTCP(client *Namespace, c *Conversation) error {
	var conn net.Conn
	err := client.Do(func() (err error) {
		d := net.Dialer{Timeout: 3 * time.Second, KeepAlive: -1} // the kernel's keepalive would be an activity
		conn, err = d.Dial("tcp", netip.AddrPortFrom(c.server(), portTCP).String())
		return err
	})
	if err != nil {
		return err
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, c.id)); err != nil {
		conn.Close()
		return err
	}
	c.end = conn
	if c.Kind == Bulk {
		go c.pour(conn, up, "client")
		go c.drain(conn, down, "client")
		return nil
	}
	go c.pingPong(conn)
	return nil
}

// pause before an idle conversation's next message.
func pause() time.Duration {
	return 100*time.Millisecond + rand.N(150*time.Millisecond)
}

// pingPong is the client's side of an idle conversation: send, wait for the echo, think.
func (c *Conversation) pingPong(conn net.Conn) {
	out, in := make([]byte, idleSize), make([]byte, idleSize)
	for position := uint64(0); ; position += idleSize {
		time.Sleep(pause())
		fill(out, c.id, position)
		c.sending(up, position+idleSize)
		_, err := conn.Write(out)
		if err == nil {
			_, err = io.ReadFull(conn, in)
		}
		if err != nil {
			c.broke("client", err)
			return
		}
		if string(in) != string(out) {
			c.lost(Reset, "client: the echo is not what was sent")
			return
		}
		c.arrived(up, position+idleSize)
	}
}

// broke ends the conversation for an error that is not of our own closing.
func (c *Conversation) broke(side string, err error) {
	if !errors.Is(err, net.ErrClosed) {
		c.failed(side, err)
	}
}

// pour sends one direction of a bulk conversation.
func (c *Conversation) pour(conn net.Conn, d direction, side string) {
	out := make([]byte, bulkSize)
	for position := uint64(0); ; position += bulkSize {
		fill(out, c.id, position)
		c.sending(d, position+bulkSize)
		if _, err := conn.Write(out); err != nil {
			c.broke(side, err)
			return
		}
		time.Sleep(bulkPause)
	}
}

// drain receives one direction of a bulk conversation.
func (c *Conversation) drain(conn net.Conn, d direction, side string) {
	in := make([]byte, bulkSize)
	for position := uint64(0); ; {
		n, err := conn.Read(in)
		if err != nil {
			c.broke(side, err)
			return
		}
		if !sameAs(in[:n], c.id, position) {
			c.lost(Reset, side+": what arrived is not what was sent")
			return
		}
		position += uint64(n)
		c.arrived(d, position)
	}
}

// echo is the server's side of an idle conversation.
func (c *Conversation) echo(conn net.Conn) {
	in := make([]byte, idleSize)
	for position := uint64(0); ; position += idleSize {
		_, err := io.ReadFull(conn, in)
		if err == nil && !sameAs(in, c.id, position) {
			c.lost(Reset, "server: what arrived is not what was sent")
			return
		}
		if err == nil {
			_, err = conn.Write(in)
		}
		if err != nil {
			c.broke("server", err)
			return
		}
	}
}
