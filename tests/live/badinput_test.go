package live

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/tests/lab"
)

// steady is a pair in sync under traffic whose nodes must not be impressed by what a test does to them.
type steady struct {
	*lab.Lab
	traffic *lab.Traffic
}

func steadyPair(t *testing.T, lines ...string) steady {
	t.Helper()
	l := run(t, lab.Options{}, lines...)
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	return steady{l, traffic}
}

// unimpressed fails the test unless roles, tables and connections are as they were.
func (s steady) unimpressed(t *testing.T, by string) {
	t.Helper()
	for r, want := range map[*lab.Router]string{s.R1: "active", s.R2: "standby"} {
		if got := state(t, r).Role; got != want || !r.Daemon.Process().Alive() {
			t.Errorf("after %s: %s is %q, want %s", by, r.Name, got, want)
		}
	}
	bothSynced(t, s.Lab, 5*time.Second)
	check(t, by, s.traffic)
	equal(t, s.Lab, by)
	if p := state(t, s.R2).Peers; len(p) > 0 && p[0].Restarts > 0 {
		t.Errorf("after %s: r2 read the flows of r1 again", by)
	}
}

// rubbish is bytes that nobody meant.
func rubbish(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestBadLines(t *testing.T) {
	t.Parallel()
	s := steadyPair(t)
	for _, r := range s.Routers() {
		f, err := os.OpenFile(filepath.Join(r.Folder, "notify.fifo"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, line := range []string{
			"\n", "GROUP\n", "GROUP VG MASTER 0\n", "GROUP \"VG\" MASTER\n", "GROUP \"VG\" MONSTER 0\n", "GROUP \"VG\" MASTER 256\n",
			"GROUP \"VG\" MASTER -1\n", "GROUP \"VG\" BACKUP 0 0\n", "GROUP \"OTHER\" MASTER 0\n", "GROUP \"OTHER\" FAULT 0\n",
			"INSTANCE \"VI_OTHER\" FAULT 100\n", "INSTANCE \"VI_OTHER\" MASTER 100\n", "VS [1.2.3.4]:80 UP\n",
			"group \"VG\" fault 0\n", strings.Repeat("x", 4000) + "\n", string(rubbish(3000)) + "\n",
		} {
			if _, err := f.WriteString(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, "the journal to tell", 3*time.Second, func() bool {
		return strings.Contains(said(s.R1, time.Time{}), "is skipped") && strings.Contains(said(s.R2, time.Time{}), "is skipped")
	})
	s.unimpressed(t, "malformed lines")
}

func TestBadScriptArguments(t *testing.T) {
	t.Parallel()
	s := steadyPair(t)
	before := state(t, s.R2).Activity.Notices
	for _, words := range []string{
		"", "GROUP", "GROUP VG", "GROUP VG MONSTER", "THING VG MASTER 0", "GROUP VG MASTER 999", "GROUP VG MASTER x", "GROUP VG MASTER 0 more",
		"INSTANCE VI_WAN", "MASTER VG 0 0",
	} {
		if out, code := ask(t, s.R2, append([]string{"notify"}, strings.Fields(words)...)...); code == 0 {
			t.Errorf("notify %s: taken: %s", words, out)
		}
	}
	if after := state(t, s.R2).Activity.Notices; after != before {
		t.Errorf("%d notices came of it", after-before)
	}
	await(t, "the journal to tell, as nobody sees what a script prints", time.Second, func() bool {
		return strings.Contains(said(s.R2, time.Time{}), "notify script are not understood")
	})
	s.unimpressed(t, "malformed script arguments")
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := steadyPair(t)
	path := filepath.Join(s.R1.Folder, "control")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: mode %v, %v", info.Mode(), err)
	}
	requests := [][]byte{
		{}, []byte("\n"), []byte("{}\n"), []byte("{\"verb\":[]}\n"), []byte("{\"verb\":[\"fly\"]}\n"), []byte("[1,2]\n"),
		[]byte("{\"verb\":[\"flush\",\"everything\"]}\n"), []byte("{\"verb\":[\"commit\",\"now\"]}\n"),
		[]byte("{\"verb\":[\"show\",\"conntrack-sync\",\"statistics\",\"of\",\"all\"]}\n"),
		[]byte("{\"verb\":\"flush\"}\n"), []byte("{\"verb\":[\"reset conntrack-sync statistics x\"]}\n"), bytes.Repeat([]byte("a"), 1<<20), rubbish(5000), []byte("{\"verb\":[\"flu"),
	}
	for i, request := range requests {
		answer := say(t, path, request)
		if len(request) > 1 && bytes.HasSuffix(request, []byte("\n")) && !refused(answer) {
			t.Errorf("request %d, %.60q, is answered by %q", i, request, answer)
		}
	}
	var open []net.Conn // clients that say nothing keep nobody else waiting
	for range 20 {
		if c, err := net.Dial("unix", path); err == nil {
			open = append(open, c)
		}
	}
	if _, code := ask(t, s.R1, "status"); code != 0 {
		t.Errorf("status among idle clients: exit code %d", code)
	}
	for _, c := range open {
		c.Close()
	}
	if n := state(t, s.R1).Internal.Active; n < small.TCP {
		t.Errorf("the internal cache has %d flows", n)
	}
	s.unimpressed(t, "malformed requests")
}

// say sends raw bytes to a control socket and gives the whole answer.
func say(t *testing.T, path string, request []byte) []byte {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(request)
	if !bytes.HasSuffix(request, []byte("\n")) { // one who hangs up does not want an answer
		_ = c.(*net.UnixConn).CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var answer bytes.Buffer
	_, _ = answer.ReadFrom(c)
	return answer.Bytes()
}

// refused says that an answer ends in a frame with an exit code that is not 0.
func refused(answer []byte) bool {
	n := len(answer)
	return n >= 9 && answer[n-9] == 'x' && !bytes.Equal(answer[n-4:], make([]byte, 4))
}

// Datagrams that are random, cut short, conntrackd's, or were there before, change nothing and are counted.
func TestBadDatagrams(t *testing.T) {
	t.Parallel()
	s := steadyPair(t)
	real := record(t, s.R2, 40)
	send := injector(t, s.R2)
	before := state(t, s.R1).Messages

	malformed := 0
	for _, d := range real[:4] {
		for n := 1; n < len(d); n++ {
			send(d[:n])
			malformed++
		}
		for i := range d {
			bent := bytes.Clone(d)
			bent[i] ^= byte(1 + rand.IntN(255))
			send(bent)
			malformed++
		}
	}
	for range 300 {
		send(rubbish(1 + rand.IntN(1400)))
		malformed++
	}
	for kind := range byte(16) { // conntrackd's: version 1, type, flags, length, sequence number
		send([]byte{0x10 | kind, 0x40, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		malformed++
	}
	for _, d := range real {
		for range 20 {
			send(d)
		}
	}
	after := state(t, s.R1).Messages
	if got := int(after.Malformed - before.Malformed); got < malformed*98/100 || got > malformed {
		t.Errorf("%d of %d malformed datagrams are counted, by reason: %v", got, malformed, after.Refused)
	}
	if after.Refused["conntrackd's datagram"] == 0 {
		t.Errorf("conntrackd's datagrams are not named: %v", after.Refused)
	}
	if lines := strings.Count(said(s.R1, time.Time{}), "refusing datagrams"); lines == 0 || lines > 12 {
		t.Errorf("%d lines of the journal about %d refused datagrams", lines, malformed)
	}
	s.unimpressed(t, "malformed datagrams")
}

// record gives so many datagrams as the router sends them on the sync link.
func record(t *testing.T, r *lab.Router, n int) (all [][]byte) {
	t.Helper()
	err := r.Do(func() error {
		const everything = 0x0300 // htons(ETH_P_ALL)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, everything)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		link, err := net.InterfaceByName(lab.Sync)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: link.Index}); err != nil {
			return err
		}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
		b := make([]byte, 2048)
		for len(all) < n {
			k, from, err := unix.Recvfrom(fd, b, 0)
			if err == unix.EINTR { // Go preempts its threads by signals
				continue
			}
			if err != nil {
				return fmt.Errorf("after %d datagrams: %w", len(all), err)
			}
			const headers = 20 + 8 // IPv4, UDP
			if l := from.(*unix.SockaddrLinklayer); l.Pkttype == unix.PACKET_OUTGOING && k > headers && b[9] == unix.IPPROTO_UDP {
				all = append(all, bytes.Clone(b[headers:k]))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// injector sends payloads to the group as the router would.
func injector(t *testing.T, r *lab.Router) func([]byte) {
	t.Helper()
	var c *net.UDPConn
	err := r.Do(func() (err error) {
		local := &net.UDPAddr{IP: r.SyncAddress(0).Addr().AsSlice()}
		c, err = net.DialUDP("udp4", local, &net.UDPAddr{IP: net.IPv4(225, 0, 0, 50), Port: 3780})
		if err != nil {
			return err
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		link, err := net.InterfaceByName(lab.Sync)
		if err != nil {
			return err
		}
		var set error
		err = raw.Control(func(fd uintptr) {
			set = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(link.Index)})
		})
		return errors.Join(err, set)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	n := 0
	return func(payload []byte) {
		if n++; n%50 == 0 {
			time.Sleep(2 * time.Millisecond) // no faster than the receiver's buffer is emptied
		}
		if _, err := c.Write(payload); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs the program in the router's namespace to its end and gives what it said and its exit code.
func start(t *testing.T, r *lab.Router, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(program(), args...)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, &out
	if err := r.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		return out.String(), -1 // it runs
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// A second daemon on the same control path is refused, and the first goes on.
func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	s := steadyPair(t)
	config, control := filepath.Join(s.R1.Folder, "ctsync.conf"), filepath.Join(s.R1.Folder, "control")
	out, code := start(t, s.R1, nil, "daemon", "--config", config, "--control", control)
	if code <= 0 || !strings.Contains(out, control) {
		t.Errorf("a second daemon: exit code %d, it says: %s", code, out)
	}
	s.unimpressed(t, "a second daemon")
}

// Where conntrackd runs ctsync refuses to, names it, and can be told to run all the same.
func TestBesideConntrackd(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	if err := l.R1.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	rival := lab.Conntrackd(l.R1)
	if err := rival.Start(); err != nil {
		t.Fatal(err)
	}
	defer rival.Kill9()
	config, control := filepath.Join(l.R1.Folder, "ctsync.conf"), filepath.Join(l.R1.Folder, "control")
	args := []string{"daemon", "--config", config, "--control", control}
	out, code := start(t, l.R1, nil, args...)
	if code <= 0 || !strings.Contains(out, "conntrackd runs in this network namespace") || !strings.Contains(out, "CTSYNC_BESIDE_CONNTRACKD") {
		t.Errorf("beside conntrackd: exit code %d, it says: %s", code, out)
	}
	if out, code := start(t, l.R1, []string{"CTSYNC_BESIDE_CONNTRACKD=1"}, args...); code != -1 {
		t.Errorf("beside conntrackd, allowed: exit code %d, it says: %s", code, out)
	}
}

// A broken configuration is refused with every fault at once: at start, and at a reload, where the old one goes on.
func TestBrokenConfiguration(t *testing.T) {
	t.Parallel()
	s := steadyPair(t)
	config := filepath.Join(s.R2.Folder, "ctsync.conf")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	broken := append(bytes.Clone(good), []byte("purge-timeout never\nfly high\n")...)

	other := filepath.Join(s.R2.Folder, "broken.conf")
	write(t, other, broken)
	out, code := start(t, s.R2, nil, "daemon", "--config", other, "--control", other+".ctl")
	if code <= 0 || !strings.Contains(out, "never") || !strings.Contains(out, "fly") {
		t.Errorf("a broken configuration at start: exit code %d, it says: %s", code, out)
	}
	for _, how := range []string{"file change", "file change and SIGHUP"} {
		since, word := time.Now(), fmt.Sprintf("fly%d", len(how))
		write(t, config, bytes.Replace(broken, []byte("fly"), []byte(word), 1))
		if how != "file change" {
			if err := syscall.Kill(s.R2.Daemon.Process().Pid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		await(t, how+": both faults in the journal", 3*time.Second, func() bool {
			text := said(s.R2, since)
			return strings.Contains(text, "refused") && strings.Contains(text, "never") && strings.Contains(text, word)
		})
		time.Sleep(500 * time.Millisecond) // a changed file is read when it has been quiet for a while
		if n := strings.Count(said(s.R2, since), word); n != 1 {
			t.Errorf("%s: told %d times", how, n)
		}
	}
	s.unimpressed(t, "a broken configuration")

	since := time.Now()
	write(t, config, append(bytes.Clone(good), []byte("log-level debug\npurge-timeout 7\n")...))
	await(t, "the change in the journal", 3*time.Second, func() bool {
		text := said(s.R2, since)
		return strings.Contains(text, "log-level") && strings.Contains(text, "next start") && strings.Contains(text, "purge-timeout")
	})
	if err := syscall.Kill(s.R2.Daemon.Process().Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.unimpressed(t, "a changed configuration")
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
