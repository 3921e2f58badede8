package kernel

import (
	"encoding/binary"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// heard is one thing that a scripted kernel lets a writer hear: a datagram, or an error of the socket.
type heard struct {
	datagram []byte
	err      error
}

// ack answers the operation with the number i of the batch.
func ack(i uint32, errno unix.Errno) []byte {
	b := doneMessage(i, 0, errno)
	b[4] = unix.NLMSG_ERROR
	return b
}

// TestAnswers plays answers to a batch: a create, a get, an update, a get, and at last a delete.
func TestAnswers(t *testing.T) {
	const u = flow.Unanswered
	kinds := []flow.OpKind{flow.OpCreate, flow.OpGet, flow.OpUpdate, flow.OpGet, flow.OpDelete}
	got := func(i uint32) []byte { return entryMessage(i, 0, numbered(int(i))) }
	broken := got(3)
	broken[headers] = 3
	short := ack(2, 0)
	short = finish(short[:netlinkHeader+2], 0)
	for _, c := range []struct {
		name  string
		heard []heard
		want  []syscall.Errno
	}{
		{"all well", []heard{{got(1), nil}, {got(3), nil}, {ack(4, 0), nil}}, []syscall.Errno{0, 0, 0, 0, 0}},
		{"in one datagram", []heard{{slices.Concat(got(1), got(3), ack(4, 0)), nil}}, []syscall.Errno{0, 0, 0, 0, 0}},
		{"failures", []heard{{ack(0, unix.EEXIST), nil}, {ack(1, unix.ENOENT), nil}, {ack(2, unix.EBUSY), nil}, {ack(3, unix.ENOENT), nil}, {ack(4, unix.ENOENT), nil}},
			[]syscall.Errno{unix.EEXIST, unix.ENOENT, unix.EBUSY, unix.ENOENT, unix.ENOENT}},
		{"a get without its entry", []heard{{got(1), nil}, {ack(4, 0), nil}}, []syscall.Errno{0, 0, 0, u, 0}},
		{"an entry that cannot be read", []heard{{got(1), nil}, {broken, nil}, {ack(4, 0), nil}}, []syscall.Errno{0, 0, 0, unix.EBADMSG, 0}},
		{"a hole in the answers", []heard{{ack(0, unix.EEXIST), nil}, {nil, unix.ENOBUFS}, {got(3), nil}, {ack(4, 0), nil}},
			[]syscall.Errno{unix.EEXIST, u, u, 0, 0}},
		{"the end lost", []heard{{nil, unix.ENOBUFS}, {ack(0, unix.EEXIST), nil}, {got(1), nil}, {nil, unix.EAGAIN}},
			[]syscall.Errno{unix.EEXIST, 0, u, u, u}},
		{"silence", []heard{{nil, unix.EAGAIN}}, []syscall.Errno{u, u, u, u, u}},
		{"late answers of another batch", []heard{{ack(^uint32(0), unix.ENOMEM), nil}, {ack(5, unix.ENOMEM), nil}, {got(1), nil}, {got(3), nil}, {ack(4, 0), nil}},
			[]syscall.Errno{0, 0, 0, 0, 0}},
		{"no labels here", []heard{{got(1), nil}, {got(3), nil}, {ack(2, unix.ENOSPC), nil}, {ack(4, 0), nil}}, []syscall.Errno{0, 0, 0, 0, 0}},
		{"a short verdict", []heard{{got(1), nil}, {got(3), nil}, {short, nil}, {ack(4, 0), nil}}, []syscall.Errno{0, 0, u, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := scripted(c.heard)
			list := make([]flow.Op, len(kinds))
			for i := range list {
				list[i].Kind = kinds[i]
			}
			results := w.pending(list, nil)
			w.settle(0, results)
			for i, r := range results {
				if r.Errno != c.want[i] {
					t.Errorf("result %d: %v, want %v", i, r.Errno, c.want[i])
				}
				if r.Errno == 0 && reads(r.Kind) && r.Flow.Key != numbered(i).Key {
					t.Errorf("result %d is of %v", i, r.Flow.Key)
				}
			}
		})
	}
}

func scripted(list []heard) *Writer {
	w := &Writer{in: make([]byte, writerReadSize)}
	w.receive = func(bool) (int, error) {
		if len(list) == 0 {
			return 0, unix.EAGAIN
		}
		h := list[0]
		list = list[1:]
		return copy(w.in, h.datagram), h.err
	}
	return w
}

// TestGetAtTheEnd: the entry and the acknowledgement of the same operation.
func TestGetAtTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		heard []heard
		want  syscall.Errno
	}{
		"entry and acknowledgement": {[]heard{{entryMessage(0, 0, numbered(0)), nil}, {ack(0, 0), nil}}, 0},
		"acknowledgement only":      {[]heard{{ack(0, 0), nil}}, flow.Unanswered},
		"refusal":                   {[]heard{{ack(0, unix.ENOENT), nil}}, unix.ENOENT},
	} {
		results := []flow.Result{{Kind: flow.OpGet, Errno: flow.Unanswered}}
		scripted(c.heard).settle(0, results)
		if results[0].Errno != c.want {
			t.Errorf("%s: %v, want %v", name, results[0].Errno, c.want)
		}
	}
}

// TestPacketsOfAnEntry: both directions together.
func TestPacketsOfAnEntry(t *testing.T) {
	count := func(typ uint16, n uint64) (b []byte) {
		b = begin(b, typ)
		b = putBytes(b, ctaCountPackets, binary.BigEndian.AppendUint64(nil, n))
		b = putBytes(b, 2, make([]byte, 8)) // CTA_COUNTERS_BYTES
		return end(b, 0)
	}
	b := entryMessage(1, 0, numbered(1))
	with := finish(slices.Concat(b, count(ctaCountOrig, 7), count(ctaCountReply, 1<<32)), 0)
	for _, c := range []struct {
		message []byte
		want    uint64
	}{{b, 0}, {with, 7 + 1<<32}, {finish(slices.Clone(with[:len(with)-8]), 0), 7}} {
		m, _, err := nextMessage(c.message)
		if err != nil {
			t.Fatal(err)
		}
		if got := packets(&m); got != c.want {
			t.Errorf("%d packets, want %d", got, c.want)
		}
	}
}

// TestOnlyTheFirstWaitIsHidden from Go's scheduler, which it would hold up: a batch that took long is followed by ones that are
// told, until one is short again.
func TestOnlyTheFirstWaitIsHidden(t *testing.T) {
	var how string
	var took time.Duration
	now := time.Unix(0, 0)
	write := func(s string) func(int, []byte) error {
		return func(int, []byte) error {
			how, now = how+s, now.Add(took)
			return nil
		}
	}
	w := Writer{atOnce: write("h"), patiently: write("t"), now: func() time.Time { return now }}
	for _, took = range []time.Duration{0, workAtMost, time.Second, time.Second, 0, 0} {
		_ = w.send()
	}
	if how != "hhhtth" {
		t.Errorf("%s", how)
	}
}
