package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// NAT is how the LAN is translated to the WAN VIP.
type NAT uint8

const (
	// SNAT names the VIP and a range of ports, chosen at random; the nodes have public addresses too.
	SNAT NAT = iota
	// Masquerade takes the interface's address: the VIP is the only public one, the nodes' own are private.
	Masquerade
)

func (n NAT) String() string { return [...]string{"snat", "masquerade"}[n] }

// Options of a lab. The zero value is a pair with SNAT, without a daemon.
type Options struct {
	NAT        NAT
	Daemon     Kind          // nil: None
	Drivers    Drivers       // how keepalived talks to the daemon; the zero value is the daemon's default
	SecondSync bool          // sync1 beside sync0
	IPv6       bool          // both families: two more instances, every second conversation over IPv6
	Advert     time.Duration // keepalived's advert_int; 0: 100 ms
}

// Lab is a running pair. One goroutine at a time uses its verbs.
type Lab struct {
	R1, R2                   *Router
	Client, Server, Switches *Namespace

	options Options
	name    string // prefix of all its namespaces
	folder  string // files of its processes
	guard   io.Closer
	gone    chan struct{} // closed when the guard has removed everything
	closing sync.Once
	relays  map[int]*relay // by sync link, where one is rough
}

// Router is one firewall of the pair.
type Router struct {
	*Namespace
	Name     string // r1 or r2
	Priority int    // VRRP priority; r1 is preferred
	Folder   string // files of this router's processes
	Peer     *Router
	Daemon   Daemon

	Keepalived *Process
	Bus        *Process // dbus-daemon, where the drivers want one
	lab        *Lab
}

// guardScript waits until its standard input ends, which is when this process closes it or dies, and removes
// the processes and namespaces whose names it was given after the folder.
const guardScript = `cat >/dev/null
folder=$1; shift
for n; do for p in $(ip netns pids "$n" 2>/dev/null); do kill -9 "$p" 2>/dev/null; done; done
for n; do ip netns delete "$n" 2>/dev/null; done
rm -rf "$folder"`

var labs atomic.Int32 // labs that this process made

// New makes the namespaces, links and firewalls. Nothing runs in them yet: see Start. What it made it removes
// when it fails.
func New(o Options) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: making network namespaces needs root: run this as root (sudo make test, sudo make demo)")
	}
	for _, tool := range []string{"ip", "nft", "conntrack", "keepalived"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("lab: %w: run tests/install.sh", err)
		}
	}
	if o.Daemon == nil {
		o.Daemon = None
	}
	if o.Advert == 0 {
		o.Advert = 100 * time.Millisecond
	}
	removeStale()
	l := &Lab{options: o, relays: map[int]*relay{}, name: fmt.Sprintf("%s%d-%d-", namePrefix, os.Getpid(), labs.Add(1))}
	if err := l.build(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func removeStale() {
	for _, name := range staleNames() {
		if n, err := openNamespace(name); err == nil {
			_ = n.kill9()
			n.close()
		}
		_ = exec.Command("ip", "netns", "delete", name).Run()
	}
}

func (l *Lab) build() error {
	folder, err := os.MkdirTemp("", "ctlab-")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	l.folder = folder
	if err := l.startGuard(); err != nil {
		return err
	}
	l.R1 = &Router{Name: "r1", Priority: 150, lab: l}
	l.R2 = &Router{Name: "r2", Priority: 100, lab: l, Peer: l.R1}
	l.R1.Peer = l.R2
	for _, step := range []func() error{l.makeNamespaces, l.makeLinks, l.makeFirewalls, l.makeDaemons} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) startGuard() error {
	args := []string{"-c", guardScript, "guard", l.folder}
	for _, short := range roles {
		args = append(args, l.name+short)
	}
	guard := exec.Command("sh", args...)
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := guard.StdinPipe()
	if err != nil {
		return fmt.Errorf("lab: guard: %w", err)
	}
	if err := guard.Start(); err != nil {
		return fmt.Errorf("lab: guard: %w", err)
	}
	l.guard, l.gone = pipe, make(chan struct{})
	go func() {
		_ = guard.Wait()
		close(l.gone)
	}()
	return nil
}

// Close removes the lab: every process in it, its namespaces, its files. It may be called more than once, and
// while another goroutine is inside a verb, which then fails.
func (l *Lab) Close() { l.closing.Do(l.close) }

func (l *Lab) close() {
	for number := range l.relays {
		_, _ = l.SmoothSync(number)
	}
	if l.guard == nil {
		os.RemoveAll(l.folder)
		return
	}
	_ = l.guard.Close()
	<-l.gone
	for _, n := range l.namespaces() {
		n.close()
	}
}

// namespaces are those that are open.
func (l *Lab) namespaces() []*Namespace {
	var all []*Namespace
	for _, n := range []*Namespace{l.R1.namespace(), l.R2.namespace(), l.Client, l.Server, l.Switches} {
		if n != nil {
			all = append(all, n)
		}
	}
	return all
}

func (r *Router) namespace() *Namespace {
	if r == nil {
		return nil
	}
	return r.Namespace
}

// Routers are both, the preferred one first.
func (l *Lab) Routers() []*Router { return []*Router{l.R1, l.R2} }

func (l *Lab) makeDaemons() error {
	for _, r := range l.Routers() {
		r.Folder = filepath.Join(l.folder, r.Name)
		if err := os.Mkdir(r.Folder, 0o755); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		r.Daemon = l.options.Daemon(r)
	}
	return nil
}

// Start is Boot, and waits until r2 is synced.
func (l *Lab) Start() error {
	if err := l.Boot(); err != nil {
		return err
	}
	return l.R2.WaitSynced(10 * time.Second)
}

// Boot starts the daemons, then keepalived on both routers, and waits until r1 is master.
func (l *Lab) Boot() error {
	for _, r := range l.Routers() {
		if err := r.startBus(); err != nil {
			return err
		}
		if err := r.Daemon.Start(); err != nil {
			return err
		}
	}
	for _, r := range l.Routers() {
		if err := r.StartKeepalived(); err != nil {
			return err
		}
	}
	return l.WaitMaster(l.R1, 10*time.Second)
}

// TB is the part of *testing.T that Run needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatal(args ...any)
	Logf(format string, args ...any)
	Failed() bool
}

// Run is New and Start for a test: it fails the test when either does, removes the lab at the test's end, and
// shows what the daemons said last where the test failed.
func Run(t TB, o Options) *Lab {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", l.Tail(30))
		}
	})
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

// Tail is what the daemons and keepalived on both routers said last.
func (l *Lab) Tail(lines int) string {
	var b strings.Builder
	for _, r := range l.Routers() {
		for _, p := range []*Process{r.Daemon.Process(), r.Keepalived} {
			if p != nil {
				fmt.Fprintf(&b, "%s:%s\n", p.Name, p.Tail(lines))
			}
		}
	}
	return b.String()
}
