//go:build deb

package deb

import (
	"fmt"
	"os"
	"runtime"
	"testing"

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

// bridges are where the interfaces of a node end, eth0 first.
var bridges = []string{"outside", "inside", "sync"}

func newNetwork(t *testing.T) *network {
	id := fmt.Sprintf("ctsync-%d-%s-", os.Getpid(), t.Name())
	n := &network{t, id + "hub", id + "client", id + "server"}
	for _, ns := range []string{n.hub, n.client, n.server} {
		n.ip("netns", "add", ns)
		t.Cleanup(func() { _ = command("ip", "netns", "delete", ns) })
	}
	for _, bridge := range bridges {
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
