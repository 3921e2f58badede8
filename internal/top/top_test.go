package top

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/google/go-cmp/cmp"
)

// Golden frames are rewritten by -update, and then read.
var update = flag.Bool("update", false, "rewrite the golden frames")

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// busy is a node with traffic, dt after the first look.
func busy(dt time.Duration) *Status {
	var st Status
	if err := json.Unmarshal([]byte(`{
		"node": "fw-a", "verdict": "in sync", "verdict_code": 0, "why": "every peer has every flow of this node", "role": "active",
		"role_since": "2026-03-04T10:56:48Z", "role_reason": "MASTER by fifo", "vrrp": {"state": "MASTER", "source": "fifo"},
		"standby": "hot", "ready": true, "leader": "fw-a", "internal": {"active": 123456}, "external": {"active": 0},
		"kernel": {"table_max": 262144, "table_count": 123999, "failed": {}},
		"peers": [{"name": "fw-b", "epoch": "01", "role": "standby", "state": "in sync", "flows": 7, "lacks": 120, "last_heard": 0.125, "key_id": "5a"}],
		"links": [{"interface": "sync0", "mode": "multicast", "up": true, "state": "running", "mtu": 1500},
		          {"interface": "sync1", "mode": "multicast", "up": false, "state": "waiting for the interface", "mtu": 0}]
	}`), &st); err != nil {
		panic(err)
	}
	n := uint64(dt / time.Millisecond)
	st.Internal.Created, st.Internal.Updated, st.Internal.Destroyed = 8*n, 2*n, 7*n+n/2
	st.Kernel.Events, st.Messages.Sent, st.Messages.Received = 18*n, n/4, n/500
	st.Links[0].BytesSent, st.Links[0].BytesReceived = 400*n, 3*n
	return &st
}

// watched is a model that has seen two answers, a second apart.
func watched() *Model {
	m := &Model{}
	m.Answer(noon, busy(0), nil)
	m.Answer(noon.Add(time.Second), busy(time.Second), nil)
	for i := range 30 {
		m.Happened(Event{noon.Add(time.Duration(i-30) * time.Minute), fmt.Sprintf("peer lost: check the sync link and the peer's ctsync (number %d)", i), i%3 == 0})
	}
	return m
}

// text is a frame as a terminal shows it, with the screen's edges.
func text(lines []Line, width int) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%-*s|\n", width, l)
	}
	return b.String()
}

func TestFrames(t *testing.T) {
	standby := func(st *Status) *Status {
		st.Node, st.Role, st.VRRP.State, st.Leader, st.Internal, st.External = "fw-b", "standby", "BACKUP", "fw-a", Cache{Active: 7}, st.Internal
		st.External.Active, st.Kernel.Created, st.Kernel.Updated, st.Kernel.Deleted = 123456, 8*st.Kernel.Events/18, 2*st.Kernel.Events/18, 7*st.Kernel.Events/18
		st.Kernel.Pending, st.Kernel.Overruns, st.Messages.Lost, st.Messages.Malformed = 12, 2, 3, 4
		st.Verdict, st.Code, st.Why = "degraded", 1, "3 flows are not in the kernel: see the reasons below"
		st.Kernel.Failed = map[string]int{"not supported by this kernel: is the helper's module loaded?": 3}
		st.Kernel.TableCount = 250000
		p := st.Peers[0]
		p.Name, p.Role, p.Leader, p.Behind, p.State = "fw-a", "active", true, 250, "syncing"
		st.Peers = []Peer{p}
		for i := range 12 {
			st.Peers = append(st.Peers, Peer{Name: fmt.Sprintf("a-rather-long-name-%d", i), Epoch: fmt.Sprint(i), Role: "standby", State: "silent", LastHeard: 90 + 20*float64(i), KeyID: "none"})
		}
		return st
	}
	crowded := &Model{}
	crowded.Answer(noon, standby(busy(0)), nil)
	crowded.Answer(noon.Add(2*time.Second), standby(busy(2*time.Second)), nil)
	crowded.Happened(Event{noon, "role: standby, was active \x1b[31m\u00e4", false})
	stopped := watched()
	stopped.Answer(noon.Add(2*time.Second), nil, errors.New("ctsync is not running: nobody answers at /run/ctsync/ctsync.ctl: start it with `systemctl start ctsync`"))
	never := &Model{}
	never.Answer(noon, nil, stopped.err)
	for name, m := range map[string]*Model{"active": watched(), "crowded": crowded, "stopped": stopped, "never": never, "begin": {}} {
		for _, size := range [][2]int{{80, 24}, {120, 40}} {
			lines := m.Frame(size[0], size[1])
			if len(lines) > size[1] {
				t.Errorf("%s: %d lines of %d", name, len(lines), size[1])
			}
			for _, l := range lines {
				if len(l.String()) > size[0] {
					t.Errorf("%s: %d columns of %d: %s", name, len(l.String()), size[0], l)
				}
			}
			golden(t, fmt.Sprintf("%s_%dx%d.txt", name, size[0], size[1]), text(lines, size[0]))
		}
		for w := range 130 { // no size makes it fail
			for _, h := range []int{0, 1, 5, 12, 24, 60} {
				if lines := m.Frame(w, h); len(lines) > h {
					t.Errorf("%s: %d lines of %d", name, len(lines), h)
				}
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestStatus: what the program prints is what is read here.
func TestStatus(t *testing.T) {
	b, err := os.ReadFile("../show/testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	var st Status
	if err := json.Unmarshal(b, &st); err != nil {
		t.Fatal(err)
	}
	if st.Node != "fw1" || st.Code != 1 || st.Role != "active" || st.RoleSince.IsZero() || st.VRRP.State != "MASTER" || st.VRRP.Source != "fifo" ||
		st.Standby != "hot" || !*st.Ready || st.Leader != "fw1" || st.Internal != (Cache{101, 102, 104, 106}) || !st.Links[0].Up {
		t.Errorf("%+v", st)
	}
	for _, zero := range []bool{st.Kernel.Events == 0, st.Kernel.Created == 0, st.Kernel.Updated == 0, st.Kernel.Deleted == 0, st.Kernel.Overruns == 0, st.Kernel.Outstanding == 0,
		len(st.Kernel.Failed) == 0, st.Kernel.TableCount == 0, st.Messages.Sent == 0, st.Messages.Received == 0, st.Messages.Lost == 0, st.Messages.Malformed == 0,
		st.External.Active == 0, st.Peers[0].Behind == 0, st.Peers[0].Lacks == 0, st.Peers[0].Flows == 0, st.Peers[0].LastHeard == 0, st.Peers[0].KeyID == "", st.Peers[0].Epoch == "",
		st.Links[0].Mode == "", st.Links[0].MTU == 0, st.Links[0].BytesSent == 0, st.Links[0].BytesReceived == 0, st.Links[0].State == "", st.Why == "", st.RoleReason == ""} {
		if zero {
			t.Fatalf("a field is not read: %+v", st)
		}
	}
}

func TestRates(t *testing.T) {
	created := func(s *Status) uint64 { return s.Internal.Created }
	m := &Model{}
	m.Answer(noon, busy(0), nil)
	if _, known := m.rate(created); known {
		t.Error("a rate of one answer")
	}
	m.Answer(noon.Add(2*time.Second), busy(2*time.Second), nil)
	if r, known := m.rate(created); !known || r != 8000 {
		t.Error(r, known)
	}
	m.Answer(noon.Add(3*time.Second), busy(0), nil) // statistics were reset
	if _, known := m.rate(created); known {
		t.Error("a rate of a counter that was set back")
	}
	m.Answer(noon.Add(4*time.Second), nil, errors.New("gone"))
	m.Answer(noon.Add(5*time.Second), busy(time.Second), nil)
	if r, known := m.rate(created); known && r > 8000 {
		t.Error("over a gap:", r)
	}
}

// TestObserved: without a journal what changes is an event.
func TestObserved(t *testing.T) {
	m := &Model{}
	m.Observe()
	second := busy(0)
	second.Verdict, second.Code, second.Role, second.RoleReason = "alone", 4, "standby", "BACKUP by fifo"
	second.Peers[0].State = "silent"
	second.Kernel.Overruns = 1
	third := busy(0)
	third.Verdict, third.Code, third.Role, third.Kernel.Overruns = "alone", 4, "standby", 1
	third.Peers = append(third.Peers[:0], Peer{Name: "fw-c", State: "in sync"})
	m.Answer(noon, busy(0), nil)
	m.Answer(noon, second, nil)
	m.Answer(noon, nil, errors.New("gone"))
	m.Answer(noon, nil, errors.New("gone"))
	m.Answer(noon, third, nil)
	var got []string
	for _, e := range m.events {
		got = append(got, fmt.Sprint(e.Text, " ", e.Bad))
	}
	want := []string{"alone, was in sync true", "standby, was active (BACKUP by fifo) false", "the kernel dropped events true", "peer fw-b: silent, was in sync true",
		"no answer: gone true", "answers again false", "peer fw-c is heard false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range 2 * keptEvents {
		m.Happened(Event{})
	}
	if len(m.events) != keptEvents {
		t.Error(len(m.events))
	}
}

func TestEntry(t *testing.T) {
	for line, want := range map[string]string{
		`{"MESSAGE":"peer lost\nmore","PRIORITY":"4","__REALTIME_TIMESTAMP":"1772625600000000"}`: "peer lost true 12:00:00",
		`{"MESSAGE":"started","PRIORITY":"6","__REALTIME_TIMESTAMP":"1772625600000000"}`:         "started false 12:00:00",
		`{"MESSAGE":[1,2],"__REALTIME_TIMESTAMP":"1"}`:                                           "",
		`{"MESSAGE":"x"}`: "", `not JSON`: "", `{}`: "",
	} {
		e, ok := entry([]byte(line))
		got := ""
		if ok {
			got = fmt.Sprint(e.Text, " ", e.Bad, " ", e.At.UTC().Format("15:04:05"))
		}
		if got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// TestFollow calls journalctl; a stand-in tells what with, and another fails as where there is no journal.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	program := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	program(`echo '{"MESSAGE":"'"$*"'","__REALTIME_TIMESTAMP":"1"}'; exec sleep 60`)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan Event, 1)
	done := make(chan error)
	go func() { done <- Follow(ctx, "ctsync.service", func(e Event) { got <- e }) }()
	if e := <-got; e.Text != "--unit ctsync.service --follow --lines 50 --output json" {
		t.Error(e)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	program("echo No journal files were found. >&2; exit 1")
	if err := Follow(context.Background(), "x", nil); !errors.Is(err, ErrNoJournal) {
		t.Error(err)
	}
	t.Setenv("PATH", "/nonexistent")
	if err := Follow(context.Background(), "x", nil); !errors.Is(err, ErrNoJournal) {
		t.Error(err)
	}
}

// TestScreen shows the view on a screen without a terminal, of another size after a while, and ends it by a key.
func TestScreen(t *testing.T) {
	screen := &seen{SimulationScreen: tcell.NewSimulationScreen("")}
	if err := screen.Init(); err != nil {
		t.Fatal(err)
	}
	defer screen.Fini()
	screen.SetSize(80, 24)
	from := Sources{
		Status: func(context.Context) (*Status, error) { return busy(0), nil },
		Events: func(ctx context.Context, deliver func(Event)) error {
			deliver(Event{noon, "something happened", true})
			<-ctx.Done()
			return ctx.Err()
		},
	}
	done := make(chan error)
	go func() { done <- show(context.Background(), screen, from) }()
	screen.await(t, "fw-a  in sync")
	screen.await(t, "something happened")
	screen.SetSize(120, 40)
	screen.await(t, "waiting for the interface")
	screen.InjectKey(tcell.KeyRune, 'x', 0)
	screen.InjectKey(tcell.KeyRune, 'q', 0)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("q does not end it")
	}
}

// seen is a screen that keeps what was shown. It is safe for concurrent use.
type seen struct {
	tcell.SimulationScreen
	Mutex sync.Mutex
	text  string
}

func (s *seen) Show() {
	s.SimulationScreen.Show()
	var all strings.Builder
	cells, width, _ := s.GetContents()
	for i, c := range cells {
		if i%width == 0 {
			all.WriteByte('\n')
		}
		all.WriteString(string(c.Runes))
	}
	s.Mutex.Lock()
	s.text = all.String()
	s.Mutex.Unlock()
}

func (s *seen) await(t *testing.T, want string) {
	t.Helper()
	var text string
	for give := time.Now().Add(5 * time.Second); time.Now().Before(give); time.Sleep(5 * time.Millisecond) {
		s.Mutex.Lock()
		text = s.text
		s.Mutex.Unlock()
		if strings.Contains(text, want) {
			return
		}
	}
	t.Fatalf("no %q on the screen:%s", want, text)
}
