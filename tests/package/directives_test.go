//go:build deb

package deb

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// confinable is what a machine is let do so that the directives have something to prevent: nspawn forbids it otherwise.
var confinable = []string{"--capability=CAP_SYSLOG,CAP_BPF", "--system-call-filter=@clock @keyring bpf"}

// directive is one of ctsync.service, with what it must prevent. Without it root can do that here, which is tried first: a probe that
// cannot succeed proves nothing. control is what a unit has instead of it, where that is not nothing.
type directive struct{ names, forbidden, control string }

var directives = []directive{
	{"ProtectSystem", "touch /usr/probe", ""},
	{"ProtectHome", "ls /root/probe", ""},
	{"PrivateTmp", "ls /tmp/probe", ""},
	{"PrivateDevices", "ls /dev/net/tun", ""},
	{"DevicePolicy", perl("open(my $f, '<', '/opt/tun')", "the TUN device, wherever its node is"), ""},
	{"ProtectClock", systemCall("adjtimex: it only reads here", `159, my $x = "\0" x 208`), ""},
	{"ProtectControlGroups", "mkdir /sys/fs/cgroup/probe && rmdir /sys/fs/cgroup/probe", ""},
	{"ProtectHostname", "hostname probe && test $(cat /proc/sys/kernel/hostname) = probe", ""},
	{"ProtectKernelLogs", systemCall("syslog(SYSLOG_ACTION_SIZE_BUFFER)", "103, 10, 0, 0"), ""},
	{"ProtectKernelModules", "ls /usr/lib/modules/probe", ""},
	{"ProtectKernelTunables", "echo 1 >/proc/sys/net/ipv4/ip_forward", ""},
	{"ReadOnlyPaths", "touch /run/probe", ""},
	{"KeyringMode", sessionKeyring + " | cmp -s - /opt/keyring", "KeyringMode=inherit"},
	{"LockPersonality", "setarch --addr-no-randomize true", ""},
	{"MemoryDenyWriteExecute", systemCall("mmap", "9, 0, 4096, 7, 0x22, -1, 0"), ""},
	{"RestrictAddressFamilies", systemCall("socket(AF_PACKET)", "41, 17, 3, 0"), ""},
	{"RestrictNamespaces", "unshare --net true", ""},
	{"RestrictRealtime", "chrt --fifo 1 true", ""},
	{"RestrictSUIDSGID", "touch /root/probe && chmod u+s /root/probe", ""},
	{"SystemCallArchitectures", "/opt/32bit", ""},
	{"SystemCallFilter SystemCallErrorNumber", "mount -t tmpfs none /mnt && umount /mnt", ""},
	{"UMask", "touch /root/umask && test $(stat -c %a /root/umask) != 600", ""},
	{"NoNewPrivileges", "grep -q '^NoNewPrivs:.*0' /proc/self/status", ""},
	{"CapabilityBoundingSet", "chown nobody /root/probe", ""},
	{"ProtectProc User", "ls /proc/1/status", ""},
}

// elsewhere are the other settings of the unit's [Service], and what shows them.
var elsewhere = map[string]string{
	"Type": "starts", "ExecCondition": "waits", "ExecStart": "starts", "ExecStartPre": "keepalivedFirst", "ExecStartPost": "driven", "ExecStopPost": "misconfigured",
	"ExecReload": "reloads", "Restart": "hangs", "RestartSec": "hangs", "RestartPreventExitStatus": "misconfigured", "WatchdogSec": "hangs",
	"TimeoutStartSec": "starts", "TimeoutStopSec": "hangs", "TimeoutAbortSec": "hangs",
	"RuntimeDirectory": "starts", "RuntimeDirectoryPreserve": "keepalivedFirst", "ReadWritePaths": "confined", "Group": "starts",
	"AmbientCapabilities": "confined", "LimitNOFILE": "confined", "Nice": "confined",
	"MemoryMax": "TestLimits", "TasksMax": "TestLimits", "RemoveIPC": "ipcGoes", "OOMScoreAdjust": "outlivesOthers",
}

func perl(expression, comment string) string {
	return fmt.Sprintf("perl -e 'exit(!(%s)) # %s'", strings.ReplaceAll(expression, "'", `'"'"'`), comment)
}

// systemCall tries a system call by its number on amd64.
func systemCall(name, arguments string) string { return perl("syscall("+arguments+") != -1", name) }

// sessionKeyring prints the serial number of the keyring that a process has by its session (keyctl: KEYCTL_GET_KEYRING_ID).
const sessionKeyring = "perl -e 'print syscall(250, 0, -3, 0)'"

// program32 makes a program of 32-bit x86 that does nothing but exit(0): an ELF header, one program header, six bytes of code.
const program32 = `perl -e 'print pack("A4C12", "\x7fELF", 1, 1, 1), pack("vvVVVVVvvvvvv", 2, 3, 1, 0x08048054, 52, 0, 0, 52, 32, 1, 40, 0, 0),
	pack("V8", 1, 0, 0x08048000, 0x08048000, 93, 93, 5, 4096), "\x31\xdb\x8d\x43\x01\xcd\x80"' >/opt/32bit && chmod 755 /opt/32bit`

// directivesHold tries each directive on its own, as the unit that is installed has it.
func (m *machine) directivesHold() {
	m.must("mkdir -p /usr/lib/modules/probe; touch /root/probe /tmp/probe; hostname >/root/hostname; rm -f /root/umask /opt/tun; mknod /opt/tun c 10 200; " + program32 +
		"; systemd-run --quiet --pipe --wait --collect --property=KeyringMode=inherit " + sessionKeyring + " >/opt/keyring")
	unit := m.must("cat /lib/systemd/system/ctsync.service")
	m.accountsForAll(unit)
	for _, d := range directives {
		with, without := d.properties(m, unit)
		if out, err := m.probe(d.forbidden, without); err != nil {
			m.t.Errorf("%s: without it %q fails as well: %s", d.names, d.forbidden, out)
		}
		m.must("rm -f /root/umask")
		if out, err := m.probe(d.forbidden, with); err == nil {
			m.t.Errorf("%s: it does not keep one from %q: %s", d.names, d.forbidden, out)
		}
	}
	m.must("rm -rf /usr/lib/modules/probe")
}

// properties are systemd-run's for a probe with the directive and one without it.
func (d directive) properties(m *machine, unit string) (with, without string) {
	for _, name := range strings.Fields(d.names) {
		lines := regexp.MustCompile(`(?m)^`+name+`=.*$`).FindAllString(unit, -1)
		if len(lines) == 0 {
			m.t.Errorf("ctsync.service has no %s", name)
		}
		for _, line := range lines {
			with += " --property='" + line + "'"
			if name == "User" {
				without += " --property='" + line + "'"
			}
		}
	}
	if d.control != "" {
		without += " --property=" + d.control
	}
	return with, without
}

// probe runs a command as a unit of its own.
func (m *machine) probe(script, properties string) (string, error) {
	m.write("/opt/probe.sh", script+"\n")
	return m.try("systemd-run --quiet --pipe --wait --collect" + properties + " sh /opt/probe.sh; e=$?; hostname $(cat /root/hostname); exit $e")
}

// accountsForAll: there is no setting of the unit that nothing shows.
func (m *machine) accountsForAll(unit string) {
	shown := map[string]bool{}
	for _, d := range directives {
		for _, name := range strings.Fields(d.names) {
			shown[name] = true
		}
	}
	_, service, _ := strings.Cut(unit, "[Service]")
	service, _, _ = strings.Cut(service, "[Install]")
	for _, found := range regexp.MustCompile(`(?m)^([A-Z]\w*)=`).FindAllStringSubmatch(service, -1) {
		if name := found[1]; !shown[name] && elsewhere[name] == "" {
			m.t.Errorf("nothing shows that %s of ctsync.service holds", name)
		}
	}
}

// ipcGoes: what the user of the service leaves in shared memory goes with the service (RemoveIPC).
func (m *machine) ipcGoes() {
	const leave = `runuser -u ctsync -- perl -e 'exit !defined shmget(0x4242, 4096, 01600)' && ipcs -m | grep -q ctsync`
	const dropIn = "/run/systemd/system/ctsync.service.d"
	m.must("mkdir -p " + dropIn)
	m.write(dropIn+"/ipc.conf", "[Service]\nRemoveIPC=no\n")
	m.must("systemctl daemon-reload && systemctl restart ctsync && " + leave + " && systemctl restart ctsync && ipcs -m | grep -q ctsync")
	m.must("rm -r " + dropIn + " && systemctl daemon-reload && systemctl restart ctsync && systemctl stop ctsync && systemctl start ctsync")
	m.says("ipcs -m | grep -c ctsync", "0")
}

// outlivesOthers: the kernel chooses others first when memory is short.
func (m *machine) outlivesOthers(t *testing.T) {
	if !mayLowerOOMScores(t) {
		t.Skip("this machine's root has no CAP_SYS_RESOURCE: nobody here can lower an oom_score_adj, and systemd leaves it")
	}
	m.says("cat /proc/$(systemctl show -p MainPID --value ctsync)/oom_score_adj", "-500")
}

func mayLowerOOMScores(t *testing.T) bool {
	has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("prctl", err))
	}
	return has == 1
}
