package dialogues

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// TestShortFlows measures what sync-after saves and costs under flows of which most are over soon: of 100, 30 are DNS
// questions, 55 TCP connections of some 0.3 s and 15 of some 30 s, at 25 a second. Engine's benchmark SyncAfter has the same
// load without kernels.
func TestShortFlows(t *testing.T) {
	t.Parallel()
	after, lasts := []int{0, 1}, 5*time.Second
	if os.Getenv("LONG") != "" {
		after, lasts = []int{0, 1, 2, 5, 10}, 100*time.Second
	}
	var mu sync.Mutex
	seen := map[int]shortLoad{}
	t.Run("all", func(t *testing.T) {
		for _, seconds := range after {
			t.Run(fmt.Sprint(seconds), func(t *testing.T) {
				t.Parallel()
				s := runShort(t, seconds, lasts)
				mu.Lock()
				defer mu.Unlock()
				seen[seconds] = s
			})
		}
	})
	for _, seconds := range after {
		s := seen[seconds]
		t.Logf("sync-after %d: %.0f bytes a flow on the wire; of the TCP connections %.1f %% unprotected", seconds, s.perFlow(), s.unprotected())
	}
	if every, few := seen[0].perFlow(), seen[1].perFlow(); few > every*3/4 {
		t.Errorf("%.0f bytes a flow with sync-after, and %.0f without", few, every)
	}
}

// shortLoad is one measurement.
type shortLoad struct {
	flows, bytes   int // begun, and on the link without heartbeats
	looked, lacked int // TCP connections that lived as the standby was looked at, and those that it had not
}

func (s shortLoad) perFlow() float64     { return float64(s.bytes) / float64(max(s.flows, 1)) }
func (s shortLoad) unprotected() float64 { return 100 * float64(s.lacked) / float64(max(s.looked, 1)) }

// shortTalk are the hosts of one measurement, and the connections that are open, by the client's port.
type shortTalk struct {
	l              *lab.Lab
	client, server host
	mu             sync.Mutex
	open           map[uint16]bool
}

const (
	echoPort = 5000
	askPort  = 5053
)

func runShort(t *testing.T, seconds int, lasts time.Duration) (s shortLoad) {
	l := lab.Run(t, lab.Options{Daemon: lab.Ctsync(fmt.Sprintf("sync-after %d", seconds))})
	k := &shortTalk{l: l, client: host{l.Client, lab.ClientAddress, lab.WANVIP}, server: host{l.Server, lab.ServerAddress, lab.ServerAddress}, open: map[uint16]bool{}}
	k.serve(t)
	idle := k.received(t)
	time.Sleep(2 * time.Second)
	beats := float64(k.received(t)-idle) / 2 // a second
	before, began, rng := k.received(t), time.Now(), rand.New(rand.NewPCG(1, 2))
	for time.Since(began) < lasts {
		switch kind := rng.IntN(100); {
		case kind < 30:
			go k.ask()
		case kind < 85:
			go k.connect(longNormal(rng, 0.3))
		default:
			go k.connect(longNormal(rng, 30))
		}
		if s.flows++; s.flows%25 == 0 && time.Since(began) > lasts/5 {
			k.look(t, &s)
		}
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(time.Second) / 25))
	}
	s.bytes = k.received(t) - before - int(beats*time.Since(began).Seconds())
	return s
}

// longNormal is a duration of which half are below median seconds, and a quarter below a third of that.
func longNormal(rng *rand.Rand, median float64) time.Duration {
	return time.Duration(median * math.Exp(1.6*rng.NormFloat64()) * float64(time.Second))
}

// serve answers at the server.
func (k *shortTalk) serve(t *testing.T) {
	ear, err := k.server.listen(echoPort)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := k.server.udp(askPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ear.Close(); answers.Close() })
	go func() {
		for b := make([]byte, 64); ; {
			n, from, err := answers.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = answers.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	go func() {
		for {
			c, err := ear.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
}

func (k *shortTalk) ask() {
	s, err := k.client.udp(0)
	if err != nil {
		return
	}
	defer s.Close()
	_, _ = s.WriteToUDPAddrPort([]byte("?"), k.server.at(askPort))
	_, _ = hear(s, "?")
}

func (k *shortTalk) connect(lasts time.Duration) {
	c, err := k.client.dial(k.server.at(echoPort))
	if err != nil {
		return
	}
	port := local(c.LocalAddr())
	k.set(port, true)
	_ = pass(c, c, []byte("hello"))
	time.Sleep(min(lasts, 5*time.Minute))
	k.set(port, false)
	_ = c.(*net.TCPConn).Close()
}

func (k *shortTalk) set(port uint16, open bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if delete(k.open, port); open {
		k.open[port] = true
	}
}

// look counts which of the open connections the standby's kernel has.
func (k *shortTalk) look(t *testing.T, s *shortLoad) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out, err := k.l.R2.Run("conntrack", "-L", "-p", "tcp")
	if err != nil {
		t.Fatal(err)
	}
	for port := range k.open {
		if s.looked++; !strings.Contains(out, fmt.Sprintf(" sport=%d ", port)) {
			s.lacked++
		}
	}
}

// received is the bytes that the standby's sync link has received.
func (k *shortTalk) received(t *testing.T) int {
	out, err := k.l.R2.Run("ip", "-json", "-statistics", "link", "show", "dev", lab.Sync)
	if err != nil {
		t.Fatal(err)
	}
	var links []struct {
		Stats64 struct{ RX struct{ Bytes int } }
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		t.Fatalf("statistics of %s: %v", lab.Sync, err)
	}
	return links[0].Stats64.RX.Bytes
}

// TestBusyFlows: what is busy does not wait for its age where sync-after-packets says how much that is, and the kernel counts.
func TestBusyFlows(t *testing.T) {
	t.Parallel()
	l := lab.Run(t, lab.Options{Daemon: lab.Ctsync("sync-after 3600", "sync-after-packets 50")})
	k := &shortTalk{l: l, client: host{l.Client, lab.ClientAddress, lab.WANVIP}, server: host{l.Server, lab.ServerAddress, lab.ServerAddress}, open: map[uint16]bool{}}
	k.serve(t)
	if _, err := l.R1.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1"); err != nil {
		t.Fatal(err)
	}
	busy, quiet := k.asks(t, 40), k.asks(t, 20) // and as many answers
	has := func(port uint16) bool {
		out, err := l.R2.Run("conntrack", "-L", "-p", "udp")
		return err == nil && strings.Contains(out, fmt.Sprintf(" sport=%d ", port))
	}
	began := time.Now()
	for !has(busy) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("the standby has not got what is busy")
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("after %s", time.Since(began).Round(time.Millisecond))
	if has(quiet) {
		t.Error("the standby has what is quiet")
	}
}

// asks has a new port of the client ask so often, and be answered.
func (k *shortTalk) asks(t *testing.T, times int) uint16 {
	t.Helper()
	s, err := k.client.udp(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for range times {
		err := repeat(func() error {
			if _, err := s.WriteToUDPAddrPort([]byte("?"), k.server.at(askPort)); err != nil {
				return err
			}
			_, err := hear(s, "?")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return local(s.LocalAddr())
}
