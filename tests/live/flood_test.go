package live

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"ctsync/engine/wire"
	"ctsync/tests/lab"
)

// A stranger on the sync link floods both nodes, with everything that can be made without the key: the tables stay as
// they are, the daemons serve, and what a datagram costs is told.
func TestFlood(t *testing.T) {
	for _, link := range []string{"unsealed", "sealed"} {
		t.Run(link, func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			var lines []string
			if link == "sealed" {
				key := filepath.Join(t.TempDir(), "key")
				write(t, key, []byte(strings.Repeat("5a", 32)+"\n"))
				lines = append(lines, "key-file "+key)
			}
			l := run(t, patient, lines...)
			coming := &churn{router: l.R1}
			if err := coming.turn(2000, 0, 0); err != nil {
				t.Fatal(err)
			}
			settled(t, l)
			f := newFlood(t, l)
			for kind := range floods {
				f.run(t, kind, pick(100000, 10_000_000)/len(floods))
			}
			settled(t, l)
			coming.left(t, "the flood")
			same(t, l, "the flood")
			if s := state(t, l.R2); s.restarts() != 0 || s.Role != "standby" {
				t.Errorf("r2 is %s and read the flows of r1 again %d times", s.Role, s.restarts())
			}
			if err := coming.turn(100, 100, 0); err != nil {
				t.Fatal(err)
			}
			settled(t, l)
			same(t, l, "what came after the flood")
		})
	}
}

// floods are the kinds of datagrams: each changes the i-th of a batch, given one that a node sent.
var floods = []struct {
	name string
	make func(b []byte, real []byte) []byte
}{
	{"random", func(b, _ []byte) []byte { return append(b, rubbish(rand.IntN(1400))...) }},
	{"mutated", func(b, real []byte) []byte {
		b = append(b, real...)
		b[rand.IntN(len(b))] ^= byte(1 + rand.IntN(255))
		return b
	}},
	{"cut short", func(b, real []byte) []byte { return append(b, real[:rand.IntN(len(real))]...) }},
	{"replayed", func(b, real []byte) []byte { return append(b, real...) }},
	{"oversized", func(b, real []byte) []byte {
		b = append(b, real...)
		return append(b, make([]byte, rand.IntN(8000))...)
	}},
	{"new senders", func(b, _ []byte) []byte { return stranger(b) }},
}

// stranger is a heartbeat of an active node that nobody has met, with a right checksum.
func stranger(b []byte) []byte {
	h := wire.Header{Type: wire.Beat, Cluster: wire.ClusterHash(lab.Group), Counter: 1}
	binary.BigEndian.PutUint64(h.Sender[:], rand.Uint64())
	beat := wire.Heartbeat{Node: fmt.Sprint("x", rand.IntN(1000)), Role: 2, Activation: 9, Complete: true}
	return wire.Seal(wire.AppendHeartbeat(wire.AppendHeader(b, &h), &beat))
}

// flood is a stranger's socket on the switch of the sync link.
type flood struct {
	lab  *lab.Lab
	conn *ipv4.PacketConn
	real [][]byte // what the nodes sent
	to   net.Addr
}

func newFlood(t *testing.T, l *lab.Lab) *flood {
	t.Helper()
	f := &flood{lab: l, to: &net.UDPAddr{IP: net.IPv4(225, 0, 0, 50), Port: 3780}}
	f.real = append(record(t, l.R1, 20), record(t, l.R2, 20)...)
	const address = "172.16.0.66"
	for _, command := range []string{"address add " + address + "/24 dev br-sync0", "route add 225.0.0.50 dev br-sync0"} {
		if _, err := l.Switches.Run("ip", strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	err := l.Switches.Do(func() error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address)})
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		f.conn = ipv4.NewPacketConn(c)
		link, err := net.InterfaceByName("br-sync0")
		return errors.Join(err, f.conn.SetMulticastInterface(link), f.conn.SetMulticastLoopback(false))
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run sends until both nodes have got so many datagrams of a kind, and tells what one cost.
func (f *flood) run(t *testing.T, kind, count int) {
	t.Helper()
	before := map[*lab.Router]sample{}
	for _, r := range f.lab.Routers() {
		before[r] = take(t, r)
	}
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i] = ipv4.Message{Buffers: [][]byte{nil}, Addr: f.to}
	}
	sent, slowest, began := 0, time.Duration(0), time.Now()
	for left := count; left > 0; {
		for end := sent + max(left, 64); sent < end; {
			for i := range batch {
				batch[i].Buffers[0] = floods[kind].make(batch[i].Buffers[0][:0], f.real[rand.IntN(len(f.real))])
			}
			n, err := f.conn.WriteBatch(batch, 0)
			if err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		asked := time.Now()
		left = 0
		for _, r := range f.lab.Routers() {
			left = max(left, count-int(take(t, r).got-before[r].got))
		}
		slowest = max(slowest, time.Since(asked))
	}
	took := time.Since(began)
	var told []string
	for _, r := range f.lab.Routers() {
		if peers := state(t, r).Peers; len(peers) != 1 {
			t.Errorf("%s has let strangers in: %+v", r.Name, peers)
		}
		d := take(t, r).less(before[r])
		// What a node does without a flood: at 2000 flows that do not change, next to nothing.
		told = append(told, fmt.Sprintf("%s: %d got, %d refused, %.2f us each, memory %+d kB", r.Name, d.got, d.refused,
			float64(d.cpu.Microseconds())/float64(d.got), d.memory))
		if d.memory > 64<<10 {
			t.Errorf("%s grew by %d kB", r.Name, d.memory)
		}
	}
	t.Logf("%d %s datagrams in %s, both nodes' status at most after %s; %s", sent, floods[kind].name, took.Round(time.Millisecond),
		slowest.Round(time.Millisecond), strings.Join(told, "; "))
}

// sample is what a daemon has done, and its resident memory in kB.
type sample struct {
	got, refused uint64
	cpu          time.Duration
	memory       int
}

func (s sample) less(b sample) sample {
	return sample{s.got - b.got, s.refused - b.refused, s.cpu - b.cpu, s.memory - b.memory}
}

// take asks the daemon, and /proc.
func take(t *testing.T, r *lab.Router) (s sample) {
	t.Helper()
	st := state(t, r)
	if st.Node == "" {
		t.Fatalf("%s does not answer", r.Name)
	}
	cut := st.Links[0].ReceiveErrors // too long for any of ours
	s.got, s.refused = st.Messages.Received+cut, st.Messages.Malformed+cut
	proc := fmt.Sprintf("/proc/%d/", r.Daemon.Process().Pid())
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name may have spaces
	words := strings.Fields(string(after))       // from the third of proc_pid_stat(5) on
	for _, w := range words[11:13] {             // utime and stime, in hundredths
		n, _ := strconv.Atoi(w)
		s.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	status, _ := os.ReadFile(proc + "status")
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	_, _ = fmt.Sscan(rss, &s.memory)
	return s
}
