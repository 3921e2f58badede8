package fidelity

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
)

// group is the failover group of both nodes.
const group = "G"

// node is a firewall: a network namespace, and a daemon in it.
type node struct {
	t       testing.TB
	name    string
	space   string // the namespace's name
	handle  int    // and its file
	control string
	config  string
	journal string
	process *os.Process
	writer  *kernel.Writer
}

// pair is two nodes, a and b, and the link between them.
type pair struct{ a, b *node }

// rules that every node has: tracking, NAT hooks and labels.
const rules = `
table inet t {
	chain pre { type filter hook prerouting priority 0; ct state established accept; }
	chain local { type filter hook output priority 0; ct state established accept; }
	chain nat_post { type nat hook postrouting priority 100; }
	chain nat_out { type nat hook output priority -100; }
}`

const labelRule = `
table inet l {
	chain c { type filter hook forward priority 1; ct label 1 accept; }
}`

// newPair makes two nodes with those rules; standby is the word of the configuration.
func newPair(t testing.TB, standby, rulesA, rulesB string) *pair {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	p := &pair{a: newNode(t, "a", standby, rulesA), b: newNode(t, "b", standby, rulesB)}
	run(t, "ip", "-n", p.a.space, "link", "add", "sync0", "type", "veth", "peer", "name", "sync0", "netns", p.b.space)
	for i, n := range []*node{p.a, p.b} {
		run(t, "ip", "-n", n.space, "addr", "add", fmt.Sprintf("192.168.77.%d/24", i+1), "dev", "sync0")
		run(t, "ip", "-n", n.space, "link", "set", "sync0", "up")
	}
	return p
}

// start starts both daemons; a leads.
func (p *pair) start() *pair {
	p.a.t.Helper()
	p.a.startDaemon()
	p.b.startDaemon()
	p.lead(p.a)
	return p
}

// made counts the nodes, for their names.
var made atomic.Int32

// tidy removes the namespaces of runs that were killed, with the daemons in them.
func tidy() {
	names, _ := filepath.Glob("/run/netns/ctfid-*")
	for _, name := range names {
		var pid, n int
		var which string
		_, err := fmt.Sscanf(strings.ReplaceAll(filepath.Base(name), "-", " "), "ctfid %d %d %s", &pid, &n, &which)
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			left, _ := exec.Command("ip", "netns", "pids", filepath.Base(name)).Output()
			for _, daemon := range strings.Fields(string(left)) {
				if pid, err := strconv.Atoi(daemon); err == nil {
					unix.Kill(pid, unix.SIGKILL)
				}
			}
			exec.Command("ip", "netns", "del", filepath.Base(name)).Run()
		}
	}
}

func newNode(t testing.TB, name, standby, rules string) *node {
	t.Helper()
	n := &node{t: t, name: name, space: fmt.Sprintf("ctfid-%d-%d-%s", os.Getpid(), made.Add(1), name)}
	folder := t.TempDir()
	n.control, n.config = filepath.Join(folder, "control"), filepath.Join(folder, "ctsync.conf")
	n.journal = filepath.Join(folder, "journal")
	run(t, "ip", "netns", "add", n.space)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", n.space).Run() })
	fd, err := unix.Open("/run/netns/"+n.space, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.handle = fd
	t.Cleanup(func() { unix.Close(fd) })
	run(t, "ip", "-n", n.space, "link", "set", "lo", "up")
	n.feed(rules, "nft", "-f", "-")
	// Events from the first flow on: with the default, 2, one that was made while nobody listened on the whole
	// machine never tells of a change, and only the daemon's comparison with the table finds it.
	for _, key := range []string{"acct", "timestamp", "events"} {
		n.run("sysctl", "-qw", "net.netfilter.nf_conntrack_"+key+"=1")
	}
	conf := "node-name " + name + "\nfailover-mechanism cluster group " + group + "\ninterface sync0\n" +
		"notify-fifo off\ndbus off\nstandby " + standby + "\ntrack-file " + filepath.Join(folder, "ready") + "\n"
	if err := os.WriteFile(n.config, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	n.do(func() (err error) {
		n.writer, err = kernel.OpenWriter()
		return err
	})
	t.Cleanup(n.writer.Close)
	return n
}

// configure adds a line to the configuration of a daemon that is not started yet.
func (n *node) configure(line string) {
	n.t.Helper()
	text, err := os.ReadFile(n.config)
	if err == nil {
		err = os.WriteFile(n.config, append(text, line+"\n"...), 0o600)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// synced waits until n, as standby, is proven in sync.
func (n *node) synced() {
	n.t.Helper()
	n.ctsync("wait-synced")
}

// program is the daemon under test.
func program(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CTSYNC")
	if path == "" {
		path = "../../build/ctsync"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the program under test: %v: run make build, or set CTSYNC to it", err)
	}
	return path
}

func (n *node) startDaemon() {
	n.t.Helper()
	cmd := exec.Command(program(n.t), "daemon", "--config", n.config, "--control", n.control)
	log, err := os.Create(n.journal)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	n.do(cmd.Start)
	n.process = cmd.Process
	n.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if cmd.Wait() != nil || n.t.Failed() {
			text, _ := os.ReadFile(n.journal)
			n.t.Logf("journal of %s:\n%s", n.name, text)
		}
	})
	n.await("the daemon to answer", func() bool {
		_, err := n.try(program(n.t), "cluster", "status", group, "--control", n.control)
		return answered(err)
	})
}

// answered: 8 and 0 are the exit codes of a cluster monitor that was answered.
func answered(err error) bool {
	exit, failed := err.(*exec.ExitError)
	return err == nil || failed && exit.ExitCode() == 8
}

// ctsync runs one of the program's commands.
func (n *node) ctsync(words ...string) string {
	n.t.Helper()
	return n.run(program(n.t), append(words, "--control", n.control)...)
}

// lead makes n the primary and the other the secondary.
func (p *pair) lead(n *node) {
	n.t.Helper()
	other := p.a
	if n == p.a {
		other = p.b
	}
	other.ctsync("cluster", "stop", group)
	n.ctsync("cluster", "start", group)
	n.await("the takeover", func() bool {
		_, err := n.try(program(n.t), "cluster", "status", group, "--control", n.control)
		exit, ok := err.(*exec.ExitError)
		return ok && exit.ExitCode() == 8
	})
	other.synced()
}

// do runs f on a thread that is in the namespace. Sockets and processes that f makes stay there.
func (n *node) do(f func() error) {
	n.t.Helper()
	if err := n.within(f); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
}

func (n *node) within(f func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Setns(n.handle, unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		ended <- f()
	}()
	return <-ended
}

// try runs a command in the namespace.
func (n *node) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out, faults strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := n.within(cmd.Start); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String() + faults.String(), err
	}
	return out.String(), nil
}

func (n *node) run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.try(name, args...)
	if err != nil {
		n.t.Fatalf("%s: %s %s: %v\n%s", n.name, name, strings.Join(args, " "), err, out)
	}
	return out
}

// feed runs a command with a text on its standard input.
func (n *node) feed(input, name string, args ...string) {
	n.t.Helper()
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	n.do(cmd.Start)
	if err := cmd.Wait(); err != nil {
		n.t.Fatalf("%s: %s: %v\n%s", n.name, name, err, out.String())
	}
}

// write carries out one operation on each flow; what the kernel refuses fails the test.
func (n *node) write(op flow.OpKind, flows ...flow.Flow) {
	n.t.Helper()
	ops := make([]flow.Op, len(flows))
	for i := range flows {
		ops[i] = flow.Op{Kind: op, Tag: uint64(i), Flow: flows[i]}
	}
	for _, r := range n.writer.Do(ops, nil) {
		if r.Errno != 0 {
			n.t.Fatalf("%s: operation %d on %v: %v", n.name, op, flows[r.Tag].Key, r.Errno)
		}
	}
}

// await waits until ok.
func (n *node) await(what string, ok func() bool) {
	n.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("%s: waited for %s", n.name, what)
		}
	}
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
