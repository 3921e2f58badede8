package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// journald is a socket that takes entries.
type journald struct {
	t    *testing.T
	conn *net.UnixConn
}

func newJournald(t *testing.T) (*journald, *slog.Logger) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	return &journald{t, conn}, slog.New(&handler{to: s, level: slog.LevelInfo})
}

// next is the next entry's fields.
func (j *journald) next() map[string]string {
	j.t.Helper()
	buf := make([]byte, 1<<20)
	if err := j.conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		j.t.Fatal(err)
	}
	n, err := j.conn.Read(buf)
	if err != nil {
		j.t.Fatal(err)
	}
	return decode(j.t, buf[:n])
}

type fataler interface{ Fatalf(string, ...any) }

// decode reads an entry as journald does.
func decode(t fataler, b []byte) map[string]string {
	out := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			t.Fatalf("a field without an end: %q", b)
		}
		name, value, plain := strings.Cut(string(line), "=")
		if !plain {
			size := binary.LittleEndian.Uint64(rest)
			value, rest = string(rest[8:8+size]), rest[8+size+1:]
		}
		if _, twice := out[name]; twice {
			t.Fatalf("%s is there twice", name)
		}
		out[name], b = value, rest
	}
	return out
}

func TestEntry(t *testing.T) {
	j, log := newJournald(t)
	log.With("node", "fw-a").WithGroup("peer").Warn("peer lost", "name", "fw-b", "silence", 1500*time.Millisecond, "flows", 7)
	want := map[string]string{
		"MESSAGE":  "peer lost (node fw-a, peer.name fw-b, peer.silence 1.5s, peer.flows 7)",
		"PRIORITY": "4", "SYSLOG_IDENTIFIER": "ctsync",
		"CTSYNC_NODE": "fw-a", "CTSYNC_PEER_NAME": "fw-b", "CTSYNC_PEER_SILENCE_USEC": "1500000", "CTSYNC_PEER_FLOWS": "7",
	}
	if diff := cmp.Diff(want, j.next()); diff != "" {
		t.Error(diff)
	}
}

// TestEvent: the event is a field and an id, and not in the message.
func TestEvent(t *testing.T) {
	j, log := newJournald(t)
	log.Info("active", Key, Takeover)
	want := map[string]string{
		"MESSAGE": "active", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "ctsync",
		"CTSYNC_EVENT": "takeover", "MESSAGE_ID": MessageID(Takeover),
	}
	if diff := cmp.Diff(want, j.next()); diff != "" {
		t.Error(diff)
	}
	log.Info("other", Key, "unheard-of")
	if got := j.next(); got["MESSAGE_ID"] != "" || got["CTSYNC_EVENT"] != "unheard-of" {
		t.Errorf("an unknown event: %v", got)
	}
}

// TestField: what is for programs alone is no part of the message.
func TestField(t *testing.T) {
	j, log := newJournald(t)
	log.With("group", Field("VG")).Info("role: active", "role", Field("active"), "adopted", 3)
	want := map[string]string{
		"MESSAGE": "role: active (adopted 3)", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "ctsync",
		"CTSYNC_GROUP": "VG", "CTSYNC_ROLE": "active", "CTSYNC_ADOPTED": "3",
	}
	if diff := cmp.Diff(want, j.next()); diff != "" {
		t.Error(diff)
	}
}

// TestLines: faults of a configuration are lines of their own.
func TestLines(t *testing.T) {
	j, log := newJournald(t)
	log.Error("refused", "error", errors.Join(errors.New("a:1: x"), errors.New("a:2: y")))
	got := j.next()
	if want := "refused\na:1: x\na:2: y"; got["MESSAGE"] != want || got["PRIORITY"] != "3" {
		t.Errorf("%q", got)
	}
	if got["CTSYNC_ERROR"] != "a:1: x\na:2: y" {
		t.Errorf("%q", got["CTSYNC_ERROR"])
	}
}

func TestLevel(t *testing.T) {
	j, log := newJournald(t)
	log.Debug("not this")
	log.Info("this")
	if got := j.next()["MESSAGE"]; got != "this" {
		t.Error(got)
	}
}

// TestNeverWaits: a journald that reads nothing costs entries and no time, and the next one says how many.
func TestNeverWaits(t *testing.T) {
	j, log := newJournald(t)
	h := log.Handler()
	refused := 0
	start := time.Now()
	for range 5000 {
		if h.Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, "many", 0)) != nil {
			refused++
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it waited: %v", took)
	}
	if refused == 0 {
		t.Fatal("a socket that nobody reads took 5000 entries")
	}
	for range 5000 - refused {
		j.next()
	}
	log.Info("again")
	if got := j.next(); got["MESSAGE"] != "again" || got["CTSYNC_LOST_ENTRIES"] == "" {
		t.Errorf("after %d lost entries: %v", refused, got)
	}
	log.Info("further")
	if got := j.next(); got["CTSYNC_LOST_ENTRIES"] != "" {
		t.Errorf("still lost: %v", got)
	}
}

// TestAnyRecord: whatever is logged, the entry can be read, its names are those that the journal allows, and
// one datagram holds it.
func TestAnyRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var attrs []attr
		for i, v := range rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "values") {
			key := rapid.StringMatching(`[a-z][a-z.-]{0,8}`).Draw(t, "key") + string(rune('a'+i))
			attrs = append(attrs, attr{key, slog.StringValue(v)})
		}
		b := entryOf(rapid.String().Draw(t, "message"), slog.LevelInfo, attrs).encode()
		for name := range decode(t, b) {
			if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name[0] == '_' || len(name) > 64 {
				t.Fatalf("field %q", name)
			}
		}
	})
	long := entryOf("m", slog.LevelInfo, []attr{{"x", slog.StringValue(strings.Repeat("é", 100_000))}}).encode()
	if len(long) > 3*maxValue {
		t.Errorf("an entry of %d bytes", len(long))
	}
	decode(t, long)
}

// TestElsewhere: without a journal there are lines.
func TestElsewhere(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "1:1")
	var b bytes.Buffer
	slog.New(New(&b, slog.LevelInfo)).Info("hello", "peer", "fw-b")
	if got := b.String(); !strings.Contains(got, "msg=hello peer=fw-b\n") {
		t.Error(got)
	}
}
