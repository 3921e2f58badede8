package dialogues

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/tests/lab"
)

// hurried are connections that send both ways as fast as the machine goes.
var hurried = []*kind{
	{name: "TCP, SNAT", nat: snat, port: 4061},
	{name: "TCP, no NAT", nat: plain, port: 4062},
	{name: "TCP IPv6, SNAT", nat: snat, ipv6: true, port: 4061},
	{name: "TCP IPv6, no NAT", nat: plain, ipv6: true, port: 4062},
}

// lossy takes one TCP packet in 200 away before the firewall has seen it, and another behind it: what arrives out of
// order is acknowledged selectively, and windows are full of holes at the moment of a takeover.
const lossy = `table inet lossy {
	chain pre {
		type filter hook prerouting priority -400;
		meta l4proto tcp numgen random mod 200 < 1 counter drop
	}
	chain post {
		type filter hook postrouting priority 400;
		meta l4proto tcp numgen random mod 200 < 1 counter drop
	}
}
`

// TestFullSpeed has connections send both ways without a pause, over a lossy path, through takeover and failback; with
// rules that let nothing begin anew and drop what the kernel's tracking takes for invalid. At the end each end has
// received what the other has sent.
func TestFullSpeed(t *testing.T) {
	for _, standby := range []string{"hot", "warm"} {
		t.Run(standby, func(t *testing.T) { hurry(t, standby) })
	}
}

// phase is how long the connections send before each change of roles and after the last.
func phase() time.Duration {
	if os.Getenv("LONG") != "" {
		return 5 * time.Second
	}
	return 500 * time.Millisecond
}

func hurry(t *testing.T, standby string) {
	l := lab.Run(t, lab.Options{IPv6: true, Daemon: lab.Ctsync("standby " + standby)})
	fs := &flows{talkers: &talkers{t: t, lab: l, wrong: map[string][]string{}}}
	fs.hosts()
	fs.load(true)
	for _, r := range l.Routers() {
		if _, err := r.RunInput(lossy, "nft", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	var all []*torrent
	for _, k := range hurried {
		s, err := fs.connection(k)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		t.Cleanup(func() { s.Close() })
		all = append(all, newTorrents(k.name, s)...)
	}
	fs.load(false)
	for _, x := range all {
		x.start()
	}
	began, hosts := time.Now(), []*lab.Namespace{l.Client, l.Server}
	before := [2]int{recoveries(t, hosts[0]), recoveries(t, hosts[1])}
	time.Sleep(phase())
	fs.takeover(l.R2, l.R1.StopKeepalived)
	time.Sleep(phase())
	fs.takeover(l.R1, l.R1.StartKeepalived)
	time.Sleep(phase())
	for _, x := range all {
		x.stop.Store(true)
	}
	took, sum := time.Since(began), int64(0)
	for _, x := range all {
		x.done.Wait()
		if err := x.verdict(); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		t.Logf("%-23s %5.2f Gbit/s, longest pause %4d ms, %6d segments again, windows to %5d KB, SACKs open in %3d of %3d looks", x.name,
			gigabits(x.got, took), x.pause.Milliseconds(), x.again, x.window>>10, x.sacked, x.looks)
		sum += x.got
	}
	var by [2]int
	for i, h := range hosts {
		if by[i] = recoveries(t, h) - before[i]; by[i] < len(all) {
			t.Errorf("%s recovered by SACK %d times only", h.Name, by[i])
		}
	}
	t.Logf("%s standby: %.2f Gbit/s in all over %s, %d and %d recoveries by SACK", standby, gigabits(sum, took), took.Round(time.Millisecond), by[0], by[1])
}

// recoveries is how often the connections of a host have recovered from loss by selective acknowledgements.
func recoveries(t *testing.T, h *lab.Namespace) int {
	t.Helper()
	out, err := h.Run("cat", "/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	names, values, _ := strings.Cut(out, "\n")
	i := slices.Index(strings.Fields(names), "TCPSackRecovery")
	if i < 0 {
		t.Fatalf("no TCPSackRecovery in %s", names)
	}
	n, err := strconv.Atoi(strings.Fields(values)[i])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func gigabits(bytes int64, in time.Duration) float64 { return float64(bytes) * 8 / in.Seconds() / 1e9 }

// torrent is one direction of a connection. One goroutine writes, one reads, one looks at what the kernel says of it.
type torrent struct {
	name     string
	from, to *net.TCPConn
	stop     atomic.Bool
	done     sync.WaitGroup

	// until done, of the writer:
	sent      int64
	sentSum   uint32
	sendError error
	// of the reader:
	got       int64
	gotSum    uint32
	readError error
	pause     time.Duration // the longest without anything
	// of who looks, at the sending end:
	window        uint32 // the largest that the other end has announced, bytes
	again         uint32
	sacked, looks int
	options       uint8
	lookError     error
}

func newTorrents(name string, s stream) []*torrent {
	a, b := s.a.(*net.TCPConn), s.b.(*net.TCPConn)
	return []*torrent{{name: name + ", there", from: a, to: b}, {name: name + ", back", from: b, to: a}}
}

func (x *torrent) start() {
	ended := make(chan struct{})
	x.done.Go(func() { defer close(ended); x.read() })
	x.done.Go(x.write)
	x.done.Go(func() { x.look(ended) })
}

var checksums = crc32.MakeTable(crc32.Castagnoli)

// stall is how long a connection may say nothing; a retransmission that was lost too waits twice as long each time.
const stall = 10 * time.Second

// write sends pieces of noise of any length until told to stop, and then the end.
func (x *torrent) write() {
	r := rand.NewChaCha8([32]byte{})
	noise := make([]byte, 1<<20)
	_, _ = r.Read(noise)
	for !x.stop.Load() {
		b := noise[r.Uint64()%(1<<19):]
		b = b[:1+r.Uint64()%(1<<18)]
		n, err := x.from.Write(b)
		x.sent += int64(n)
		x.sentSum = crc32.Update(x.sentSum, checksums, b[:n])
		if err != nil {
			x.sendError = err
			return
		}
	}
	x.sendError = x.from.CloseWrite()
}

func (x *torrent) read() {
	b := make([]byte, 1<<18)
	for last := time.Now(); ; {
		if x.readError = x.to.SetReadDeadline(time.Now().Add(stall)); x.readError != nil {
			return
		}
		n, err := x.to.Read(b)
		now := time.Now()
		x.pause, last = max(x.pause, now.Sub(last)), now
		x.got += int64(n)
		x.gotSum = crc32.Update(x.gotSum, checksums, b[:n])
		if err != nil {
			x.readError = err
			_ = x.from.SetWriteDeadline(now) // the writer must not wait for who reads no more
			return
		}
	}
}

// look asks the sending kernel every few milliseconds.
func (x *torrent) look(ended chan struct{}) {
	raw, err := x.from.SyscallConn()
	for err == nil {
		select {
		case <-ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
		var info *unix.TCPInfo
		err = errors.Join(raw.Control(func(fd uintptr) {
			info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
		}), err)
		if err != nil {
			break
		}
		x.looks++
		x.options, x.again, x.window = info.Options, info.Total_retrans, max(x.window, info.Snd_wnd)
		if info.Sacked > 0 {
			x.sacked++
		}
	}
	x.lookError = err
}

// Options of a connection, of enum tcp_info's tcpi_options (linux/tcp.h).
const (
	optionSACK   = 2
	optionWScale = 4
)

// verdict is what is wrong once both ends are done.
func (x *torrent) verdict() error {
	if x.readError != io.EOF {
		return fmt.Errorf("instead of the end after %d bytes: %w; the other end: %v", x.got, x.readError, x.sendError)
	}
	switch {
	case x.sendError != nil || x.lookError != nil:
		return errors.Join(x.sendError, x.lookError)
	case x.got != x.sent || x.gotSum != x.sentSum:
		return fmt.Errorf("%d bytes with checksum %08x were sent, %d with %08x arrived", x.sent, x.sentSum, x.got, x.gotSum)
	case x.options&optionWScale == 0 || x.window < 1<<16:
		return fmt.Errorf("windows are not scaled: at most %d bytes, options %#x", x.window, x.options)
	case x.options&optionSACK == 0 || x.again == 0:
		return fmt.Errorf("nothing was acknowledged selectively: %d segments were sent again, options %#x", x.again, x.options)
	}
	return nil
}
