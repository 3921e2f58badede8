//go:build deb

package deb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a booted Debian. It has no network but what the test gives it.
type machine struct {
	t      *testing.T
	name   string
	host   string // its own name
	root   *root
	number int    // its host part of addresses
	run    string // its folder
	leader int    // its process 1, as seen from here
	nspawn *exec.Cmd
	done   chan struct{} // closed when it is off
	log    bytes.Buffer
}

// start mounts a control group hierarchy of version 2 whatever the host has, lays an overlay over the root file
// system, and becomes nspawn.
const start = `
	umount -R -l /sys/fs/cgroup 2>/dev/null || true
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mkdir -p /sys/fs/cgroup/$NAME
	echo $$ >/sys/fs/cgroup/$NAME/cgroup.procs
	echo +memory +pids >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
` + become

// startOld leaves the hierarchies of version 1 as they are: where a host has its memory controller there, version 2 has none.
const startOld = `
	export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0
	for c in memory pids systemd; do mkdir -p /sys/fs/cgroup/$c/$NAME; echo $$ >/sys/fs/cgroup/$c/$NAME/cgroup.procs; done
` + become

const become = `
	mkdir -p /run/systemd/nspawn
	mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
	mount -t overlay overlay -o lowerdir=$ROOT,upperdir=$RUN/upper,workdir=$RUN/work $RUN/merged
	exec systemd-nspawn --quiet --register=no --keep-unit --machine=$NAME --hostname=$HOST \
		--directory=$RUN/merged --boot --private-network "$@"`

// boot boots a machine, which is gone when the test ends. nspawn are further options, for networks.
func (r *root) boot(t *testing.T, host string, nspawn ...string) *machine {
	t.Helper()
	return r.bootBy(t, start, "", host, nspawn...)
}

// bootIn boots a machine whose cables end in a network namespace, where empty is this one.
func (r *root) bootIn(t *testing.T, ns, host string, nspawn ...string) *machine {
	t.Helper()
	return r.bootBy(t, start, ns, host, nspawn...)
}

func (r *root) bootBy(t *testing.T, start, ns, host string, nspawn ...string) *machine {
	t.Helper()
	base := r.path(t)
	m := &machine{t: t, root: r, host: host, name: fmt.Sprintf("ctsync-%d-%s-%s", os.Getpid(), t.Name(), host), run: filepath.Join(scratch, t.Name()+"-"+host)}
	for _, dir := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(m.run, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"unshare", "--mount", "--propagation", "private", "bash", "-euc", start, "bash"}, nspawn...)
	if ns != "" {
		args = append([]string{"nsenter", "--net=/run/netns/" + ns}, args...)
	}
	m.nspawn = exec.Command(args[0], args[1:]...)
	m.nspawn.Env = append(os.Environ(), "NAME="+m.name, "HOST="+host, "RUN="+m.run, "ROOT="+base,
		"SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_LOG_LEVEL=warning")
	m.nspawn.Stdout, m.nspawn.Stderr = &m.log, &m.log
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	m.done = make(chan struct{})
	begun := make(chan error)
	go func() {
		defer close(m.done)
		runtime.LockOSThread() // the signal comes at the end of the thread that started it, not of the process
		err := m.nspawn.Start()
		begun <- err
		if err == nil {
			_ = m.nspawn.Wait()
		}
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.halt)
	m.await("process 1", time.Minute, m.findLeader)
	m.await("the boot", time.Minute, func() bool {
		out, _ := m.try("systemctl is-system-running")
		return strings.TrimSpace(out) == "running" || strings.TrimSpace(out) == "degraded"
	})
	return m
}

// findLeader looks for the child of nspawn that is systemd.
func (m *machine) findLeader() bool {
	pid := m.nspawn.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, child := range strings.Fields(string(children)) {
		if comm, _ := os.ReadFile("/proc/" + child + "/comm"); string(comm) == "systemd\n" {
			_, err := fmt.Sscan(child, &m.leader)
			return err == nil
		}
	}
	return false
}

// halt ends the machine: politely, and after ten seconds not.
func (m *machine) halt() {
	if off := m.off(); m.t.Failed() && m.leader != 0 && !off {
		out, _ := m.try("journalctl -b --no-pager -o short-precise -u ctsync -n 100; journalctl -b --no-pager -u keepalived -u corosync -u pacemaker -n 100; systemctl status ctsync keepalived --no-pager -n 0; ctsync status")
		m.t.Logf("the journal of %s:\n%s", m.name, out)
	}
	_ = m.nspawn.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		victim := m.leader // its process 1: nspawn ends after it, but not it after nspawn
		if victim == 0 {
			victim = m.nspawn.Process.Pid
		}
		_ = syscall.Kill(victim, syscall.SIGKILL)
		<-m.done
	}
	m.removeGroups()
}

// hierarchies are where control groups of version 2 are, on hosts with and without version 1; oldHierarchies those of version 1.
var (
	hierarchies    = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
	oldHierarchies = []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd"}
)

func (m *machine) off() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// removeGroups removes the machine's control groups, which must be empty: killed processes take their time to go.
func (m *machine) removeGroups() {
	for _, hierarchy := range slices.Concat(hierarchies, oldHierarchies) {
		group := filepath.Join(hierarchy, m.name)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if _, err := os.Stat(group); err != nil {
				break
			}
			_ = exec.Command("find", group, "-depth", "-type", "d", "-delete").Run()
		}
	}
}

// try runs a shell command in the machine, as root.
func (m *machine) try(script string) (string, error) {
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(m.leader), "--all", "--", "env", "-i", "HOME=/root", "TERM=dumb",
		"LC_ALL=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
		"SYSTEMD_PAGER=", "sh", "-c", script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs a command that has to succeed, and gives its output without the space around it.
func (m *machine) must(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(out)
}

// says checks a command's output.
func (m *machine) says(script, want string) {
	m.t.Helper()
	out, _ := m.try(script)
	if got := strings.TrimSpace(out); got != want {
		m.t.Errorf("%s\n got: %s\nwant: %s", script, got, want)
	}
}

// fails runs a command that must not succeed.
func (m *machine) fails(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err == nil {
		m.t.Errorf("%s succeeded:\n%s", script, out)
	}
	return out
}

// soon waits until a command succeeds.
func (m *machine) soon(script string, within time.Duration) {
	m.t.Helper()
	m.await(script, within, func() bool { _, err := m.try(script); return err == nil })
}

func (m *machine) await(what string, within time.Duration, done func() bool) {
	m.t.Helper()
	for end := time.Now().Add(within); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("%s: not within %v: %s", what, within, tail(m.log.String()))
		}
	}
}

// tail is the end of a machine's console.
func tail(s string) string { return s[max(0, len(s)-1000):] }

// write writes a file of the machine's.
func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root%s", m.leader, path), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// put copies a file into the machine's /root, and gives its path there.
func (m *machine) put(file string) string {
	m.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	path := "/root/" + filepath.Base(file)
	m.write(path, string(b))
	return path
}
