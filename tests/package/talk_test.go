//go:build deb

package deb

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// server is the echo server's address, outside of the firewalls.
const server = "192.0.2.100:7"

// echo serves on the server until the test ends.
func (n *network) echo() {
	n.t.Helper()
	n.inside(n.server, func() error {
		l, err := net.Listen("tcp", server)
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); c.Close() }()
			}
		}()
		return nil
	})
}

// conversation is one TCP connection through the firewalls.
type conversation struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
	said  int
}

// dial opens a connection from the client to the echo server.
func (n *network) dial() *conversation {
	n.t.Helper()
	c := &conversation{t: n.t}
	n.inside(n.client, func() (err error) {
		c.conn, err = net.DialTimeout("tcp", server, 20*time.Second)
		return err
	})
	n.t.Cleanup(func() { c.conn.Close() })
	c.lines = bufio.NewReader(c.conn)
	return c
}

// patience is how long an answer may take: VRRP's three adverts of a second and a skew, on top of them TCP's
// retransmissions, which double, and a loaded machine.
const patience = 20 * time.Second

// goesOn says something and hears it, and gives how long that took.
func (c *conversation) goesOn() time.Duration {
	c.said++
	want := fmt.Sprintf("line %d\n", c.said)
	begun := time.Now()
	_ = c.conn.SetDeadline(begun.Add(patience))
	if _, err := io.WriteString(c.conn, want); err != nil {
		c.t.Errorf("the connection %s: %v", c.conn.LocalAddr(), err)
		return patience
	}
	if got, err := c.lines.ReadString('\n'); err != nil || got != want {
		c.t.Errorf("the connection %s: %q, %v, not within %v", c.conn.LocalAddr(), got, err, patience)
	}
	return time.Since(begun)
}

// crowd is conversations that never end. During a fault half of them talk all the time and the others are silent, as
// they are on any firewall: those are known from its table alone.
type crowd struct {
	n       *network
	members []*conversation
}

// join opens some more.
func (c *crowd) join(count int) {
	c.n.t.Helper()
	for range count {
		next := c.n.dial()
		next.goesOn()
		c.members = append(c.members, next)
	}
}

// during does something while half of the crowd talks, for a while after it too, then lets everyone talk, opens more
// connections, and tells the longest time that an answer took.
func (c *crowd) during(what string, after time.Duration, do func()) {
	t := c.n.t
	t.Helper()
	var wg sync.WaitGroup
	stop, longest := make(chan struct{}), make([]time.Duration, len(c.members))
	for i, m := range c.members {
		if i%2 == 1 {
			continue
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					longest[i] = max(longest[i], m.goesOn())
				}
			}
		})
	}
	do()
	time.Sleep(after)
	close(stop)
	wg.Wait()
	for _, m := range c.members {
		m.goesOn()
	}
	t.Logf("%s: %d connections go on, the longest answer took %v", what, len(c.members), slices.Max(longest).Round(time.Millisecond))
	c.join(2)
}
