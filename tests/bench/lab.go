package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ctsync/internal/kernel"
)

// lab is two routers with a cable between them for the sync link, and the ends of a client's and a server's cable
// to the first router:
//
//	outside: c0 ---- lan0 [a] wan0 ---- s0 :outside
//	                      sync0
//	                        |
//	                      sync0
//	                      [b]
type lab struct {
	a, b, outside string   // namespaces
	more          []string // of a segment
	folder        string
	started       []*process
}

const namePrefix = "ctbench-"

// newLab also removes what a killed run left.
func newLab() (*lab, error) {
	removeStale()
	pid := strconv.Itoa(os.Getpid())
	l := &lab{a: namePrefix + pid + "-a", b: namePrefix + pid + "-b", outside: namePrefix + pid + "-o"}
	var err error
	if l.folder, err = os.MkdirTemp("", namePrefix+pid+"-"); err != nil {
		return nil, err
	}
	if err := l.build(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) build() error {
	for _, ns := range l.namespaces() {
		if err := run("ip", "netns", "add", ns); err != nil {
			return err
		}
	}
	cables := [][4]string{{l.a, "sync0", l.b, "sync0"}, {l.a, "lan0", l.outside, "c0"}, {l.a, "wan0", l.outside, "s0"}}
	for _, c := range cables {
		if err := run("ip", "link", "add", c[1], "netns", c[0], "type", "veth", "peer", "name", c[3], "netns", c[2]); err != nil {
			return err
		}
		for _, end := range [][]string{c[:2], c[2:]} {
			if err := run("ip", "-n", end[0], "link", "set", end[1], "up"); err != nil {
				return err
			}
		}
	}
	for i, ns := range []string{l.a, l.b} {
		if err := l.router(ns, i+1); err != nil {
			return err
		}
	}
	return l.roads()
}

// rules: translation, and no tracking of the sync link, as every manual asks for.
const rules = `
table ip nat {
	chain post { type nat hook postrouting priority 100; oifname "wan0" ip saddr 10.0.0.0/8 snat to 198.51.100.1; }
}
table inet raw {
	chain pre { type filter hook prerouting priority -300; iifname "sync0" notrack; }
	chain out { type filter hook output priority -300; oifname "sync0" notrack; }
}`

func (l *lab) router(ns string, number int) error {
	rulesFile := filepath.Join(l.folder, "rules")
	if err := os.WriteFile(rulesFile, []byte(rules), 0o600); err != nil {
		return err
	}
	commands := []string{
		"ip link set lo up",
		fmt.Sprintf("ip address add 10.200.0.%d/24 dev sync0", number),
		"nft -f " + rulesFile,
		"sysctl -q net.netfilter.nf_conntrack_events=1 net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0",
	}
	return l.commands(ns, commands)
}

// roads leads the first router's packets to the outside, whose hardware addresses it need not ask for.
func (l *lab) roads() error {
	c0, err := l.hardware(l.outside, "c0")
	if err != nil {
		return err
	}
	s0, err := l.hardware(l.outside, "s0")
	if err != nil {
		return err
	}
	return l.commands(l.a, []string{
		"ip address add 10.0.0.1/24 dev lan0",
		"ip address add 192.0.2.1/24 dev wan0",
		"ip neighbour add 10.0.0.2 lladdr " + c0 + " dev lan0 nud permanent",
		"ip neighbour add 192.0.2.2 lladdr " + s0 + " dev wan0 nud permanent",
		"ip route add 10.0.0.0/8 via 10.0.0.2",
		"ip route add default via 192.0.2.2",
		"sysctl -q net.ipv4.conf.lan0.rp_filter=0 net.ipv4.conf.wan0.rp_filter=0",
	})
}

func (l *lab) commands(ns string, lines []string) error {
	for _, line := range lines {
		if err := run("ip", append([]string{"netns", "exec", ns}, strings.Fields(line)...)...); err != nil {
			return err
		}
	}
	return nil
}

// hardware is the hardware address of an interface.
func (l *lab) hardware(ns, name string) (mac string, err error) {
	err = inside(ns, func() error {
		ifi, err := net.InterfaceByName(name)
		if err == nil {
			mac = ifi.HardwareAddr.String()
		}
		return err
	})
	return mac, err
}

func (l *lab) namespaces() []string { return append([]string{l.a, l.b, l.outside}, l.more...) }

func (l *lab) close() {
	for _, p := range l.started {
		p.kill()
	}
	for _, ns := range l.namespaces() {
		_ = run("ip", "netns", "delete", ns)
	}
	os.RemoveAll(l.folder)
}

// flush empties the tables of both routers.
func (l *lab) flush() error {
	for _, ns := range []string{l.a, l.b} {
		if err := run("ip", "netns", "exec", ns, "conntrack", "-F"); err != nil {
			return err
		}
	}
	return nil
}

// count is how many entries a namespace's table has.
func count(ns string) (n int, err error) {
	err = inside(ns, func() error { _, n, err = kernel.Limits(); return err })
	return n, err
}

// inside runs f on a thread in the namespace, which ends with it.
func inside(ns string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		if unix.Gettid() == unix.Getpid() {
			done <- inside(ns, f) // the first thread speaks for the process in /proc: another does it
			runtime.UnlockOSThread()
			return
		}
		fd, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err != nil {
			done <- fmt.Errorf("bench: enter namespace %s: %w", ns, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// removeStale kills and removes what is left of labs whose process is gone.
func removeStale() {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), namePrefix)
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if !ours || err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			continue
		}
		out, _ := exec.Command("ip", "netns", "pids", e.Name()).Output()
		for _, p := range strings.Fields(string(out)) {
			if n, err := strconv.Atoi(p); err == nil {
				_ = unix.Kill(n, unix.SIGKILL)
			}
		}
		_ = run("ip", "netns", "delete", e.Name())
	}
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), namePrefix+"*"))
	for _, f := range folders {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f), namePrefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			os.RemoveAll(f)
		}
	}
}

func run(command string, args ...string) error {
	out, err := exec.Command(command, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("bench: %s %s: %w: %s", command, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
