package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/internal/config"
	"ctsync/internal/control"
	"ctsync/internal/peer"
	"ctsync/vrrp"
)

// fake is a daemon whose edges are this test: what the engine wants done is written down, and the kernel says yes.
type fake struct {
	*Daemon
	t   *testing.T
	log safeBuffer

	mu    sync.Mutex
	sent  int
	ready engine.Readiness
	ops   []flow.Op
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newFake(t *testing.T, mechanism config.Mechanism) *fake {
	t.Helper()
	cfg := config.Default()
	cfg.NodeName, cfg.Failover = "fw1", config.Failover{Mechanism: mechanism, Group: "VG"}
	cfg.Links = []config.Link{{Interface: "sync0", Port: 3780}}
	cfg.TrackFile, cfg.Control = filepath.Join(t.TempDir(), "ready"), filepath.Join(t.TempDir(), "control")
	f := &fake{t: t}
	level := &slog.LevelVar{}
	f.Daemon = &Daemon{cfg: cfg, level: level, reloads: make(chan chan error)}
	f.Daemon.log = slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: level}))
	links, err := peer.Open(peer.Config{
		Links: []peer.Link{{Interface: "no-such-link0"}}, Group: cfg.MulticastGroup, Log: func(string, ...any) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(links.Close)
	f.links = links
	eng := engine.New(engine.Config{
		Node: "fw1", Epoch: [16]byte{1}, Cluster: "VG", Group: "VG", Hot: true, PurgeTimeout: time.Minute,
		PayloadLimit: 1400, TableMax: 1000, Random: rand.New(rand.NewSource(1)),
	}, rand.New(rand.NewSource(1)))
	if f.loop, err = newLoop(eng); err != nil {
		t.Fatal(err)
	}
	f.Daemon.ready = newReadyFile(cfg.TrackFile, forwardingPath(cfg.Control), f.Daemon.log)
	f.loop.out = outlets{
		allEvents: func() {},
		operate:   func(ops []flow.Op, _ bool) { f.ops = append(f.ops, ops...) },
		dump: func(id uint64) {
			go f.loop.step(&engine.KernelDump{Dump: id, Done: true})
		},
		post: func(d []engine.Datagram) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.sent += len(d)
		},
		ready: func(r engine.Readiness, _ engine.Role, _ bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.ready = r
		},
		note: journal{f.Daemon.log}.note,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.loop.run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	f.loop.step(&engine.Tick{})
	return f
}

// ask is one request of the control socket.
func (f *fake) ask(words ...string) (stdout, stderr string, exit int) {
	f.t.Helper()
	return f.askAs(control.Request{Verb: words})
}

func (f *fake) askAs(r control.Request) (stdout, stderr string, exit int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	exit = f.answer(ctx, r, &out, &errs)
	if ctx.Err() != nil {
		f.t.Errorf("%v: no answer", r.Verb)
	}
	return out.String(), errs.String(), exit
}

func (f *fake) notice(s vrrp.State) {
	f.loop.step(&engine.Notice{Notice: vrrp.Notice{Source: vrrp.SourceFIFO, Kind: vrrp.Group, Name: "VG", State: s}})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 5 s for %s", what)
		}
	}
}

// The loop steps by itself at the engine's deadlines: heartbeats go out without any input.
func TestLoopKeepsDeadlines(t *testing.T) {
	f := newFake(t, config.VRRP)
	time.Sleep(550 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent < 4 || f.sent > 12 {
		t.Errorf("%d datagrams in 0.55 s, want a heartbeat each 0.1 s", f.sent)
	}
}

// After the last words nothing is done any more, whoever still has an input.
func TestGoodbye(t *testing.T) {
	for state, want := range map[vrrp.State]engine.Readiness{vrrp.Master: engine.LeaveAsItIs, vrrp.Backup: engine.NotReady} {
		f := newFake(t, config.VRRP)
		f.notice(state)
		eventually(t, "the role", func() bool { return f.loop.status().VRRP == state })
		f.mu.Lock()
		before := f.sent
		f.mu.Unlock()
		f.goodbye()
		f.mu.Lock()
		after := f.sent
		f.mu.Unlock()
		if after == before {
			t.Errorf("%s: no last heartbeat", state)
		}
		f.loop.step(&engine.Tick{})
		f.notice(vrrp.Master)
		time.Sleep(150 * time.Millisecond)
		if f.sent != after {
			t.Errorf("%s: %d datagrams after the last", state, f.sent-after)
		}
		// Only a node that does not forward says that it is not ready: the other's addresses stay with it.
		if got := f.Daemon.ready.last.ready; got != want {
			t.Errorf("%s: readiness at the end %v, want %v", state, got, want)
		}
	}
}

func TestOutboxNeverWaits(t *testing.T) {
	read, write := io.Pipe() // nobody reads
	o := newOutbox(write)
	began := time.Now()
	for range outboxLines + 100 {
		_, _ = o.Write([]byte("a line\n"))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("writing took %s", took)
	}
	var got safeBuffer
	go func() { _, _ = io.Copy(&got, read) }()
	eventually(t, "the missing lines to be told", func() bool {
		return bytes.Contains([]byte(got.String()), []byte(" lines are missing here"))
	})
	o.close()
	eventually(t, "every line that found room", func() bool {
		return bytes.Count([]byte(got.String()), []byte("a line\n")) >= outboxLines
	})
}

func TestOutboxEndsThoughNobodyReads(t *testing.T) {
	_, write := io.Pipe()
	o := newOutbox(write)
	_, _ = o.Write([]byte("a line\n"))
	began := time.Now()
	if o.close(); time.Since(began) > 2*lastWords {
		t.Errorf("close took %s", time.Since(began))
	}
}

func TestSeldom(t *testing.T) {
	var log safeBuffer
	var s seldom
	l := slog.New(slog.NewTextHandler(&log, nil))
	for range 50 {
		s.tell(l, "once", io.EOF)
	}
	s.last = s.last.Add(-time.Minute)
	s.tell(l, "again", io.EOF)
	if text := log.String(); bytes.Count([]byte(text), []byte("\n")) != 2 || !bytes.Contains([]byte(text), []byte("msg=again error=EOF more=49")) {
		t.Errorf("the log:\n%s", text)
	}
}

// Every kind of note has a name and a text of its own.
func TestJournal(t *testing.T) {
	texts := map[string]engine.NoteKind{}
	for kind := range eventNames {
		_, text := noteText(engine.Note{Kind: kind, Text: "T"})
		if other, twice := texts[text]; twice || text == "note" {
			t.Errorf("kinds %d and %d are both %q", kind, other, text)
		}
		texts[text] = kind
	}
	for kind := range engine.NoteKind(len(eventNames)) {
		if eventNames[kind] == "" {
			t.Errorf("kind %d has no name", kind)
		}
	}
	var log safeBuffer
	journal{slog.New(slog.NewTextHandler(&log, nil))}.note(engine.Note{
		Kind: engine.NoteRole, From: engine.Standby, To: engine.TakingOver, Reason: "MASTER by fifo", Count: 3, Duration: time.Second,
	})
	for _, want := range []string{`msg="role: taking over, was standby"`, "event=taking-over", `reason="MASTER by fifo"`, "count=3", "duration=1s"} {
		if !bytes.Contains([]byte(log.String()), []byte(want)) {
			t.Errorf("%s lacks %s", log.String(), want)
		}
	}
}

// A takeover has its figures in the journal even where they are 0, and a peer that is lost a reason even if it gave none: the
// explanations in the catalog name them.
func TestJournalFigures(t *testing.T) {
	for _, c := range []struct {
		note engine.Note
		want []string
	}{
		{engine.Note{Kind: engine.NoteRole, From: engine.TakingOver, To: engine.Active, Count: 7, Written: 5, Failed: 1, Duration: 3 * time.Millisecond},
			[]string{"event=takeover role=active", `was="taking over"`, "duration=3ms", "forwarding=0s", "adopted=7", "written=5", "failed=1"}},
		{engine.Note{Kind: engine.NoteRole, From: engine.TakingOver, To: engine.Active}, []string{"duration=0s", "adopted=0", "written=0", "failed=0"}},
		{engine.Note{Kind: engine.NotePeerLost, Peer: "fw2"}, []string{"peer=fw2", `reason="nothing was heard of it any more"`}},
		{engine.Note{Kind: engine.NotePeerLost, Peer: "fw2", Reason: "it stopped"}, []string{`reason="it stopped"`}},
	} {
		var log safeBuffer
		journal{slog.New(slog.NewTextHandler(&log, nil))}.note(c.note)
		for _, want := range c.want {
			if !bytes.Contains([]byte(log.String()), []byte(want)) {
				t.Errorf("%s lacks %s", log.String(), want)
			}
		}
	}
}

func TestStatusLine(t *testing.T) {
	live := engine.PeerStatus{Live: true}
	for want, peers := range map[string][]engine.PeerStatus{
		"standby, 0 peers, alone: why": {{}}, "standby, 1 peer, alone: why": {live, {}}, "standby, 2 peers, alone: why": {live, live},
	} {
		if got := statusLine(engine.Status{Verdict: engine.Alone, Why: "why", Peers: peers}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
