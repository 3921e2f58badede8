package live

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
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
			began := time.Now()
			if err := l.R2.AddFlows(flows); err != nil {
				t.Fatal(err)
			}
			bare := time.Since(began)
			inside(t, l.R2, "conntrack -F")
			if err := l.R1.AddFlows(flows); err != nil {
				t.Fatal(err)
			}
			awaitState(t, l.R1, "every flow of its kernel", 60*time.Second, func(s status) bool {
				return s.Complete && s.Internal.Active >= flows
			})
			time.Sleep(2 * time.Second) // what came of making them is over

			began = time.Now()
			if err := l.R2.Restart(); err != nil {
				t.Fatal(err)
			}
			synced := make(chan struct{})
			lags := make(chan []time.Duration, 1)
			go func() { lags <- lagsUntil(t, l, standby == "hot", synced) }()
			awaitState(t, l.R2, "every flow", 120*time.Second, func(s status) bool {
				return s.Code == 0 && s.External.Active >= flows && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
			})
			took := time.Since(began)
			close(synced)
			during := <-lags
			t.Logf("%s, %d flows: in sync %s after its start, %.2f times a bare injector's %s; changes meanwhile were there after %s", standby, flows,
				took.Round(time.Millisecond), took.Seconds()/bare.Seconds(), bare.Round(time.Millisecond), durations(during))
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

// lagsUntil changes one flow of r1 after the other and gives how long each took to be on r2: in its kernel, or at a
// warm standby in its cache, where a change of a flow that is there is counted.
func lagsUntil(t *testing.T, l *lab.Lab, hot bool, over chan struct{}) (lags []time.Duration) {
	const from = 7_000_000 // numbers that nobody else has
	source, goal := writerOf(t, l.R1), writerOf(t, l.R2)
	defer source.Close()
	defer goal.Close()
	there := func(f flow.Flow) func() bool {
		return func() bool { return goal.Do([]flow.Op{{Kind: flow.OpGet, Flow: f}}, nil)[0].Errno == 0 }
	}
	do := func(kind flow.OpKind, f flow.Flow) {
		if r := source.Do([]flow.Op{{Kind: kind, Flow: f}}, nil); r[0].Errno != 0 {
			t.Errorf("marker: %v", r[0].Errno)
		}
	}
	one := lab.FurtherFlow(from)
	if !hot {
		do(flow.OpCreate, one)
	}
	for end := time.Now().Add(10 * time.Second); external(l.R2).Active == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for i := 1; ; i++ {
		f := lab.FurtherFlow(from + i)
		kind, arrived := flow.OpCreate, there(f)
		if !hot {
			f, kind = one, flow.OpUpdate
			f.State = []uint8{flow.TCPEstablished, flow.TCPCloseWait}[i%2]
			had := external(l.R2).Updated
			arrived = func() bool { return external(l.R2).Updated > had }
		}
		do(kind, f)
		for began := time.Now(); ; time.Sleep(100 * time.Microsecond) {
			if arrived() {
				lags = append(lags, time.Since(began))
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Errorf("change %d did not arrive", i)
				return lags
			}
		}
		select {
		case <-over:
			return lags
		case <-time.After(2 * time.Millisecond):
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

// external is the counters of a router's external cache, zero while its daemon says nothing.
func external(r *lab.Router) cache {
	var out bytes.Buffer
	var s status
	request := control.Request{Verb: []string{"status"}, Output: "json"}
	_, _ = control.Call(context.Background(), filepath.Join(r.Folder, "control"), request, &out, io.Discard)
	_ = json.Unmarshal(out.Bytes(), &s)
	return s.External
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
