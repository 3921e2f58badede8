//go:build deb

package deb

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var exposure = regexp.MustCompile(`Overall exposure level for ctsync\.service: ([0-9.]+)`)

// confined: systemd's own verdict is good, the running process has what it is said to have, and every directive that can be
// shown here holds.
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
	m.says("awk '/^Max open files/ { print $4, $5 }' /proc/"+pid+"/limits; ps -o ni= -p "+pid+" | tr -d ' '", "4096 4096\n-10")
	m.must("touch /tmp/outside")
	inside := "nsenter -t " + pid + " -m -- sh -c "
	for _, forbidden := range []string{"touch /usr/x", "touch /etc/ctsync/x", "touch /var/x", "touch /run/x", "echo 0 >/proc/sys/net/ipv4/ip_forward",
		"touch /sys/fs/cgroup/x", "test -e /dev/net/tun", "ls /home/* /root/*", "test -e /tmp/outside"} {
		m.fails(inside + "'" + forbidden + "'")
	}
	m.must(inside + "'touch /run/ctsync/x /run/ctsync-track/x && rm /run/ctsync/x /run/ctsync-track/x'")
	m.directivesHold()
}

// directives of ctsync.service, each with what it must prevent. Without it root can do that here, which is tried first: a probe
// that cannot succeed proves nothing. Others, such as ProtectClock= and
// OOMScoreAdjust=, are about what a container does not allow anyway.
var directives = []struct{ names, forbidden string }{
	{"ProtectSystem", "touch /usr/probe"},
	{"ProtectHome", "ls /root/probe"},
	{"PrivateTmp", "ls /tmp/probe"},
	{"PrivateDevices", "ls /dev/net/tun"},
	{"ProtectControlGroups", "mkdir /sys/fs/cgroup/probe && rmdir /sys/fs/cgroup/probe"},
	{"ProtectHostname", "hostname probe && test $(cat /proc/sys/kernel/hostname) = probe"},
	{"ProtectKernelModules", "ls /usr/lib/modules/probe"},
	{"ProtectKernelTunables", "echo 1 >/proc/sys/net/ipv4/ip_forward"},
	{"ReadOnlyPaths", "touch /run/probe"},
	{"LockPersonality", "setarch --addr-no-randomize true"},
	{"MemoryDenyWriteExecute", perl("mmap", "9, 0, 4096, 7, 0x22, -1, 0")},
	{"RestrictAddressFamilies", perl("socket(AF_PACKET)", "41, 17, 3, 0")},
	{"RestrictNamespaces", "unshare --net true"},
	{"RestrictSUIDSGID", "touch /root/probe && chmod u+s /root/probe"},
	{"SystemCallFilter SystemCallErrorNumber", "mount -t tmpfs none /mnt && umount /mnt"},
	{"UMask", "touch /root/umask && test $(stat -c %a /root/umask) != 600"},
	{"NoNewPrivileges", "grep -q '^NoNewPrivs:.*0' /proc/self/status"},
	{"CapabilityBoundingSet", "chown nobody /root/probe"},
	{"ProtectProc User", "ls /proc/1/status"},
}

// perl tries a system call by its number on amd64.
func perl(name, arguments string) string {
	return fmt.Sprintf("perl -e 'exit(syscall(%s) == -1) # %s'", arguments, name)
}

// directivesHold tries each directive on its own, as the unit that is installed has it.
func (m *machine) directivesHold() {
	m.must("mkdir -p /usr/lib/modules/probe; touch /root/probe /tmp/probe; userdel probe 2>/dev/null; hostname >/root/hostname; rm -f /root/umask")
	unit := m.must("cat /lib/systemd/system/ctsync.service")
	for _, d := range directives {
		run := func(properties string) (string, error) {
			m.write("/root/probe.sh", d.forbidden+"\n")
			return m.try("cp /root/probe.sh /opt/probe.sh; systemd-run --quiet --pipe --wait --collect" + properties + " sh /opt/probe.sh; e=$?; hostname $(cat /root/hostname); exit $e")
		}
		control, properties := "", ""
		for _, name := range strings.Fields(d.names) {
			lines := regexp.MustCompile(`(?m)^`+name+`=.*$`).FindAllString(unit, -1)
			if len(lines) == 0 {
				m.t.Errorf("ctsync.service has no %s", name)
			}
			for _, line := range lines {
				properties += " --property='" + line + "'"
				if name == "User" {
					control += " --property='" + line + "'"
				}
			}
		}
		if out, err := run(control); err != nil {
			m.t.Errorf("%s: without it %q fails as well: %s", d.names, d.forbidden, out)
		}
		m.must("rm -f /root/umask")
		if out, err := run(properties); err == nil {
			m.t.Errorf("%s: it does not keep one from %q: %s", d.names, d.forbidden, out)
		}
	}
	m.must("rm -rf /usr/lib/modules/probe")
}
