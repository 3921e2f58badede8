//go:build deb

package deb

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"ctsync/internal/journal"
)

// clustered has Debian's Pacemaker, and what its tester of resource agents needs.
var (
	clustered     = &root{suite: "bookworm", packages: installed + cluster}
	clusteredNext = &root{suite: "trixie", packages: installed + cluster}
)

const cluster = ",pacemaker,corosync,resource-agents,crmsh,libxml2-utils"

// quick is a cluster's configuration before the first one: two nodes that begin together do not wait for others.
// The schema is that of an empty configuration there.
const quick = `<cib crm_feature_set="3.0.14" validate-with="SCHEMA" epoch="1" num_updates="0" admin_epoch="0">
<configuration><crm_config><cluster_property_set id="quick">
<nvpair id="quick-dc-deadtime" name="dc-deadtime" value="2s"/>
</cluster_property_set></crm_config><nodes/><resources/><constraints/></configuration><status/></cib>
`

// member is a node that is set up with Pacemaker, from the examples in the package.
func (n *network) member(r *root, name string, number int) *machine {
	n.t.Helper()
	m := n.node(r, name, number)
	m.must("systemctl stop pacemaker corosync && rm -rf /var/lib/pacemaker/cib/*")
	schema := map[*root]string{clustered: "pacemaker-3.0", clusteredNext: "pacemaker-4.0"}[r]
	m.write("/var/lib/pacemaker/cib/cib.xml", strings.Replace(quick, "SCHEMA", schema, 1))
	m.must(fmt.Sprintf(`chown hacluster:haclient /var/lib/pacemaker/cib/cib.xml && chmod 600 /var/lib/pacemaker/cib/cib.xml
		printf '192.0.2.129 fw-a\n192.0.2.130 fw-b\n' >>/etc/hosts
		cd %s/pacemaker && cp ctsync.conf /etc/ctsync/ && cp corosync.conf /etc/corosync/ && ctsync config check --no-host`, examples))
	return m
}

// TestAgent: the resource agent is what Pacemaker's own tester wants, and says what is wrong.
func TestAgent(t *testing.T) { testAgent(t, clustered) }

func TestNextDebianAgent(t *testing.T) { testAgent(t, clusteredNext) }

func testAgent(t *testing.T, r *root) {
	t.Parallel()
	n := newNetwork(t)
	m := n.member(r, "fw-a", 2)
	m.agent()
}

// agent tries the resource agent by itself.
func (m *machine) agent() {
	t := m.t
	const agent = "/usr/lib/ocf/resource.d/ctsync/ctsync"
	m.must("systemctl stop ctsync")
	out := m.must("ocf-tester -n firewall -o group=firewalls " + agent)
	if !strings.Contains(out, "passed all tests") {
		t.Error(out)
	}
	call := "OCF_ROOT=/usr/lib/ocf OCF_RESKEY_group=%s %s " + agent + " %s; echo $?"
	for _, c := range []struct{ group, env, action, want string }{
		{"firewalls", "", "monitor", "7"},
		{"firewalls", "", "fly", "3"},
		{"", "", "validate-all", "6"},
		{"others", "", "start", "2"},
		{"firewalls", "OCF_RESKEY_binary=/nonexistent", "validate-all", "5"},
		{"firewalls", "OCF_RESKEY_binary=/nonexistent", "monitor", "7"},
		{"firewalls", "OCF_RESKEY_config=/nonexistent", "validate-all", "2"},
		{"firewalls", "", "start", "0"},
		{"firewalls", "", "promote", "0"},
		{"firewalls", "", "monitor", "8"},
	} {
		out, _ := m.try(fmt.Sprintf(call, c.group, c.env, c.action))
		if lines := strings.Fields(out); lines[len(lines)-1] != c.want {
			t.Errorf("%s with group %q %s: want exit code %s: %s", c.action, c.group, c.env, c.want, out)
		}
	}
	m.says("ctsync cluster status firewalls", "PRIMARY")
	if out := m.must("ctsync show conntrack-sync status"); !regexp.MustCompile(`last state transition +: PRIMARY at `).MatchString(out) {
		t.Errorf("show conntrack-sync status:\n%s", out)
	}
	// The unit is stopped behind the agent's back: an order to a daemon that is not there is not forgotten.
	m.must("systemctl stop ctsync")
	m.fails("ctsync cluster stop firewalls")
	m.must("systemctl start ctsync")
	m.says("ctsync cluster status firewalls", "SECONDARY")
}

// TestCluster: two nodes with Pacemaker keep every connection through what happens to a firewall, and the addresses move only
// when they have to.
func TestCluster(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.member(clustered, "fw-a", 2), n.member(clustered, "fw-b", 3)
	p := &pair{network: n, a: a, b: b, ofA: diary{m: a}, ofB: diary{m: b}, crowd: crowd{n: n}}
	for _, m := range []*machine{a, b} {
		m.cluster()
	}
	a.soon("test $(crm_mon -1 --output-as=xml | grep -c 'online=\"true\"') = 2", time.Minute)
	a.must("crm configure load update " + examples + "pacemaker/cluster.crm")
	p.promoted(30 * time.Second)
	n.echo()
	p.crowd.join(8)

	// p.a is the promoted one from here on.
	p.crowd.during("the daemon killed", 7*time.Second, func() { p.a.must("kill -9 $(systemctl show -p MainPID --value ctsync)") })
	p.unmoved()
	p.crowd.during("upgrade", 7*time.Second, func() { p.a.must(install + p.a.put(built(t, newer))) })
	p.unmoved()
	if os.Getenv("LONG") != "" {
		p.crowd.during("the daemon hangs", 20*time.Second, func() { p.a.must("kill -STOP $(systemctl show -p MainPID --value ctsync)") })
		p.unmoved()
	}
	p.nodeStandby()
	p.crowd.during("Pacemaker restarted", 2*time.Second, func() {
		p.a.must("timeout 20 systemctl restart pacemaker")
		p.b.primary(30 * time.Second)
	})
	p.moved()
	p.settled(p.a, p.b)
	p.crowd.during("the preferred node takes back", 2*time.Second, func() {
		p.b.must("crm configure location prefer-a firewalls role=Promoted 150: $(uname -n)")
		p.b.primary(30 * time.Second)
	})
	p.moved()
	p.settled(p.a, p.b)
	p.crowd.during("shutdown", 2*time.Second, func() {
		_, _ = p.a.try("systemctl poweroff")
		p.a.await("the end of the shutdown", 30*time.Second, p.a.off)
		p.b.primary(30 * time.Second)
	})
	p.moved()
	p.b = n.again(p.b)
	p.b.cluster()
	p.ofB = diary{m: p.b}
	p.settled(p.a, p.b)
	p.crowd.during("power cut", 2*time.Second, func() {
		p.a.cut()
		p.b.primary(30 * time.Second)
	})
	p.moved()
}

// nodeStandby has the promoted node give everything to the other one, as before maintenance, and come back.
func (p *pair) nodeStandby() {
	p.t.Helper()
	p.crowd.during("node standby", 2*time.Second, func() {
		p.a.must("crm -w node standby $(uname -n)")
		p.b.primary(30 * time.Second)
	})
	p.moved()
	p.b.must("crm node online $(uname -n)")
	p.settled(p.a, p.b)
}

// cluster has the node join it.
func (m *machine) cluster() {
	m.t.Helper()
	m.must("nft add rule inet firewall input iifname eth2 udp dport 5405 accept; systemctl restart ctsync && systemctl restart corosync && systemctl start --no-block pacemaker")
}

// primary waits until a node is the group's primary and has the addresses.
func (m *machine) primary(within time.Duration) {
	m.t.Helper()
	m.soon("ctsync cluster status firewalls | grep -qx PRIMARY && ip address show dev eth0 | grep -q 192.0.2.1/25 && ip address show dev eth1 | grep -q 10.0.0.1/24", within)
}

// promoted waits until a node is, and calls it a.
func (p *pair) promoted(within time.Duration) {
	p.t.Helper()
	p.a.await("a promoted node", within, func() bool {
		for _, m := range []*machine{p.a, p.b} {
			if out, _ := m.try("ctsync cluster status firewalls"); strings.TrimSpace(out) == "PRIMARY" {
				if m == p.b {
					p.swap()
				}
				return true
			}
		}
		return false
	})
	p.a.primary(30 * time.Second)
	p.settled(p.a, p.b)
}

func (p *pair) swap() { p.a, p.b, p.ofA, p.ofB = p.b, p.a, p.ofB, p.ofA }

// unmoved: the cluster did nothing.
func (p *pair) unmoved() {
	p.t.Helper()
	p.a.primary(30 * time.Second)
	p.settled(p.a, p.b)
	p.ofB.isSilentOf(journal.Takeover)
	p.a.says("crm_mon -1 --output-as=xml | grep -c '<failure '", "0")
}

// moved: the other node is promoted.
func (p *pair) moved() {
	p.t.Helper()
	p.b.primary(30 * time.Second)
	p.ofB.tells(journal.Takeover)
	p.swap()
	p.ofA.forget()
}
