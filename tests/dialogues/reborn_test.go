package dialogues

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
	"ctsync/tests/lab"
)

// TestRebornByPackets deletes flows whose packets never pause, so that each is begun again within a millisecond and
// translated otherwise. After a power cut each goes on as it was last.
func TestRebornByPackets(t *testing.T) {
	t.Parallel()
	l := lab.Run(t, lab.Options{Daemon: lab.Ctsync()})
	time.Sleep(1500 * time.Millisecond) // r1 may have lost the address for a moment as they began: within a second of that an end may be an eviction
	r := newReborn(t, l)
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				r.send()
			}
		}
	}()
	deleted := 0
	err := l.R1.Write(func(w *kernel.Writer) error {
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for _, res := range w.Do(r.some(), nil) {
				if res.Errno == 0 {
					deleted++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	close(stop)
	<-stopped
	before := r.places()
	time.Sleep(300 * time.Millisecond) // a heartbeat tells where the log ends
	if err := l.R2.WaitSynced(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := l.PowerCut(l.R1); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R2, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	r.forget()
	for end := time.Now().Add(patience); len(r.places()) < len(before) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r.send()
	}
	after := r.places()
	t.Logf("%d flows deleted and begun again", deleted)
	for i, was := range before {
		if after[i] != was {
			t.Errorf("flow %d was %s and is %s", i, was, after[i])
		}
	}
	if deleted < len(before) || len(before) != cap(r.socks) {
		t.Errorf("%d flows deleted, %d arrived", deleted, len(before))
	}
}

// reborn are UDP sockets of the client, each of which sends its number, and where the server saw each last.
type reborn struct {
	socks []*net.UDPConn
	to    netip.AddrPort
	mu    sync.Mutex
	seen  map[byte]netip.AddrPort
}

func newReborn(t *testing.T, l *lab.Lab) *reborn {
	client, server := host{l.Client, lab.ClientAddress, lab.WANVIP}, host{l.Server, lab.ServerAddress, lab.ServerAddress}
	ear, err := server.udp(4071)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ear.Close() })
	r := &reborn{to: server.at(4071), socks: make([]*net.UDPConn, 0, 50)}
	r.forget()
	for range cap(r.socks) {
		s, err := client.udp(0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		r.socks = append(r.socks, s)
	}
	go func() {
		for b := make([]byte, 1); ; {
			_, from, err := ear.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.seen[b[0]] = from
			r.mu.Unlock()
			_, _ = ear.WriteToUDPAddrPort(b, from)
		}
	}()
	return r
}

func (r *reborn) send() {
	for i, s := range r.socks {
		_, _ = s.WriteToUDPAddrPort([]byte{byte(i)}, r.to)
	}
}

// some are deletions of a third of the flows.
func (r *reborn) some() (ops []flow.Op) {
	for _, s := range r.socks {
		if rand.IntN(3) > 0 {
			continue
		}
		k := flow.Key{L3: flow.IPv4, L4: flow.UDP}
		k.Src, k.SrcL4 = flow.AddrFrom(lab.ClientAddress), local(s.LocalAddr())
		k.Dst, k.DstL4 = flow.AddrFrom(r.to.Addr()), r.to.Port()
		ops = append(ops, flow.Op{Kind: flow.OpDelete, Flow: flow.Flow{Key: k}})
	}
	return ops
}

func (r *reborn) places() map[byte]netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[byte]netip.AddrPort{}
	for i, p := range r.seen {
		all[i] = p
	}
	return all
}

func (r *reborn) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = map[byte]netip.AddrPort{}
}
