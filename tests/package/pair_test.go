//go:build deb

package deb

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network is what lies around a pair of firewalls:
//
//	server 192.0.2.100 --[outside]-- eth0 a, b eth1 --[inside]-- client 10.0.0.9
//	                                 a eth2 --[sync]-- eth2 b
type network struct {
	t                   *testing.T
	hub, client, server string // network namespaces
}

func newNetwork(t *testing.T) *network {
	id := fmt.Sprintf("ctsync-%d-", os.Getpid())
	n := &network{t, id + "hub", id + "client", id + "server"}
	for _, ns := range []string{n.hub, n.client, n.server} {
		n.ip("netns", "add", ns)
		t.Cleanup(func() { _ = command("ip", "netns", "delete", ns) })
	}
	for _, bridge := range []string{"outside", "inside", "sync"} {
		n.ip("-n", n.hub, "link", "add", bridge, "type", "bridge")
		n.ip("-n", n.hub, "link", "set", bridge, "up")
	}
	n.host(n.client, "inside", "10.0.0.9/24")
	n.host(n.server, "outside", "192.0.2.100/25")
	n.ip("-n", n.client, "route", "add", "default", "via", "10.0.0.1")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if err := command("ip", args...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) host(ns, bridge, address string) {
	n.ip("-n", n.hub, "link", "add", "h-"+bridge, "type", "veth", "peer", "name", "eth0", "netns", ns)
	n.plug("h-"+bridge, bridge)
	n.ip("-n", ns, "address", "add", address, "dev", "eth0")
	n.ip("-n", ns, "link", "set", "eth0", "up")
}

func (n *network) plug(port, bridge string) {
	n.t.Helper()
	n.ip("-n", n.hub, "link", "set", port, "master", bridge, "up")
}

// inside runs f in a network namespace; sockets that it opens stay there.
func (n *network) inside(ns string, f func() error) {
	n.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		h, err := os.Open("/run/netns/" + ns)
		if err == nil {
			defer h.Close()
			err = unix.Setns(int(h.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		n.t.Fatalf("in %s: %v", ns, err)
	}
}

// conversation is one TCP connection through the firewalls.
type conversation struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
	said  int
}

// talk opens a connection from the client to an echo server.
func (n *network) talk() *conversation {
	n.t.Helper()
	n.inside(n.server, func() error {
		l, err := net.Listen("tcp", "192.0.2.100:7")
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
	c := &conversation{t: n.t}
	n.inside(n.client, func() (err error) {
		c.conn, err = net.DialTimeout("tcp", "192.0.2.100:7", 10*time.Second)
		return err
	})
	n.t.Cleanup(func() { c.conn.Close() })
	c.lines = bufio.NewReader(c.conn)
	return c
}

// goesOn says something and hears it, and gives how long that took.
func (c *conversation) goesOn(within time.Duration) time.Duration {
	c.t.Helper()
	c.said++
	want := fmt.Sprintf("line %d\n", c.said)
	begun := time.Now()
	_ = c.conn.SetDeadline(begun.Add(within))
	if _, err := io.WriteString(c.conn, want); err != nil {
		c.t.Errorf("the connection: %v", err)
		return within
	}
	if got, err := c.lines.ReadString('\n'); err != nil || got != want {
		c.t.Errorf("the connection: %q, %v, not within %v", got, err, within)
	}
	return time.Since(begun)
}

// during talks on while something is done and for a while after, and tells the longest time that an answer took.
func (c *conversation) during(what string, after time.Duration, do func()) {
	c.t.Helper()
	stop, done := make(chan struct{}), make(chan time.Duration)
	go func() {
		longest := time.Duration(0)
		defer func() { done <- longest }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				longest = max(longest, c.goesOn(20*time.Second))
			}
		}
	}()
	do()
	time.Sleep(after)
	close(stop)
	c.t.Logf("%s: the longest answer took %v", what, (<-done).Round(time.Millisecond))
}

// firewall boots a node, and sets it up from the examples in the package and nothing else.
func (n *network) firewall(name string, number, priority int) *machine {
	n.t.Helper()
	var options []string
	for i := range 3 {
		options = append(options, fmt.Sprintf("--network-veth-extra=%s%d:eth%d", name, i, i))
	}
	m := bootIn(n.t, n.hub, name, options...)
	for i, bridge := range []string{"outside", "inside", "sync"} {
		n.plug(fmt.Sprintf("%s%d", name, i), bridge)
	}
	m.must(fmt.Sprintf(`ip address add 192.0.2.%[1]d/25 dev eth0; ip address add 10.0.0.%[1]d/24 dev eth1
		ip address add 192.0.2.%[2]d/30 dev eth2; for i in 0 1 2; do ip link set eth$i up; done
		sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_loose=0`, number, number+127))
	m.must("apt-get install -y --no-install-recommends " + m.put(built(n.t, older)))
	m.must(fmt.Sprintf(`cd /usr/share/doc/ctsync/examples && nft -f nftables.nft && cp ctsync.conf /etc/ctsync/ &&
		sed 's/^ *router_id .*/router_id %s/; s/^ *priority .*/priority %d/' keepalived/fifo.conf >/etc/keepalived/keepalived.conf &&
		ctsync config check && systemctl restart ctsync`, name, priority))
	return m
}

// cut takes the power away.
func (m *machine) cut() {
	m.t.Helper()
	if err := syscall.Kill(m.leader, syscall.SIGKILL); err != nil { // its process 1: the kernel ends the others
		m.t.Fatal(err)
	}
}

// TestPair: two nodes that were set up by the manual keep a connection through whatever happens to one of them.
func TestPair(t *testing.T) {
	n := newNetwork(t)
	a, b := n.firewall("a", 2, 150), n.firewall("b", 3, 100)
	a.must("systemctl restart keepalived")
	a.role("active", 10*time.Second)
	b.must("systemctl restart keepalived && ctsync wait-synced --timeout 15s")
	a.must("ctsync wait-synced --timeout 15s")
	c := n.talk()
	b.soon("conntrack -L -s 10.0.0.9 2>/dev/null | grep -q ESTABLISHED", 5*time.Second)

	c.goesOn(time.Second)
	c.during("keepalived stopped", 2*time.Second, func() { a.must("systemctl stop keepalived") })
	b.role("active", 5*time.Second)
	a.must("systemctl start keepalived && ctsync wait-synced --timeout 15s")

	c.during("the active node upgraded", 2*time.Second, func() {
		b.must("apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confdef " + b.put(built(t, newer)))
	})
	b.role("active", 5*time.Second)

	// The one that is to take over has just been begun anew itself.
	a.must("systemctl restart ctsync && ctsync wait-synced --timeout 15s")
	c.during("power cut", 5*time.Second, b.cut)
	a.role("active", 5*time.Second)
	c.goesOn(time.Second)
	if out := a.must("journalctl -u ctsync -p err -q --no-pager"); out != "" {
		t.Errorf("errors in the journal of a:\n%s", strings.TrimSpace(out))
	}
}
