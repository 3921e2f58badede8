package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namePrefix begins the name of every namespace of every lab; a pid follows it.
const namePrefix = "ctlab-"

const namespaceFolder = "/run/netns"

// Namespace is one network namespace. Safe for concurrent use.
type Namespace struct {
	Name   string // as `ip netns` knows it
	handle netns.NsHandle
	links  *netlink.Handle
}

// openNamespace opens a namespace that exists.
func openNamespace(name string) (*Namespace, error) {
	handle, err := netns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("lab: open namespace %s: %w", name, err)
	}
	links, err := netlink.NewHandleAt(handle)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("lab: netlink in %s: %w", name, err)
	}
	return &Namespace{Name: name, handle: handle, links: links}, nil
}

func (n *Namespace) close() {
	n.links.Close()
	n.handle.Close()
}

// Do runs f on a thread that is inside the namespace. Sockets that f opens and processes that it starts stay
// there. The thread ends with f, so that no other goroutine ever runs on it.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go n.enter(f, done)
	return <-done
}

func (n *Namespace) enter(f func() error, done chan<- error) {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with this goroutine
	if unix.Gettid() == unix.Getpid() {
		// The process's first thread cannot end, and it speaks for the process in /proc: hold it here while
		// another does the work.
		done <- n.Do(f)
		runtime.UnlockOSThread()
		return
	}
	if err := unix.Setns(int(n.handle), unix.CLONE_NEWNET); err != nil {
		done <- fmt.Errorf("lab: enter namespace %s: %w", n.Name, err)
		return
	}
	done <- f()
}

// Run runs a command inside the namespace to its end and returns its standard output. An error carries what
// the command wrote to standard error.
func (n *Namespace) Run(command string, args ...string) (string, error) {
	return n.RunInput("", command, args...)
}

// RunInput is Run with a text on the command's standard input.
func (n *Namespace) RunInput(input, command string, args ...string) (string, error) {
	cmd := exec.Command(command, args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := n.Do(cmd.Start); err != nil {
		return "", fmt.Errorf("lab: %s in %s: %w", command, n.Name, err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("lab: %s %s in %s: %w: %s",
			command, strings.Join(args, " "), n.Name, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// sysctl writes one value below /proc/sys, which shows the namespace of the thread that opens it.
func (n *Namespace) sysctl(key, value string) error {
	path := filepath.Join("/proc/sys", key)
	err := n.Do(func() error { return os.WriteFile(path, []byte(value), 0o644) })
	if err != nil {
		return fmt.Errorf("lab: set %s in %s: %w", key, n.Name, err)
	}
	return nil
}

// setLink sets an interface up or down.
func (n *Namespace) setLink(name string, up bool) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("lab: link %s in %s: %w", name, n.Name, err)
	}
	set := n.links.LinkSetDown
	if up {
		set = n.links.LinkSetUp
	}
	if err := set(link); err != nil {
		return fmt.Errorf("lab: set link %s in %s: %w", name, n.Name, err)
	}
	return nil
}

// processes are the pids whose namespace this is, apart from our own.
func (n *Namespace) processes() ([]int, error) {
	var self, other unix.Stat_t
	if err := unix.Fstat(int(n.handle), &self); err != nil {
		return nil, fmt.Errorf("lab: namespace %s: %w", n.Name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("lab: processes of %s: %w", n.Name, err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &other) == nil && other.Ino == self.Ino {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// kill9 kills every process in the namespace, those included that are born meanwhile.
func (n *Namespace) kill9() error {
	for {
		pids, err := n.processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("lab: kill %d in %s: %w", pid, n.Name, err)
			}
		}
		runtime.Gosched()
	}
}

// staleNames are the namespaces of labs whose process is gone.
func staleNames() []string {
	entries, _ := os.ReadDir(namespaceFolder)
	var stale []string
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), namePrefix)
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if ours && err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			stale = append(stale, e.Name())
		}
	}
	return stale
}
