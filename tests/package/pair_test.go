//go:build deb

package deb

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/internal/journal"
)

// node boots a machine with the package, between the networks.
func (n *network) node(r *root, name string, number int) *machine {
	n.t.Helper()
	m := n.boot(r, name, number)
	m.must(install + m.put(built(n.t, older)))
	n.connect(m)
	return m
}

// again boots a machine that is off, with what is on its disk.
func (n *network) again(m *machine) *machine {
	n.t.Helper()
	m = n.boot(m.root, m.host, m.number)
	n.connect(m)
	return m
}

func (n *network) boot(r *root, name string, number int) *machine {
	n.t.Helper()
	var options []string
	for i := range bridges {
		options = append(options, fmt.Sprintf("--network-veth-extra=%s%d:eth%d", name, i, i))
	}
	m := r.bootIn(n.t, n.hub, name, options...)
	m.number = number
	return m
}

// connect gives a node its cables, addresses and ruleset.
func (n *network) connect(m *machine) {
	n.t.Helper()
	for i, bridge := range bridges {
		n.plug(fmt.Sprintf("%s%d", m.host, i), bridge)
	}
	m.must(fmt.Sprintf(`ip address add 192.0.2.%[1]d/25 dev eth0; ip address add 10.0.0.%[1]d/24 dev eth1
		ip address add 192.0.2.%[2]d/30 dev eth2; for i in 0 1 2; do ip link set eth$i up; done
		sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_loose=0
		nft -f %[3]snftables.nft`, m.number, m.number+127, examples))
}

// firewall is a node that is set up with keepalived, from the examples in the package and nothing else.
func (n *network) firewall(name string, number, priority int) *machine {
	n.t.Helper()
	m := n.node(bookworm, name, number)
	m.must(fmt.Sprintf(`cd %s && cp ctsync.conf /etc/ctsync/ &&
		sed 's/^ *router_id .*/router_id %s/; s/^ *priority .*/priority %d/' keepalived/fifo.conf >/etc/keepalived/keepalived.conf &&
		ctsync config check && systemctl restart ctsync`, examples, name, priority))
	m.must("journalctl -b -u ctsync -o cat | grep -q 'go on to come through the socket.s queue'") // a container may not have a ring
	return m
}

// cut takes the power away.
func (m *machine) cut() {
	m.t.Helper()
	if err := syscall.Kill(m.leader, syscall.SIGKILL); err != nil { // its process 1: the kernel ends the others
		m.t.Fatal(err)
	}
}

// freeze stops every process of the machine, or lets them go on. Its kernel goes on: addresses answer, packets pass.
func (m *machine) freeze(stop bool) {
	m.t.Helper()
	value := "0"
	if stop {
		value = "1"
	}
	for _, hierarchy := range hierarchies {
		file := filepath.Join(hierarchy, m.name, "payload/cgroup.freeze")
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			m.t.Fatal(err)
		}
		return
	}
	m.t.Fatalf("%s has no control group that can be frozen", m.name)
}

// pair is two firewalls, what they tell, and connections through them.
type pair struct {
	*network
	a, b     *machine
	ofA, ofB diary
	crowd    crowd
}

// TestPair: two nodes that were set up by the manual keep every connection through whatever happens to one of them,
// those that began after the last mishap as well as the old ones, and their journals tell what it was.
func TestPair(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	p := &pair{network: n, a: n.firewall("a", 2, 150), b: n.firewall("b", 3, 100)}
	p.ofA, p.ofB, p.crowd = diary{m: p.a}, diary{m: p.b}, crowd{n: n}
	p.a.must("systemctl restart keepalived")
	p.a.role("active", 30*time.Second)
	p.b.must("systemctl restart keepalived && ctsync wait-synced --timeout 30s")
	p.a.must("ctsync wait-synced --timeout 30s")
	n.echo()
	p.crowd.join(8)
	for _, happens := range []struct {
		name string
		do   func()
	}{
		{"keepalived stopped", p.keepalivedStopped}, {"crash at the takeover", p.crashed}, {"upgrade", p.upgraded}, {"stopped by hand", p.stopped}, {"link cut", p.linkCut}, {"sync link cut", p.syncLinkCut},
		{"split brain", p.splitBrain}, {"frozen", p.frozen}, {"power cut", p.powerCut},
	} {
		p.ofA.forget()
		p.ofB.forget()
		if happens.do(); t.Failed() {
			t.Fatalf("after %s", happens.name)
		}
	}
	if out := p.b.must("journalctl -u ctsync -p err -q --no-pager"); out != "" {
		t.Errorf("errors in the journal of b:\n%s", strings.TrimSpace(out))
	}
}

// settled waits until one node is active, the other is not, and both have everything.
func (p *pair) settled(active, standby *machine) {
	p.t.Helper()
	active.role("active", 30*time.Second)
	standby.role("standby", 30*time.Second)
	for _, m := range []*machine{active, standby} {
		m.must("ctsync wait-synced --timeout 30s")
		if got := m.must("conntrack -L -p tcp --dport 7 2>/dev/null | grep -c ESTABLISHED || true"); got != fmt.Sprint(len(p.crowd.members)) {
			p.t.Errorf("%s says that it is in sync, and its kernel has %s of %d connections", m.name, got, len(p.crowd.members))
		}
	}
}

func (p *pair) keepalivedStopped() {
	p.crowd.during("keepalived stopped", 2*time.Second, func() {
		p.a.must("systemctl stop keepalived")
		p.b.role("active", 30*time.Second)
	})
	p.ofA.tells(journal.SteppedBack)
	p.ofB.tells(journal.TakingOver, journal.Takeover)
	p.a.must("systemctl start keepalived")
	p.settled(p.b, p.a)
}

// crashed: the daemon that is to take over dies just then. Its kernel has every connection, and the FIFO keeps what it missed.
func (p *pair) crashed() {
	p.crowd.during("crash at the takeover", 3*time.Second, func() {
		p.a.must("kill -9 $(systemctl show -p MainPID --value ctsync)")
		p.b.must("systemctl stop keepalived")
		p.a.role("active", 30*time.Second)
	})
	p.ofA.tells(journal.Started, journal.Takeover)
	p.b.must("systemctl start keepalived")
	p.settled(p.a, p.b)
	p.crowd.during("and back", 2*time.Second, func() {
		p.a.must("systemctl stop keepalived")
		p.b.role("active", 30*time.Second)
	})
	p.a.must("systemctl start keepalived")
	p.settled(p.b, p.a)
}

// upgraded: the package of the active node and that of the standby are renewed. No address moves.
func (p *pair) upgraded() {
	transitions := "journalctl -u keepalived -q | grep -c 'Entering'"
	before, _ := p.b.try(transitions)
	for _, m := range []*machine{p.b, p.a} {
		p.crowd.during("upgrade of "+m.name, time.Second, func() { m.must(install + m.put(built(p.t, newer))) })
		p.settled(p.b, p.a)
	}
	p.ofA.tells(journal.Stopping, journal.Started, journal.InSync)
	p.ofA.isSilentOf(journal.Takeover)
	p.ofB.tells(journal.Stopping, journal.Started, journal.Takeover)
	p.b.says(transitions, strings.TrimSpace(before))
}

// stopped: the active node's daemon, by an operator. No address moves, both nodes tell, and what begins meanwhile is told afterwards.
func (p *pair) stopped() {
	p.crowd.during("stopped by hand", 4*time.Second, func() { p.b.must("systemctl stop ctsync") })
	p.b.must("ip -br address show dev eth0 | grep -q 192.0.2.1/25")
	p.ofB.tells(journal.Stopping)
	p.b.must("journalctl -u ctsync -q -o cat -p warning | grep -q 'goes on forwarding'")
	p.b.must("ctsync check | grep -q not-running")
	p.a.must("ctsync status | grep -q 'alone: no peer is heard'")
	p.b.must("systemctl start ctsync")
	p.settled(p.b, p.a)
	p.ofA.isSilentOf(journal.TakingOver)
}

func (p *pair) linkCut() {
	p.crowd.during("link cut", 2*time.Second, func() {
		p.ip("-n", p.hub, "link", "set", "b0", "down")
		p.a.role("active", 30*time.Second)
	})
	p.ofB.tells(journal.SteppedBack)
	p.ofA.tells(journal.TakingOver, journal.Takeover)
	p.ip("-n", p.hub, "link", "set", "b0", "up")
	p.settled(p.a, p.b)
}

// syncLinkCut moves no address; connections that began meanwhile are told afterwards.
func (p *pair) syncLinkCut() {
	p.crowd.during("sync link cut", 0, func() {
		p.ip("-n", p.hub, "link", "set", "a2", "down")
		p.ofB.tells(journal.PeerLost)
		p.crowd.join(1)
		p.ip("-n", p.hub, "link", "set", "a2", "up")
		p.ofB.tells(journal.PeerFound)
	})
	p.ofA.isSilentOf(journal.SteppedBack)
	p.settled(p.a, p.b)
}

// splitBrain: the nodes do not hear each other's VRRP any more, and everybody hears both of them.
func (p *pair) splitBrain() {
	isolate := func(on string) {
		for _, port := range []string{"a0", "a1", "b0", "b1"} {
			p.ip("netns", "exec", p.hub, "bridge", "link", "set", "dev", port, "isolated", on)
		}
	}
	p.crowd.during("split brain", 2*time.Second, func() {
		isolate("on")
		p.b.role("active", 30*time.Second)
	})
	p.ofA.tells(journal.TwoActive)
	p.ofB.tells(journal.Takeover)
	p.crowd.during("split brain heals", 2*time.Second, func() { isolate("off") })
	p.ofA.tells(journal.OneActive)
	p.ofB.tells(journal.SteppedBack)
	p.settled(p.a, p.b)
}

// frozen: the active node's processes stand still for a while, then believe that they never did.
func (p *pair) frozen() {
	p.crowd.during("frozen", 2*time.Second, func() {
		p.a.freeze(true)
		p.ofB.tells(journal.TakingOver, journal.Takeover)
	})
	p.crowd.during("thawed", 2*time.Second, func() { p.a.freeze(false) })
	p.ofA.tells(journal.Asleep)
	p.ofB.tells(journal.SteppedBack)
	p.settled(p.a, p.b)
}

// powerCut: and the one that takes over has just been begun anew itself.
func (p *pair) powerCut() {
	if out := p.a.must("journalctl -u ctsync -p err -q --no-pager"); out != "" {
		p.t.Errorf("errors in the journal of a:\n%s", strings.TrimSpace(out))
	}
	p.b.must("systemctl restart ctsync && ctsync wait-synced --timeout 30s")
	p.crowd.during("power cut", 2*time.Second, func() {
		p.a.cut()
		p.b.role("active", 30*time.Second)
	})
	p.ofB.tells(journal.PeerLost)
	p.ofB.tells(journal.Takeover)
	p.b.role("active", 30*time.Second)
}
