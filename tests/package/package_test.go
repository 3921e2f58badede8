//go:build deb

package deb

import (
	"strings"
	"testing"
	"time"

	"ctsync/internal/journal"
)

// configuration is the smallest one. The interfaces are veths to nowhere.
const configuration = `failover-mechanism vrrp sync-group VG
interface eth2
`

// keepalived is a node that becomes MASTER within half a second, alone as it is.
const keepalived = `global_defs {
	router_id fw-a
	vrrp_version 3
	script_user root
	enable_script_security
	vrrp_notify_fifo /run/ctsync/notify.fifo ctsync ctsync
}
vrrp_sync_group VG {
	group {
		VI
	}
}
vrrp_instance VI {
	state BACKUP
	interface eth0
	virtual_router_id 51
	priority 150
	advert_int 0.1
	virtual_ipaddress {
		192.0.2.1/25
	}
}
`

const interfaces = `for i in eth0 eth1 eth2; do ip link add $i type veth peer name ${i}p && ip link set $i up && ip link set ${i}p up; done
	ip address add 192.0.2.2/25 dev eth0; ip address add 10.0.0.2/24 dev eth1; ip address add 192.0.2.129/30 dev eth2
	nft 'add table inet t; add chain inet t f { type filter hook forward priority 0; }; add rule inet t f ct state established accept'`

// install installs a package whose path follows, and keeps what the operator wrote.
const install = "apt-get install -y --no-install-recommends --allow-downgrades -o Dpkg::Options::=--force-confdef "

// examples is where the package puts them.
const examples = "/usr/share/doc/ctsync/examples/"

// role is what the node says of itself.
func (m *machine) role(want string, within time.Duration) {
	m.t.Helper()
	m.soon("ctsync status --output json | grep -Eq '\"role\": *\""+want+"\"'", within)
}

// step is one thing that happens to a machine.
type step struct {
	name string
	do   func(m *machine)
}

// live runs steps, each on what the one before left, until one fails.
func (m *machine) live(steps ...step) {
	outer := m.t
	defer func() { m.t = outer }()
	for _, s := range steps {
		if !outer.Run(s.name, func(t *testing.T) { m.t = t; s.do(m) }) {
			return
		}
	}
}

// TestLife is the package's life on one machine.
func TestLife(t *testing.T) {
	t.Parallel()
	m := bookworm.boot(t, "life", confinable...)
	m.must(interfaces)
	first, second := m.put(built(t, older)), m.put(built(t, newer))
	m.must(install + first)
	m.live(step{"waits until configured", waits},
		step{"starts", starts},
		step{"is confined", confined},
		step{"keepalived drives it", driven},
		step{"keepalived first", keepalivedFirst},
		step{"keepalived dies", keepalivedDies},
		step{"reloads", reloads},
		step{"tells", tells},
		step{"misconfigured", misconfigured},
		step{"hangs", hangs},
		step{"upgrade", func(m *machine) { upgrade(m, install+second) }},
		step{"downgrade", func(m *machine) { upgrade(m, install+first) }},
		step{"stays disabled", func(m *machine) {
			m.must("systemctl disable ctsync && " + install + second)
			m.says("systemctl is-enabled ctsync", "disabled")
		}},
		step{"remove and purge", removed})
}

// TestNextDebian: the same package on the Debian after, whose keepalived is 2.3.3 and whose systemd is 257.
func TestNextDebian(t *testing.T) {
	t.Parallel()
	m := trixie.boot(t, "next", confinable...)
	m.must(interfaces)
	first, second := m.put(built(t, older)), m.put(built(t, newer))
	m.must(install + first)
	m.must("keepalived --version 2>&1 | grep -q 'Keepalived v2.3.3'")
	m.live(step{"waits until configured", waits},
		step{"starts", starts},
		step{"is confined", confined},
		step{"keepalived drives it", driven},
		step{"keepalived first", keepalivedFirst},
		step{"keepalived dies", keepalivedDies},
		step{"reloads", reloads},
		step{"tells", tells},
		step{"misconfigured", misconfigured},
		step{"upgrade", func(m *machine) { upgrade(m, install+second) }},
		step{"downgrade", func(m *machine) { upgrade(m, install+first) }},
		step{"examples", exampleFiles},
		step{"remove and purge", removed})
}

func waits(m *machine) {
	m.says("systemctl is-enabled ctsync", "enabled")
	m.says("systemctl show -p ActiveState,Result --value ctsync | tr '\\n' ' '", "exec-condition inactive")
	m.says("systemctl --failed --quiet", "")
	m.must("journalctl -u ctsync | grep -q 'not configured yet: write /etc/ctsync/ctsync.conf'")
	m.must("ctsync status 2>&1 | grep -q 'nothing but comments' && ctsync check | grep -q not-configured")
	m.says("sysctl -n net.netfilter.nf_conntrack_events", "1")
	m.says("stat -c '%U:%G %a' /run/ctsync /run/ctsync-track | tr '\\n' ' '", "ctsync:ctsync 755 ctsync:ctsync 755")
	m.says("getent passwd ctsync | cut -d: -f6,7", "/run/ctsync:/usr/sbin/nologin")
	m.must("journalctl --list-catalog | grep -q 'ctsync: This firewall has taken over'")
	m.must("bash -c 'source /usr/share/bash-completion/bash_completion; source /usr/share/bash-completion/completions/ctsync; complete -p ctsync'")
}

func starts(m *machine) {
	m.write("/etc/ctsync/ctsync.conf", configuration)
	m.must("ctsync config check")
	m.must("systemctl restart ctsync") // returns when it is READY
	m.says("systemctl is-active ctsync", "active")
	m.must("systemctl show -p StatusText --value ctsync | grep -E '^standby, 0 peers, '")
	m.says("ps -o user= -p $(systemctl show -p MainPID --value ctsync)", "ctsync")
	m.says("stat -c '%U:%G %a %F' /run/ctsync/notify.fifo", "ctsync:ctsync 600 fifo")
	m.must("journalctl -u ctsync | grep -q started")
	m.says("journalctl -u ctsync -p err -q", "")
	m.must("systemctl stop ctsync && systemctl start ctsync")
	m.says("systemctl --failed --quiet", "")
}

func driven(m *machine) {
	m.write("/etc/keepalived/keepalived.conf", keepalived)
	m.must("systemctl restart keepalived")
	m.role("active", 5*time.Second)
	m.says("stat -c '%U:%G %a %F' /run/ctsync/notify.fifo", "ctsync:ctsync 600 fifo")
	m.soon("grep -qx 200 /run/ctsync-track/ready", 5*time.Second) // it forwards, and nobody else has everything
	m.must("systemctl list-dependencies --before --plain ctsync | grep -q keepalived.service")
	// A daemon that is restarted while keepalived has nothing to say is still active afterwards.
	m.must("systemctl restart ctsync")
	m.role("active", 5*time.Second)
	m.soon("grep -qx 200 /run/ctsync-track/ready", time.Second)
	m.must("systemctl reload keepalived && sleep 0.5")
	m.role("active", 2*time.Second)
}

// keepalivedFirst: the order is not what it should be, and nothing is lost. keepalived makes the FIFO for the user
// that its configuration names, or for root if it names none.
func keepalivedFirst(m *machine) {
	for _, owner := range []string{"ctsync", "root"} {
		m.write("/etc/keepalived/keepalived.conf", keepalived)
		if owner == "root" {
			m.must("sed -i 's/notify.fifo ctsync ctsync/notify.fifo/' /etc/keepalived/keepalived.conf")
		}
		m.must("systemctl stop ctsync keepalived; rm -f /run/ctsync/notify.fifo && systemctl start keepalived")
		m.says("stat -c '%U:%G %a %F' /run/ctsync/notify.fifo", owner+":"+owner+" 600 fifo")
		m.soon("ip address show dev eth0 | grep -q 192.0.2.1/25", 5*time.Second)
		m.must("systemctl start ctsync")
		m.says("stat -c '%U:%G %a %F' /run/ctsync/notify.fifo", "ctsync:ctsync 600 fifo")
		m.role("active", 5*time.Second)
	}
	m.must("journalctl -u ctsync | grep -q 'made the FIFO /run/ctsync/notify.fifo for itself'")
	m.write("/etc/keepalived/keepalived.conf", keepalived)
	m.must("systemctl reload keepalived && sleep 0.5")
	m.role("active", 2*time.Second)
}

// keepalivedDies: it is seen, although ctsync is not root.
func keepalivedDies(m *machine) {
	m.must("kill -9 $(pidof keepalived)")
	m.role("standby", 5*time.Second)
	m.must("systemctl restart keepalived")
	m.role("active", 5*time.Second)
}

// tells: the journal has a field and an explanation for what has happened so far.
func tells(m *machine) {
	for _, e := range []journal.Event{journal.Started, journal.Takeover, journal.SteppedBack, journal.KeepalivedGone,
		journal.Unauthenticated, journal.Configured, journal.ConfigurationRefused, journal.Stopping} {
		m.must("journalctl -u ctsync CTSYNC_EVENT=" + string(e) + " MESSAGE_ID=" + journal.MessageID(e) + " -o json | grep -q MESSAGE")
	}
	m.must("nc -lU /run/conntrackd.ctl >/dev/null 2>&1 & echo $! >/run/rival.pid; sleep 0.3")
	m.fails("systemctl restart ctsync")
	m.must("kill $(cat /run/rival.pid); rm -f /run/conntrackd.ctl")
	m.says("journalctl -u ctsync -p err -o cat CTSYNC_EVENT="+string(journal.NotStarted)+" | head -n 1 | cut -d: -f1", "nothing is started (error daemon")
	m.role("active", 10*time.Second) // systemd goes on trying
	out := m.must("journalctl -x -u ctsync --no-pager")
	for _, want := range []string{"Subject: This firewall has taken over", "Subject: keepalived is gone", "nonsense", "Subject: ctsync could not begin"} {
		if !strings.Contains(out, want) {
			m.t.Errorf("the journal does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "@CTSYNC") {
		m.t.Errorf("an explanation has a place that is not filled:\n%s", out)
	}
	m.must("ctsync show log conntrack-sync | grep -q 'keepalived is gone'")
}

// upgrade keeps what the operator wrote and goes on.
func upgrade(m *machine, install string) {
	m.must("conntrack -I -p tcp -s 10.0.0.9 -d 198.51.100.9 --sport 4000 --dport 80 --state ESTABLISHED --timeout 600")
	m.must(install)
	m.says("cat /etc/ctsync/ctsync.conf", strings.TrimSpace(configuration))
	m.says("systemctl is-active ctsync", "active")
	m.role("active", 5*time.Second)
	m.must("conntrack -L -s 10.0.0.9 | grep -q ESTABLISHED && conntrack -D -s 10.0.0.9")
}

func removed(m *machine) {
	m.must("apt-get remove -y ctsync")
	m.says("systemctl is-active ctsync", "inactive")
	m.says("cat /etc/ctsync/ctsync.conf", strings.TrimSpace(configuration))
	// The key file is the operator's: see README.Debian.
	m.write("/etc/ctsync/key", "0123\n")
	if out := m.must("apt-get purge -y ctsync"); !strings.Contains(out, "directory '/etc/ctsync' not empty so not removed") {
		m.t.Errorf("the operator is not told that something is left:\n%s", out)
	}
	m.says("ls -d /etc/ctsync/* && getent passwd ctsync | cut -d: -f1", "/etc/ctsync/key\nctsync")
	m.must("rm -r /etc/ctsync")
	m.says("find / -xdev -name '*ctsync*' ! -path '/proc/*' ! -path '/root/*' ! -path '/var/log/*' ! -path '/var/lib/apt/*' "+
		"! -path '/var/cache/*' ! -path '/tmp/*' ! -path '/run/log/*' 2>/dev/null; ls -d /run/ctsync* 2>/dev/null", "")
	m.says("systemctl list-unit-files --no-legend 'ctsync*'", "")
}

// TestExamples: keepalived and ctsync take the examples that the package brings.
func TestExamples(t *testing.T) {
	t.Parallel()
	m := bookworm.boot(t, "examples")
	m.must(interfaces)
	m.must(install + m.put(built(t, older)))
	m.write("/etc/ctsync/ctsync.conf", configuration)
	exampleFiles(m)
}

func exampleFiles(m *machine) {
	m.must("ctsync config check " + examples + "ctsync.conf && ctsync config check " + examples + "pacemaker/ctsync.conf")
	m.must("nft -c -f " + examples + "nftables.nft")
	for _, name := range []string{"fifo", "readiness", "dbus", "scripts"} {
		since := m.must("date '+%F %T'")
		m.must("cp " + examples + "keepalived/" + name + ".conf /etc/keepalived/keepalived.conf && systemctl restart keepalived && sleep 0.3")
		m.says("systemctl is-active keepalived", "active")
		if out, _ := m.try("journalctl -u keepalived --since='" + since + "' --no-pager | grep -Ei 'unknown|error|unable|ignoring|security|disabling'"); out != "" {
			m.t.Errorf("%s: keepalived complains:\n%s", name, out)
		}
	}
	// With scripts, and without script security, keepalived is not what the check of a reload lets pass, not even at its start.
	m.must("sed -i '/enable_script_security/d' /etc/keepalived/keepalived.conf")
	m.fails("systemctl restart keepalived")
	m.must("ctsync check | grep -q reload-stops && systemctl reset-failed keepalived")
	m.must("grep -q 'notify.fifo ctsync ctsync$' " + examples + "keepalived/fifo.conf " + examples + "keepalived/readiness.conf")
}
