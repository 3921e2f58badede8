package live

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/control"
	"ctsync/internal/kernel"
	"ctsync/tests/lab"
)

// A standby that begins with nothing has everything soon, and what changes meanwhile does not wait for that. The hot
// one is compared with writing the same flows into the same kernel without any daemon.
func TestFirstSync(t *testing.T) {
	for _, standby := range []string{"warm", "hot"} {
		t.Run(standby, func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			flows := pick(20000, 1_000_000)
			room(t, flows+20000)
			l := run(t, patient, "standby "+standby)
			if err := l.R2.Daemon.Stop(); err != nil {
				t.Fatal(err)
			}
			alone := injected(t, l.R2, flows)
			if err := l.R1.AddFlows(flows); err != nil {
				t.Fatal(err)
			}
			bare := injected(t, l.R2, flows) // beside the other's flows: both nodes have one kernel, and share its hash tables
			awaitState(t, l.R1, "every flow of its kernel", 60*time.Second, func(s status) bool {
				return s.Complete && s.Internal.Active >= flows
			})
			time.Sleep(2 * time.Second) // what came of making them is over

			began := time.Now()
			if err := l.R2.Restart(); err != nil {
				t.Fatal(err)
			}
			synced := make(chan struct{})
			lags := make(chan []time.Duration, 1)
			go func() { lags <- lagsUntil(t, l, standby == "hot", synced) }()
			await(t, "every flow", 120*time.Second, func() bool {
				s := glance(l.R2)
				return s.Verdict == "in sync" && s.External.Active >= flows && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
			})
			took := time.Since(began)
			close(synced)
			during := <-lags
			t.Logf("%s, %d flows: in sync %s after its start, %.2f times a bare injector's %s (%s in an empty kernel); changes meanwhile were there after %s", standby, flows,
				took.Round(time.Millisecond), took.Seconds()/bare.Seconds(), bare.Round(time.Millisecond), alone.Round(time.Millisecond), durations(during))
			if standby == "hot" {
				settled(t, l)
				if has := count(t, l.R2); has < flows {
					t.Errorf("the standby's kernel has %d flows of %d", has, flows)
				}
			}
			if !long {
				return
			}
			if len(during) == 0 {
				t.Fatal("nothing changed meanwhile")
			}
			worst := worstBut(during, len(during)/100)
			switch {
			case standby == "warm" && (took > 5*time.Second || worst > 20*time.Millisecond),
				standby == "hot" && (took > bare*16/10 || worst > 100*time.Millisecond):
				t.Errorf("too slow: want 5 s and 20 ms warm, 1.6 times the injector and 100 ms hot")
			}
		})
	}
}

// injected is how long it takes to write flows into the router's kernel without any daemon; it has none then.
func injected(t *testing.T, r *lab.Router, flows int) time.Duration {
	t.Helper()
	began := time.Now()
	if err := r.AddFlows(flows); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	inside(t, r, "conntrack -F")
	return took
}

// lagsUntil changes a flow of r1 every 20 ms from when r2 has the first ones on, and gives how long each change took to
// be on r2: in its kernel, or at a warm standby in its cache, where a change of a flow that is there is counted. None
// waits for the one before it: a slow one must not hide the others.
func lagsUntil(t *testing.T, l *lab.Lab, hot bool, over chan struct{}) []time.Duration {
	source, goal := writerOf(t, l.R1), writerOf(t, l.R2)
	defer source.Close()
	defer goal.Close()
	m := markers{source: source, arrived: func(i int) bool {
		return goal.Do([]flow.Op{{Kind: flow.OpGet, Flow: marker(i)}}, nil)[0].Errno == 0
	}}
	for end := time.Now().Add(10 * time.Second); glance(l.R2).External.Active == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if !hot {
		m.only = true
		m.change(t) // it is created
		m.change(t)
		time.Sleep(20 * time.Millisecond)
		had := glance(l.R2).External.Updated
		m.arrived = func(i int) bool { return glance(l.R2).External.Updated > had+uint64(i) }
		m.made, m.waiting = nil, nil
	}
	for {
		select {
		case <-over:
			m.wait(t)
			return m.lags
		default:
		}
		if len(m.made) == 0 || time.Since(m.made[len(m.made)-1]) > 20*time.Millisecond {
			m.change(t)
		}
		m.look()
		time.Sleep(2 * time.Millisecond)
	}
}

// markers are changes whose arrival is measured, in order.
type markers struct {
	source  *kernel.Writer
	arrived func(i int) bool
	only    bool // one flow that changes ever again, else ever new ones
	changes int
	looks   int
	made    []time.Time
	waiting []int // of made
	lags    []time.Duration
}

func marker(i int) flow.Flow { return lab.FurtherFlow(7_000_000 + i) }

func (m *markers) change(t *testing.T) {
	op := flow.Op{Kind: flow.OpCreate, Flow: marker(len(m.made))}
	if m.only {
		op.Flow = marker(0)
		op.Flow.State = []uint8{flow.TCPEstablished, flow.TCPCloseWait}[m.changes%2]
		if m.changes > 0 {
			op.Kind = flow.OpUpdate
		}
	}
	if r := m.source.Do([]flow.Op{op}, nil); r[0].Errno != 0 {
		t.Errorf("marker: %v", r[0].Errno)
	}
	m.changes++
	m.waiting = append(m.waiting, len(m.made))
	m.made = append(m.made, time.Now())
}

// look takes those that have arrived.
func (m *markers) look() {
	m.looks++
	m.waiting = slices.DeleteFunc(m.waiting, func(i int) bool {
		if (m.looks+i)%50 != 0 && time.Since(m.made[i]) > 200*time.Millisecond {
			return false // to ask all the time would be a load of its own
		}
		there := m.arrived(i)
		if there {
			m.lags = append(m.lags, time.Since(m.made[i]))
		}
		return there
	})
}

func (m *markers) wait(t *testing.T) {
	for end := time.Now().Add(5 * time.Second); len(m.waiting) > 0; time.Sleep(time.Millisecond) {
		if m.look(); time.Now().After(end) {
			if !m.only || len(m.waiting)*10 > len(m.made) { // two changes of one flow may have gone as one
				t.Errorf("%d of %d changes did not arrive", len(m.waiting), len(m.made))
			}
			return
		}
	}
}

func writerOf(t *testing.T, r *lab.Router) (w *kernel.Writer) {
	err := r.Do(func() (err error) {
		w, err = kernel.OpenWriter()
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return w
}

// glance is a router's status by its control socket, without a process for it; empty while its daemon says nothing.
func glance(r *lab.Router) (s status) {
	var out bytes.Buffer
	request := control.Request{Verb: []string{"status"}, Output: "json"}
	_, _ = control.Call(context.Background(), filepath.Join(r.Folder, "control"), request, &out, io.Discard)
	_ = json.Unmarshal(out.Bytes(), &s)
	return s
}

// After a cut only what changed goes over the link: bytes as the interface counts them.
func TestResync(t *testing.T) {
	if !long {
		t.Parallel()
	}
	flows, cutFor := pick(20000, 500_000), time.Duration(pick(1500, 10000))*time.Millisecond
	room(t, flows+20000)
	l := run(t, patient)
	coming := &churn{router: l.R1}
	if err := coming.turn(flows, 0, 0); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	if err := l.R2.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	inside(t, l.R2, "conntrack -F")
	atStart := received(t, l.R2)
	if err := l.R2.Restart(); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	full := received(t, l.R2) - atStart
	if err := l.CutSync(0); err != nil {
		t.Fatal(err)
	}
	if err := coming.turn(flows/200, flows/200, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(cutFor)
	before := received(t, l.R2)
	if err := l.JoinSync(0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	settled(t, l)
	took, again := time.Since(began), received(t, l.R2)-before
	share := 100 * float64(again) / float64(full)
	t.Logf("%d flows: %d bytes for a first synchronisation (%.1f each), %d after a cut of %s in which 1 of 100 changed: %.2f %%, in sync %s after it",
		flows, full, float64(full)/float64(flows), again, cutFor, share, took.Round(time.Millisecond))
	if limit := float64(pick(10, 2)); share > limit { // heartbeats weigh more where there are few flows
		t.Errorf("%.2f %% of the bytes of a first synchronisation, want at most %.0f", share, limit)
	}
	coming.left(t, "the cut")
	same(t, l, "the cut")
}

// received is the bytes that the router's sync link has received.
func received(t *testing.T, r *lab.Router) int {
	t.Helper()
	var links []struct {
		Stats64 struct{ RX struct{ Bytes int } }
	}
	if err := json.Unmarshal([]byte(inside(t, r, "ip -json -statistics link show dev "+lab.Sync)), &links); err != nil || len(links) != 1 {
		t.Fatalf("statistics of %s: %v", lab.Sync, err)
	}
	return links[0].Stats64.RX.Bytes
}
