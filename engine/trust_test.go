package engine

import (
	"bytes"
	"io"
	"math/rand"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// wires joins engines: what one sends reaches the others at once, and is kept to be replayed.
type wires struct {
	t     *testing.T
	now   time.Time
	nodes []*Engine
	sent  [][]byte
	from  []int
}

func key(b byte) wire.Key {
	var secret [wire.KeySize]byte
	secret[3] = b
	return wire.NewKey(secret)
}

func join(t *testing.T, keys ...[]wire.Key) *wires {
	w := &wires{t: t, now: time.Unix(1000, 0)}
	for i, k := range keys {
		w.nodes = append(w.nodes, w.node(i, k, false))
	}
	return w
}

func (w *wires) node(i int, k []wire.Key, permissive bool) *Engine {
	rng := rand.New(rand.NewSource(int64(i)))
	e := New(Config{
		Node: string(rune('a' + i)), Epoch: wire.Epoch{byte(i + 1)}, Cluster: "VG", Group: "VG", TableMax: 1000,
		PayloadLimit: 1400, Keys: k, Permissive: permissive, Random: io.Reader(rng),
	}, rng)
	e.Step(w.now, &Tick{})
	e.Step(w.now, &KernelDump{Dump: 1, Done: true})
	return e
}

func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 3780)
}

// run lets time pass; every datagram of the step arrives before the next.
func (w *wires) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(10 * time.Millisecond) {
		for i, e := range w.nodes {
			w.carry(i, e.Step(w.now, &Tick{}))
		}
	}
}

func (w *wires) carry(from int, out *Output) {
	var all [][]byte
	for _, d := range out.Datagrams {
		all = append(all, bytes.Clone(d.Payload))
	}
	for _, b := range all {
		w.sent, w.from = append(w.sent, b), append(w.from, from)
		for i, e := range w.nodes {
			if i != from {
				w.deliver(i, from, b, e)
			}
		}
	}
}

func (w *wires) deliver(to, from int, b []byte, e *Engine) {
	w.carry(to, e.Step(w.now, &Datagrams{Datagrams: []Datagram{{Payload: bytes.Clone(b), From: addr(from)}}}))
}

func (w *wires) peer(of int) (p PeerStatus, ok bool) {
	s := w.nodes[of].Status()
	if len(s.Peers) == 0 {
		return p, false
	}
	return s.Peers[0], true
}

func (w *wires) wantMet(of int, sealed bool) {
	w.t.Helper()
	p, ok := w.peer(of)
	if !ok || !p.Live {
		w.t.Fatalf("node %d knows no live peer: %+v, refused %v", of, p, w.nodes[of].Status().Messages.Refused)
	}
	if p.Sealed != sealed {
		w.t.Errorf("node %d: peer sealed %v, want %v", of, p.Sealed, sealed)
	}
}

func TestPeersMeet(t *testing.T) {
	for name, k := range map[string][]wire.Key{"without a key": nil, "with a key": {key(1)}} {
		t.Run(name, func(t *testing.T) {
			w := join(t, k, k)
			w.run(500 * time.Millisecond)
			w.wantMet(0, k != nil)
			w.wantMet(1, k != nil)
			if p, _ := w.peer(0); !p.Proven {
				t.Error("not proven")
			}
		})
	}
}

func TestStrangersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		a, b   []wire.Key
		reason error
	}{
		"another key": {[]wire.Key{key(1)}, []wire.Key{key(2)}, wire.ErrSealed},
		"no key":      {[]wire.Key{key(1)}, nil, wire.ErrUnsealed},
	} {
		t.Run(name, func(t *testing.T) {
			w := join(t, c.a, c.b)
			w.run(time.Second)
			if p, ok := w.peer(0); ok {
				t.Errorf("met %+v", p)
			}
			if n := w.nodes[0].Status().Messages.Refused[c.reason.Error()]; n == 0 {
				t.Errorf("nothing refused as %q", c.reason)
			}
		})
	}
}

// A recorded run of a peer says nothing: it cannot answer.
func TestReplayIsNoPeer(t *testing.T) {
	w := join(t, []wire.Key{key(1)}, []wire.Key{key(1)})
	w.run(time.Second)
	sent, from := w.sent, w.from
	fresh := w.node(2, []wire.Key{key(1)}, false)
	w.nodes = []*Engine{fresh}
	for i, b := range sent {
		w.deliver(0, from[i], b, fresh)
	}
	if s := fresh.Status(); len(s.Peers) != 0 {
		t.Errorf("%d peers by replay", len(s.Peers))
	}
}

// What was heard counts once, whoever sends it again.
func TestReplayChangesNothing(t *testing.T) {
	w := join(t, []wire.Key{key(1)}, []wire.Key{key(1)})
	w.run(time.Second)
	before, _ := w.peer(0)
	for i, b := range w.sent {
		if w.from[i] == 1 {
			w.deliver(0, 1, b, w.nodes[0])
		}
	}
	after, _ := w.peer(0)
	if before.Last != after.Last || before.Have != after.Have || before.Address != after.Address {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

// A forger that has no key cannot move the window, so that the true peer stays heard.
func TestForgedCounters(t *testing.T) {
	w := join(t, []wire.Key{key(1)}, []wire.Key{key(1)})
	w.run(time.Second)
	for i, b := range w.sent {
		if w.from[i] != 1 {
			continue
		}
		forged := bytes.Clone(b)
		forged[26] = 0xff // the counter, far ahead
		w.deliver(0, 1, forged, w.nodes[0])
	}
	w.run(4 * time.Second)
	w.wantMet(0, true)
}

// Keys rotate node by node and nobody loses anybody.
func TestRotation(t *testing.T) {
	a, b := key(1), key(2)
	w := join(t, []wire.Key{a}, []wire.Key{a})
	w.run(500 * time.Millisecond)
	set := func(node int, keys ...wire.Key) {
		w.carry(node, w.nodes[node].Step(w.now, &Keys{Keys: keys}))
		for range 40 {
			w.run(100 * time.Millisecond)
			w.wantMet(0, true)
			w.wantMet(1, true)
		}
	}
	set(0, a, b)
	set(1, a, b)
	set(0, b, a)
	set(1, b, a)
	set(0, b)
	set(1, b)
	if p, _ := w.peer(0); p.KeyID != b.ID || !p.Proven {
		t.Errorf("the peer seals with %02x, want %02x; proven %v", p.KeyID, b.ID, p.Proven)
	}
}

// A key is introduced to nodes that run without one.
func TestIntroduction(t *testing.T) {
	w := join(t, nil, nil)
	w.run(500 * time.Millisecond)
	set := func(node int, permissive bool, sealed bool) {
		w.carry(node, w.nodes[node].Step(w.now, &Keys{Keys: []wire.Key{key(1)}, Permissive: permissive}))
		for range 40 {
			w.run(100 * time.Millisecond)
			for i := range w.nodes {
				if p, ok := w.peer(i); !ok || !p.Live {
					t.Fatalf("node %d lost its peer", i)
				}
			}
		}
		w.wantMet(0, sealed)
		w.wantMet(1, sealed)
	}
	set(0, true, false)
	set(1, true, true)
	set(0, false, true)
	set(1, false, true)
}

// Nodes that begin anew while keys are changed meet: each speaks to the other with the key that it heard.
func TestNodesMeetDuringAChangeOfKeys(t *testing.T) {
	a, b := key(1), key(2)
	for _, c := range []struct {
		name       string
		one, other []wire.Key
		permissive bool
	}{
		{"rotation", []wire.Key{b, a}, []wire.Key{a}, false},
		{"introduction", []wire.Key{a}, []wire.Key{a}, true},
	} {
		w := join(t, c.one, c.other)
		w.nodes[0] = w.node(2, c.one, c.permissive)
		w.run(time.Second)
		for i := range w.nodes {
			if p, ok := w.peer(i); !ok || !p.Live {
				t.Errorf("%s: node %d has not met the other", c.name, i)
			}
		}
	}
}

func TestUnknownSendersAreFew(t *testing.T) {
	w := join(t, []wire.Key{key(1)})
	for i := range 5000 {
		b := wire.AppendHeader(nil, &wire.Header{Type: wire.Beat, Cluster: wire.ClusterHash("VG"), Sender: wire.Epoch{9, byte(i), byte(i >> 8)}, Counter: 1})
		b[5] = key(1).ID
		w.deliver(0, 7, append(b, make([]byte, 64)...), w.nodes[0])
	}
	r := w.nodes[0].Status().Messages.Refused
	if r[wire.ErrForged.Error()] > unknownPerAddr {
		t.Errorf("%d datagrams of one address were tried, at most %d are allowed", r[wire.ErrForged.Error()], unknownPerAddr)
	}
	if len(w.nodes[0].guard.pending) > maxPending {
		t.Errorf("%d challenges are pending", len(w.nodes[0].guard.pending))
	}
}

func TestWindowReset(t *testing.T) {
	for _, at := range []uint64{0, 1, 63, 64, 65, 5000} {
		var w window
		w.reset(at)
		for c := uint64(0); c <= at; c++ {
			if w.fresh(c) {
				t.Errorf("reset to %d: %d is fresh", at, c)
			}
		}
		for _, c := range []uint64{at + 1, at + 3, at + 200, at + 2, at + 4000} {
			if !w.fresh(c) {
				t.Errorf("reset to %d: %d is not fresh", at, c)
			}
			if w.fresh(c) {
				t.Errorf("reset to %d: %d is fresh twice", at, c)
			}
		}
	}
}

// TestALateHeartbeatSaysNothing: a link may hand heartbeats over in another order than they were sent.
func TestALateHeartbeatSaysNothing(t *testing.T) {
	p := activeAndStandby(t)
	p.hold = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Beat }
	p.advance(150 * time.Millisecond)
	p.hold = nil
	p.notice(p.a, vrrp.Backup)
	p.advance(50 * time.Millisecond)
	p.release(wire.Beat)
	if role := p.b.e.Status().Peers[0].Role; role != Standby {
		t.Fatalf("a is %v", role)
	}
}

// A node whose peer is there and is not believed says so: its operator must not look for a broken cable.
func TestAloneSaysWhatIsRefused(t *testing.T) {
	w := join(t, []wire.Key{key(1)}, nil)
	w.run(time.Second)
	for i, want := range []string{"refused: not sealed", "refused: sealed with a key that is not here"} {
		if s := w.nodes[i].Status(); s.Verdict != Alone || !strings.Contains(s.Why, want) {
			t.Errorf("%d: %s: %s", i, s.Verdict, s.Why)
		}
	}
	w.nodes[1].Step(w.now, &Shutdown{})
	w.nodes = w.nodes[:1]
	w.run(2 * refusedLately)
	if s := w.nodes[0].Status(); s.Why != "no peer is heard: check the sync link, the peer's ctsync and cluster-id" {
		t.Errorf("when nothing comes any more: %s", s.Why)
	}
}
