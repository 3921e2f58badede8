//go:build deb

package deb

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fenceAgent is a fencing device as Pacemaker sees it: a switch for the other machine's power, which the test turns. It asks by a
// file, /run/fence/NODE, and waits until the test answers by another one.
const fenceAgent = `#!/bin/sh
while read -r line; do
	case $line in action=*) action=${line#*=} ;; plug=* | port=*) plug=${line#*=} ;; esac
done
case ${action:-reboot} in
metadata)
	cat <<'END'
<?xml version="1.0"?>
<resource-agent name="fence_test" shortdesc="A switch that a test turns">
<longdesc>A switch that a test turns.</longdesc>
<vendor-url>https://example.org</vendor-url>
<parameters>
<parameter name="action" required="1"><content type="string" default="off"/><shortdesc lang="en">Action</shortdesc></parameter>
<parameter name="plug" required="1"><content type="string"/><shortdesc lang="en">Node</shortdesc></parameter>
</parameters>
<actions>
<action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="list"/><action name="metadata"/>
</actions>
</resource-agent>
END
	;;
off | reboot)
	: >"/run/fence/$plug"
	for i in $(seq 300); do
		[ -e "/run/fence/$plug.off" ] && { rm -f "/run/fence/$plug" "/run/fence/$plug.off"; exit 0; }
		sleep 0.1
	done
	exit 1
	;;
list) printf 'fw-a,\nfw-b,\n' ;;
esac
exit 0
`

// fencing is its configuration. The device that asks first wins when both nodes do.
const fencing = `configure
primitive power stonith:fence_test params pcmk_host_list="fw-a fw-b" pcmk_host_check=static-list pcmk_reboot_action=off
property stonith-enabled=true
property stonith-action=off
commit
`

// fences lets the nodes of a pair switch each other off until the test ends. It tells who was switched off.
func (p *pair) fences() <-chan *machine {
	off, stop, done := make(chan *machine, 16), make(chan struct{}), make(chan struct{})
	nodes := []*machine{p.a, p.b}
	go func() {
		defer close(done)
		for {
			for i, m := range nodes {
				if other := nodes[1-i]; !m.off() && m.isAsked(other) {
					other.kill()
					m.answers(other)
					off <- other
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	p.t.Cleanup(func() { close(stop); <-done })
	return off
}

func (m *machine) inside(path string) string { return fmt.Sprintf("/proc/%d/root%s", m.leader, path) }

// isAsked says that this machine wants the other one off.
func (m *machine) isAsked(other *machine) bool {
	_, err := os.Stat(m.inside("/run/fence/" + other.host))
	return err == nil
}

func (m *machine) answers(other *machine) {
	_ = os.WriteFile(m.inside("/run/fence/"+other.host+".off"), nil, 0o644)
}

// kill takes the power away, if there is any left, and returns when the machine is off.
func (m *machine) kill() {
	if !m.off() {
		_ = syscall.Kill(m.leader, syscall.SIGKILL)
	}
	<-m.done
}

// TestNextDebianCluster: Pacemaker 3 of the Debian after, with fencing. Connections live through an orderly move and through a power cut,
// after which the other node makes sure before it forwards; in the long form through the loss of the link between the nodes too.
func TestNextDebianCluster(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.member(clusteredNext, "fw-a", 2), n.member(clusteredNext, "fw-b", 3)
	a.must("pacemakerd --version | grep -q '^Pacemaker 3'")
	p := &pair{network: n, a: a, b: b, ofA: diary{m: a}, ofB: diary{m: b}, crowd: crowd{n: n}}
	for _, m := range []*machine{a, b} {
		m.cluster()
	}
	a.soon("test $(crm_mon -1 --output-as=xml | grep -c 'online=\"true\"') = 2", time.Minute)
	a.must("crm configure load update " + examples + "pacemaker/cluster.crm")
	for _, m := range []*machine{a, b} {
		m.write("/usr/sbin/fence_test", fenceAgent)
		m.must("chmod 755 /usr/sbin/fence_test && mkdir /run/fence")
	}
	a.write("/root/fencing.crm", fencing)
	a.must("crm -f /root/fencing.crm")
	a.soon("crm_mon -1 --output-as=xml | grep 'id=\"power\"' | grep -q 'role=\"Started\"'", 30*time.Second)
	off := p.fences()
	p.promoted(30 * time.Second)
	n.echo()
	p.crowd.join(8)

	p.nodeStandby()

	if os.Getenv("LONG") != "" {
		off = p.parted(off)
	}
	p.crowd.during("power cut", 2*time.Second, func() {
		p.a.cut()
		p.switchedOff(off)
		p.a.primary(30 * time.Second)
	})
	if history := p.a.must("stonith_admin --history '*' --verbose"); strings.Count(history, "successful") == 0 && !strings.Contains(history, "was able to") {
		t.Errorf("the cluster does not know of a node that was switched off:\n%s", history)
	}
}

// parted: the nodes lose each other, one switches the other off, which is booted again.
func (p *pair) parted(off <-chan *machine) <-chan *machine {
	p.crowd.during("the nodes lose each other", 2*time.Second, func() {
		p.ip("-n", p.hub, "link", "set", p.a.port(2), "down")
		p.switchedOff(off)
		p.a.primary(30 * time.Second)
	})
	p.ip("-n", p.hub, "link", "set", p.a.port(2), "up")
	p.b = p.again(p.b)
	p.b.must("mkdir -p /run/fence")
	p.b.cluster()
	p.ofB = diary{m: p.b}
	p.settled(p.a, p.b)
	return p.fences()
}

func (m *machine) port(i int) string { return fmt.Sprintf("%s%d", m.host, i) }

// switchedOff waits until one of the nodes was, and calls it b.
func (p *pair) switchedOff(off <-chan *machine) {
	p.t.Helper()
	select {
	case m := <-off:
		if m == p.a {
			p.swap()
		}
	case <-time.After(time.Minute):
		p.t.Fatal("no node was switched off within a minute")
	}
}
