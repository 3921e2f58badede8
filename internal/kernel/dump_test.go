package kernel

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// script plays datagrams to a dump.
func script(datagrams ...[]byte) func([]byte) (int, error) {
	return func(b []byte) (int, error) {
		if len(datagrams) == 0 {
			return 0, unix.EAGAIN
		}
		n := copy(b, datagrams[0])
		datagrams = datagrams[1:]
		return n, nil
	}
}

// entryMessage is a dump's message for f, flags besides NLM_F_MULTI.
func entryMessage(seq uint32, flags uint16, f flow.Flow) []byte {
	b := appendHeader(nil, msgNew, flags|unix.NLM_F_MULTI, seq, f.L3)
	return finish(appendReply(appendOrig(b, &f), &f, &f.Reply), 0)
}

func doneMessage(seq uint32, flags uint16, errno unix.Errno) []byte {
	b := appendHeader(nil, unix.NLMSG_DONE, flags, seq, 0)[:netlinkHeader]
	code := -int32(errno)
	return finish(append(b, byte(code), byte(code>>8), byte(code>>16), byte(code>>24)), 0)
}

// play runs a dump over a script; it returns the sizes of the pieces.
func play(pieces int, stop error, datagrams ...[]byte) (sizes []int, err error) {
	d := dump{into: make([]flow.Flow, pieces), seq: 1, each: func(flows []flow.Flow) error {
		sizes = append(sizes, len(flows))
		return stop
	}}
	err = d.run(script(datagrams...))
	return sizes, err
}

func TestDumpEnds(t *testing.T) {
	a, b, c := entryMessage(1, 0, numbered(1)), entryMessage(1, 0, numbered(2)), entryMessage(1, 0, numbered(3))
	shaken := entryMessage(1, unix.NLM_F_DUMP_INTR, numbered(4))
	broken := entryMessage(1, 0, numbered(5))
	broken[headers] = 3 // the first attribute shorter than its header
	done := doneMessage(1, 0, 0)
	stop := errors.New("stop")
	for _, x := range []struct {
		name      string
		stop      error
		datagrams [][]byte
		sizes     []int
		err       error
	}{
		{"empty", nil, [][]byte{done}, nil, nil},
		{"one piece", nil, [][]byte{a, done}, []int{1}, nil},
		{"full and rest", nil, [][]byte{slices.Concat(a, b), slices.Concat(c, done)}, []int{2, 1}, nil},
		{"full only", nil, [][]byte{slices.Concat(a, b, done)}, []int{2}, nil},
		{"interrupted", nil, [][]byte{slices.Concat(a, shaken), b, done}, []int{2, 1}, ErrInterrupted},
		{"interrupted at the end", nil, [][]byte{a, doneMessage(1, unix.NLM_F_DUMP_INTR, 0)}, []int{1}, ErrInterrupted},
		{"refused", nil, [][]byte{doneMessage(1, 0, unix.EPERM)}, nil, unix.EPERM},
		{"broken off", nil, [][]byte{a, doneMessage(1, 0, unix.ENOMEM)}, nil, unix.ENOMEM},
		{"silent", nil, [][]byte{a}, nil, unix.EAGAIN},
		{"stopped", stop, [][]byte{a, b, c, done}, []int{2}, stop},
		{"stopped at the end", stop, [][]byte{a, done}, []int{1}, stop},
		{"malformed", nil, [][]byte{slices.Concat(a, broken, b), slices.Concat(broken, done)}, []int{2}, MalformedError(2)},
		{"cut", nil, [][]byte{a[:len(a)-4], done}, nil, errTruncated},
		{"somebody else's", nil, [][]byte{entryMessage(9, 0, numbered(6)), doneMessage(9, 0, 0), a, done}, []int{1}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			sizes, err := play(2, x.stop, x.datagrams...)
			if !slices.Equal(sizes, x.sizes) || !errors.Is(err, x.err) || x.err == nil && err != nil {
				t.Errorf("pieces %v, want %v; error %v, want %v", sizes, x.sizes, err, x.err)
			}
		})
	}
}

// TestDumpStopsEarly on the real kernel, and the next one is whole.
func TestDumpStopsEarly(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	mustDo(t, openWriter(t), numberedOps(flow.OpCreate, 0, 3000))
	stop := errors.New("stop")
	if err := Dump(make([]flow.Flow, 10), func([]flow.Flow) error { return stop }); err != stop {
		t.Error(err)
	}
	if table := dumpAll(t); len(table) != 3000 {
		t.Errorf("%d entries", len(table))
	}
}

// TestExtrasOfAPieceAreApart: each flow of a piece has its own Extra, however many there are.
func TestExtrasOfAPieceAreApart(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	const n = 5 * extrasBlock
	list := numberedOps(flow.OpCreate, 0, n)
	for i := range list {
		list[i].Flow = withExtra(list[i].Flow, func(x *flow.Extra) { x.HasSynProxy, x.SynProxy.ISN = true, uint32(list[i].Flow.Src[3])+1 })
	}
	mustDo(t, openWriter(t), list)
	err := Dump(make([]flow.Flow, n), func(flows []flow.Flow) error {
		if len(flows) != n {
			t.Errorf("%d flows", len(flows))
		}
		for _, f := range flows {
			if f.Extra == nil || f.Extra.SynProxy.ISN != uint32(f.Src[3])+1 {
				t.Fatalf("%v has %+v", f.Key, f.Extra)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDumpOfAResizedTable is not whole, whatever the kernel says: neither if the table has another size at the end, nor
// if it had one in between.
func TestDumpOfAResizedTable(t *testing.T) {
	newNetns(t)
	mustDo(t, openWriter(t), numberedOps(flow.OpCreate, 0, 1000))
	real := openBuckets
	defer func() { openBuckets = real }()
	size, done := real()
	defer done()
	if is, err := readSysctl("nf_conntrack_buckets"); err != nil || size() != is || size() != is {
		t.Fatalf("%d buckets twice, %v", is, err)
	}
	for _, c := range []struct {
		name  string
		sizes []int // as they are read; the last one stays
		whole bool
	}{{"as it was", []int{1024}, true}, {"larger", []int{1024, 1024, 2048}, false}, {"larger and smaller again", []int{1024, 1024, 2048, 1024}, false}} {
		reads := 0
		openBuckets = func() (func() int, func()) {
			return func() int { reads++; return c.sizes[min(reads, len(c.sizes))-1] }, func() {}
		}
		err := Dump(make([]flow.Flow, 8), func([]flow.Flow) error { return nil })
		if reads < 3 || errors.Is(err, ErrInterrupted) == c.whole || c.whole && err != nil {
			t.Errorf("%s: %v after %d looks at the size", c.name, err, reads)
		}
	}
}
