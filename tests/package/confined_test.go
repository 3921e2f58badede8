//go:build deb

package deb

import (
	"regexp"
	"strconv"
	"testing"
)

var exposure = regexp.MustCompile(`Overall exposure level for ctsync\.service: ([0-9.]+)`)

// confined: systemd's own verdict is good, the running process has what it is said to have, and every directive holds.
func confined(m *machine) {
	out := m.must("systemd-analyze security --no-pager ctsync.service")
	found := exposure.FindStringSubmatch(out)
	if found == nil {
		m.t.Fatalf("no verdict:\n%s", out)
	}
	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > 1.5 {
		m.t.Errorf("exposed by %s, at most 1.5 is allowed:\n%s", found[1], out)
	}
	m.t.Logf("systemd-analyze security: %s", found[1])
	const pid = "$(systemctl show -p MainPID --value ctsync)"
	m.says("grep -E '^(CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/"+pid+"/status | tr '\\t\\n' '  '",
		"CapEff: 0000000000001000 CapBnd: 0000000000001000 CapAmb: 0000000000001000 NoNewPrivs: 1 Seccomp: 2")
	m.must("journalctl -b -u ctsync -o cat | grep -q 'conntrack events come through a ring'") // which it could not make
	m.says("awk '/^Max open files/ { print $4, $5 }' /proc/"+pid+"/limits; ps -o ni= -p "+pid+" | tr -d ' '", "4096 4096\n-10")
	m.must("touch /tmp/outside")
	inside := "nsenter -t " + pid + " -m -- sh -c "
	for _, forbidden := range []string{"touch /usr/x", "touch /etc/ctsync/x", "touch /var/x", "touch /run/x", "echo 0 >/proc/sys/net/ipv4/ip_forward",
		"touch /sys/fs/cgroup/x", "test -e /dev/net/tun", "ls /home/* /root/*", "test -e /tmp/outside"} {
		m.fails(inside + "'" + forbidden + "'")
	}
	m.must(inside + "'touch /run/ctsync/x /run/ctsync-track/x && rm /run/ctsync/x /run/ctsync-track/x'")
	m.directivesHold()
	m.ipcGoes()
	m.t.Run("OOMScoreAdjust", func(t *testing.T) { m.outlivesOthers(t) })
}
