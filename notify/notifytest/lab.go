package notifytest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Lab is a set of network namespaces, joined by two bridges. One test owns it.
type Lab struct {
	t      testing.TB
	prefix string
	nodes  map[string]*Node
}

// Node is one machine of a lab.
type Node struct {
	Name string
	NS   string // its network namespace
	lab  *Lab
}

var labs atomic.Int64

// New makes a lab without nodes. It needs root.
func New(t testing.TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	l := &Lab{t: t, prefix: fmt.Sprintf("ctn%d-%d", os.Getpid(), labs.Add(1)), nodes: map[string]*Node{}}
	l.addNS(l.ns("sw"))
	for _, link := range []string{"wan", "lan"} {
		l.IP(l.ns("sw"), "link add br-"+link+" type bridge mcast_snooping 0")
		l.IP(l.ns("sw"), "link set br-"+link+" up")
	}
	return l
}

func (l *Lab) ns(name string) string { return l.prefix + "-" + name }

func (l *Lab) addNS(ns string) {
	l.t.Helper()
	run(l.t, "ip", "netns", "add", ns)
	l.t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	run(l.t, "ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
	l.IP(ns, "link set lo up")
}

// IP runs an ip command in the namespace.
func (l *Lab) IP(ns, command string) {
	l.t.Helper()
	run(l.t, "ip", append([]string{"-n", ns}, strings.Fields(command)...)...)
}

// Node returns the node of that name, which must be a single letter; it is made when it is first asked for.
func (l *Lab) Node(name string) *Node {
	l.t.Helper()
	if n := l.nodes[name]; n != nil {
		return n
	}
	n := &Node{Name: name, NS: l.ns(name), lab: l}
	l.addNS(n.NS)
	for i, link := range []string{"wan", "lan"} {
		l.IP(n.NS, fmt.Sprintf("link add %s0 type veth peer name %s-%s netns %s", link, name, link, l.ns("sw")))
		l.IP(n.NS, fmt.Sprintf("addr add 10.77.%d.%d/24 dev %s0", i+1, name[0], link))
		l.IP(l.ns("sw"), fmt.Sprintf("link set %s-%s master br-%s up", name, link, link))
		l.IP(n.NS, "link set "+link+"0 up")
	}
	l.nodes[name] = n
	return n
}

// Carrier takes the carrier of the node's link ("wan", "lan") away, or gives it back.
func (n *Node) Carrier(link string, on bool) {
	n.lab.t.Helper()
	n.lab.IP(n.lab.ns("sw"), fmt.Sprintf("link set %s-%s %s", n.Name, link, upDown(on)))
}

// Joined separates all nodes from each other, with their carriers left on, or joins them again.
func (l *Lab) Joined(on bool) {
	l.t.Helper()
	for _, link := range []string{"wan", "lan"} {
		l.IP(l.ns("sw"), fmt.Sprintf("link set br-%s %s", link, upDown(on)))
	}
}

func upDown(on bool) string {
	if on {
		return "up"
	}
	return "down"
}

// HasAddress says whether the node's link has the address, a virtual one for example.
func (n *Node) HasAddress(address string) bool {
	n.lab.t.Helper()
	out, _ := exec.Command("ip", "-n", n.NS, "-o", "addr", "show").CombinedOutput()
	return strings.Contains(string(out), " "+address+"/")
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// Eventually waits until what holds, for 10 s at most.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 10 s it did not come true that %s", what)
		}
	}
}
