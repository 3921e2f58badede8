package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newNetns moves the test (its goroutine, locked to its thread) into a network namespace of its own, which
// is gone with the test. Needs root.
func newNetns(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer unix.Close(home)
		if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
			t.Errorf("back to the first network namespace: %v", err)
			return // the locked thread ends with the goroutine
		}
		runtime.UnlockOSThread()
	})
	if err := SetEvents(1); err != nil {
		t.Fatal(err)
	}
}

// host is a machine beside the test's own: a named network namespace.
type host struct{ name string }

func newHost(t testing.TB, name string) host {
	t.Helper()
	h := host{fmt.Sprintf("ctsync-k%d-%s", os.Getpid(), name)}
	run(t, "ip", "netns", "add", h.name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", h.name) })
	h.ip(t, "link set lo up")
	return h
}

// ip runs ip(8) there.
func (h host) ip(t testing.TB, args string) {
	t.Helper()
	run(t, "ip", append([]string{"-n", h.name}, strings.Fields(args)...)...)
}

// do runs f on a thread that is there, and waits for it. Sockets that f opens stay there.
func (h host) do(t testing.TB, f func() error) {
	t.Helper()
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ended <- h.enter(f)
	}()
	if err := <-ended; err != nil {
		t.Fatalf("%s: %v", h.name, err)
	}
}

func (h host) enter(f func() error) error {
	fd, err := unix.Open("/run/netns/"+h.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return err
	}
	return f()
}

// ip runs ip(8) in the test's network namespace.
func ip(t testing.TB, args string) {
	t.Helper()
	run(t, "ip", strings.Fields(args)...)
}

// run runs a command in the test's network namespace, since its thread makes the child, and returns what it
// wrote to its standard output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// nft loads a ruleset.
func nft(t testing.TB, ruleset string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// natTables register conntrack and the NAT hooks of both families.
const natTables = `
table inet t {
	chain f { type filter hook forward priority 0; ct state established accept; }
	chain n { type nat hook postrouting priority 100; }
}`

// labelTable is what makes the kernel keep labels.
const labelTable = `
table inet l {
	chain c { type filter hook forward priority 1; ct label 1 accept; }
}`
