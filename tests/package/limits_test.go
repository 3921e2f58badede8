//go:build deb

package deb

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestLimits: the limits of ctsync.service are in force, and a daemon that wants more memory is begun anew.
func TestLimits(t *testing.T) { testLimits(t, bookworm) }

func TestNextDebianLimits(t *testing.T) { testLimits(t, trixie) }

func testLimits(t *testing.T, r *root) {
	t.Parallel()
	m := r.bootWithMemory(t)
	m.must(interfaces)
	m.must(install + m.put(built(t, older)))
	m.write("/etc/ctsync/ctsync.conf", configuration)
	m.must("systemctl restart ctsync")
	m.says(group("pids", "pids.max"), "256")
	m.must("test $(( ($(" + memoryLimit + ") >> 20) - $(awk '/^MemTotal/ { print int($2 * 0.75 / 1024) }' /proc/meminfo) )) -eq 0")
	m.fails("systemd-run --quiet --pipe --wait --collect --property=TasksMax=5 " + forks)
	m.must("systemd-run --quiet --pipe --wait --collect " + forks)

	const dropIn = "/run/systemd/system/ctsync.service.d"
	m.must("mkdir -p " + dropIn)
	m.write(dropIn+"/memory.conf", "[Service]\nMemoryMax=3M\n")
	m.must("systemctl daemon-reload; systemctl restart ctsync & sleep 0.1")
	m.soon("test $(systemctl show -p NRestarts --value ctsync) -ge 2 && journalctl -u ctsync | grep -Eq 'oom-kill|status=9/KILL'", 20*time.Second)
	m.must("rm -r " + dropIn + " && systemctl daemon-reload")
	m.soon("systemctl is-active ctsync && ctsync status | grep -q alone", 20*time.Second)
}

// forks begins eight processes at a time, and fails if it may not.
const forks = `perl -e 'my $e = 0; for (1..8) { my $p = fork(); if (!defined $p) { $e = 3; last } if (!$p) { sleep 1; exit 0 } } 1 while wait() > 0; exit $e'`

// group prints a file of the service's control group, of whichever version.
func group(controller, file string) string {
	return "cat /sys/fs/cgroup/system.slice/ctsync.service/" + file + " 2>/dev/null || cat /sys/fs/cgroup/" + controller + "/system.slice/ctsync.service/" + file
}

var memoryLimit = "{ " + group("memory", "memory.max") + " 2>/dev/null || " + group("memory", "memory.limit_in_bytes") + "; }"

// bootWithMemory boots a machine that has the controllers of memory and of tasks. Where this machine has them in hierarchies of version
// 1 they cannot be in that of version 2, and systemd is told to take the former, which it does not like any more.
func (r *root) bootWithMemory(t *testing.T) *machine {
	t.Helper()
	if has, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); strings.Contains(string(has), "memory") {
		return r.boot(t, "limits")
	}
	m := r.bootBy(t, startOld, "", "limits", "--", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0")
	m.must("for c in memory pids; do mount -o remount,bind,rw /sys/fs/cgroup/$c; done; systemctl daemon-reexec") // nspawn gives them to be read only
	return m
}
