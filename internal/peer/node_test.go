package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A node is this test binary, run again inside a network namespace: a goroutine may move between threads, and
// only a process is in a namespace as a whole. It obeys one command a line and answers each with one report.
//
//	send N SIZE TO    N datagrams of SIZE bytes, the first two bytes a number (TO "-": every peer)
//	pause, resume     hold deliver, so that the receive buffer fills
//	flap N            take an address away N times; Delays: until WatchAddresses told
//	report            nothing else
const nodeVariable = "CTSYNC_PEER_TEST_NODE"

type report struct {
	Stats     []LinkStats
	Limit     int
	Addresses []netip.Addr
	Got       []int        // datagrams by link
	From      []netip.Addr // last sender by link
	Watched   []netip.Addr // as WatchAddresses said last
	WatchedAt []time.Time
	Delays    []time.Duration
}

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeVariable); text != "" {
		if err := runNode(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type received struct {
	sync.Mutex
	report
	hold sync.Mutex
}

func runNode(text string) error {
	var cfg Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	cfg.Log = func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t, err := Open(cfg)
	if err != nil {
		return err
	}
	got := &received{report: report{Got: make([]int, len(cfg.Links)), From: make([]netip.Addr, len(cfg.Links))}}
	var wg sync.WaitGroup
	wg.Go(func() { _ = t.Run(ctx, got.deliver) })
	wg.Go(func() { _ = WatchAddresses(ctx, got.watch) })
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		obey(t, got, in.Text())
		got.Lock()
		got.Stats, got.Limit, got.Addresses = t.Stats(), t.PayloadLimit(), t.Addresses()
		err = out.Encode(&got.report)
		got.Unlock()
		if err != nil {
			return err
		}
	}
	cancel()
	wg.Wait()
	return nil
}

func (r *received) deliver(batch []Datagram) {
	r.hold.Lock()
	defer r.hold.Unlock()
	r.Lock()
	defer r.Unlock()
	for _, d := range batch {
		r.Got[d.Link]++
		r.From[d.Link] = d.Addr.Addr()
	}
}

func (r *received) watch(addrs []netip.Addr) {
	r.Lock()
	defer r.Unlock()
	r.Watched = addrs
	r.WatchedAt = append(r.WatchedAt, time.Now())
}

func obey(t *Transport, r *received, command string) {
	var n, size int
	var to string
	switch {
	case command == "pause":
		r.hold.Lock()
	case command == "resume":
		r.hold.Unlock()
	case strings.HasPrefix(command, "flap "):
		_, _ = fmt.Sscanf(command, "flap %d", &n)
		for range n {
			r.flap()
		}
	case scan(command, &n, &size, &to):
		dest, _ := netip.ParseAddrPort(to)
		payload := make([]byte, size)
		for range n {
			t.Send(payload, dest)
		}
	}
}

// flap adds and removes an address, and measures how long after the kernel's answer the removal was told.
func (r *received) flap() {
	link, err := netlink.LinkByName("eth1")
	if err != nil {
		return
	}
	const text = "192.0.2.99/32"
	addr, _ := netlink.ParseAddr(text)
	await := func(want bool) {
		for range 5000 {
			r.Lock()
			have := contains(r.Watched, netip.MustParsePrefix(text).Addr())
			r.Unlock()
			if have == want {
				return
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	_ = netlink.AddrAdd(link, addr)
	await(true)
	_ = netlink.AddrDel(link, addr)
	began := time.Now()
	await(false)
	r.Lock()
	r.Delays = append(r.Delays, time.Since(began))
	r.Unlock()
}

func scan(command string, n, size *int, to *string) bool {
	_, err := fmt.Sscanf(command, "send %d %d %s", n, size, to)
	return err == nil
}

// node is the parent's end.
type node struct {
	t      *testing.T
	ns     string
	in     *json.Decoder
	out    interface{ Write([]byte) (int, error) }
	stderr *lines
	cmd    *exec.Cmd
}

// asleep stops both nodes while f changes their host.
func (n *node) asleep(other *node, f func()) {
	n.t.Helper()
	for _, p := range []*node{n, other} {
		if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			n.t.Fatal(err)
		}
		defer p.cmd.Process.Signal(syscall.SIGCONT)
	}
	f()
}

type lines struct {
	sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.Lock()
	defer l.Unlock()
	return l.text.String()
}

func startNode(t *testing.T, ns string, cfg Config) *node {
	t.Helper()
	cfg.Log = nil
	text, err := json.Marshal(struct {
		Links                     []Link
		Group                     netip.Addr
		Port                      uint16
		Listen                    []netip.Addr
		SendBuffer, ReceiveBuffer int
	}{cfg.Links, cfg.Group, cfg.Port, cfg.Listen, cfg.SendBuffer, cfg.ReceiveBuffer})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", ns, "/proc/self/exe")
	if exe, err := os.Executable(); err == nil {
		cmd.Args[4] = exe
	}
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	stderr := &lines{}
	cmd.Stderr = stderr
	out, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("node in %s said:\n%s", ns, stderr)
		}
	})
	return &node{t: t, ns: ns, in: json.NewDecoder(in), out: out, stderr: stderr, cmd: cmd}
}

func (n *node) ask(command string) report {
	n.t.Helper()
	if _, err := fmt.Fprintln(n.out, command); err != nil {
		n.t.Fatalf("node in %s: %v\n%s", n.ns, err, n.stderr)
	}
	var r report
	if err := n.in.Decode(&r); err != nil {
		n.t.Fatalf("node in %s: %v\n%s", n.ns, err, n.stderr)
	}
	return r
}

// wait polls until ok, and returns the report that was.
func (n *node) wait(what string, ok func(report) bool) report {
	n.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		r := n.ask("report")
		if ok(r) {
			return r
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("node in %s: not within 5 s: %s\n%+v", n.ns, what, r)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (n *node) up() {
	n.t.Helper()
	n.wait("all links up", func(r report) bool {
		for _, s := range r.Stats {
			if !s.Up {
				return false
			}
		}
		return true
	})
}

func (n *node) ip(args ...string) {
	n.t.Helper()
	run(n.t, append([]string{"ip", "-n", n.ns}, args...)...)
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

var namespaces atomic.Int32

// pair makes two network namespaces joined by one veth for each link, named eth1, eth2 and so on at both ends.
// Link i has 10.9.i.1 and fd09:i::1 in the first, .2 in the second.
func pair(t *testing.T, links int) (a, b string) {
	t.Helper()
	n := namespaces.Add(1)
	name := func(side string) string { return fmt.Sprintf("ctsp%d-%d%s", os.Getpid(), n, side) }
	a, b = name("a"), name("b")
	for _, ns := range []string{a, b} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	for i := 1; i <= links; i++ {
		join(t, a, b, i)
	}
	return a, b
}

func join(t *testing.T, a, b string, i int) {
	t.Helper()
	eth := fmt.Sprintf("eth%d", i)
	run(t, "ip", "-n", a, "link", "add", eth, "type", "veth", "peer", "name", eth, "netns", b)
	for host, ns := range map[int]string{1: a, 2: b} {
		address(t, ns, eth, i, host)
	}
}

func address(t *testing.T, ns, eth string, i, host int) {
	t.Helper()
	run(t, "ip", "-n", ns, "link", "set", eth, "up")
	run(t, "ip", "-n", ns, "addr", "add", fmt.Sprintf("10.9.%d.%d/24", i, host), "dev", eth)
	run(t, "ip", "-n", ns, "addr", "add", fmt.Sprintf("fd09:%d::%d/64", i, host), "dev", eth, "nodad")
}
