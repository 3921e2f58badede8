package kernel

import (
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// numbered is the i-th of up to 16 million TCP flows that do not clash.
func numbered(i int) flow.Flow {
	f := newFlow(flow.TCP, "10.1.0.0", 1000, "203.0.113.9", 80)
	f.Src[1], f.Src[2], f.Src[3] = byte(1+i>>16), byte(i>>8), byte(i)
	f.Reply = f.Inverse()
	return f
}

func ops(kind flow.OpKind, flows ...flow.Flow) []flow.Op {
	list := make([]flow.Op, len(flows))
	for i := range flows {
		list[i] = flow.Op{Kind: kind, Tag: uint64(i), Flow: flows[i]}
	}
	return list
}

func numberedOps(kind flow.OpKind, from, n int) []flow.Op {
	flows := make([]flow.Flow, n)
	for i := range flows {
		flows[i] = numbered(from + i)
	}
	return ops(kind, flows...)
}

// do carries out one operation.
func do(w *Writer, kind flow.OpKind, f flow.Flow) flow.Result {
	return w.Do(ops(kind, f), nil)[0]
}

func mustDo(t testing.TB, w *Writer, list []flow.Op) {
	t.Helper()
	for i, r := range w.Do(list, nil) {
		if r.Errno != 0 {
			t.Fatalf("operation %d of %d: %v", i, len(list), r.Errno)
		}
	}
}

// failures are operations that the kernel refuses, each for another reason, on a table that prepare filled.
func failures() (prepare []flow.Op, bad map[syscall.Errno]flow.Op) {
	existing := newFlow(flow.TCP, "10.9.0.1", 1, "203.0.113.9", 1)
	missing := newFlow(flow.TCP, "10.9.0.2", 2, "203.0.113.9", 2)
	orphan := withExtra(missing, func(x *flow.Extra) { x.HasMaster, x.Master = true, numbered(1<<20).Key })
	prepare = ops(flow.OpCreate, existing)
	bad = map[syscall.Errno]flow.Op{
		unix.EEXIST: {Kind: flow.OpCreate, Flow: existing},
		unix.ENOENT: {Kind: flow.OpCreate, Flow: orphan},
		unix.EBUSY:  {Kind: flow.OpUpdate, Flow: with(existing, func(f *flow.Flow) { f.Status = flow.Confirmed })},
		unix.EOPNOTSUPP: {Kind: flow.OpCreate, Flow: withExtra(missing, func(x *flow.Extra) {
			x.Helper = helperName("no-such-helper")
		})},
	}
	return prepare, bad
}

func TestErrorsKeepTheirPlaces(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	prepare, bad := failures()
	mustDo(t, w, prepare)
	from := 0
	for want, op := range bad {
		for _, n := range []int{1, 2, 5, maxBatch, maxBatch + 1} {
			for _, place := range []int{0, n / 2, n - 1} {
				list := numberedOps(flow.OpCreate, from, n)
				from += n
				list[place] = op
				list[place].Tag = uint64(place)
				checkPlace(t, w, list, place, want)
			}
		}
	}
}

func checkPlace(t *testing.T, w *Writer, list []flow.Op, place int, want syscall.Errno) {
	t.Helper()
	got := w.Do(list, nil)
	if len(got) != len(list) {
		t.Fatalf("%d results of %d operations", len(got), len(list))
	}
	for i, r := range got {
		expect := syscall.Errno(0)
		if i == place {
			expect = want
		}
		if r.Errno != expect || r.Tag != uint64(i) || r.Kind != list[i].Kind {
			t.Fatalf("%v at %d of %d: result %d is %v, tag %d, kind %v", want, place, len(list), i, r.Errno, r.Tag, r.Kind)
		}
	}
}

func TestEveryFailureOfALongBatch(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	list := numberedOps(flow.OpCreate, 0, 1000)
	mustDo(t, w, list)
	for i, r := range w.Do(list, make([]flow.Result, 0, 3)) {
		if r.Errno != unix.EEXIST || r.Tag != uint64(i) {
			t.Fatalf("result %d: %v, tag %d", i, r.Errno, r.Tag)
		}
	}
}

func TestLostAcknowledgements(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	existing := numberedOps(flow.OpCreate, 0, maxBatch)
	mustDo(t, w, existing)
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the kernel's minimum
		t.Fatal(err)
	}
	// Every second one succeeds, unheard.
	list := numberedOps(flow.OpCreate, 0, maxBatch)
	for i := 1; i < len(list); i += 2 {
		list[i].Flow = numbered(5000 + i)
	}
	begin := time.Now()
	count := map[syscall.Errno]int{}
	for i, r := range w.Do(list, nil) {
		count[r.Errno]++
		if r.Errno == 0 || i%2 == 1 && r.Errno != flow.Unanswered {
			t.Errorf("result %d: %v", i, r.Errno)
		}
	}
	if count[unix.EEXIST] == 0 || count[flow.Unanswered] < maxBatch/2 {
		t.Errorf("results: %v", count)
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("waited %v for what the kernel had dropped", d)
	}
	if r := do(w, flow.OpCreate, numbered(9000)); r.Errno != 0 {
		t.Errorf("the batch after: %v", r.Errno)
	}
}

func TestNoAcknowledgement(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	if err := setReceiveTimeout(w.fd, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	list := numberedOps(flow.OpCreate, 0, 3)
	n := w.encode(list)
	length := len(w.out) / n
	w.out[length] = 7 // a message shorter than its header: the kernel forgets it and all after it
	w.out[length+1] = 0
	results := w.pending(list, nil)
	w.transact(results)
	for i, r := range results {
		if r.Errno != flow.Unanswered {
			t.Errorf("result %d: %v", i, r.Errno)
		}
	}
	if r := do(w, flow.OpCreate, numbered(0)); r.Errno != unix.EEXIST {
		t.Errorf("the first was carried out, so again it is %v", r.Errno)
	}
}

func TestClosedWriterAnswers(t *testing.T) {
	w, err := OpenWriter()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	results := w.Do(numberedOps(flow.OpCreate, 0, 300), nil)
	if len(results) != 300 || results[299].Errno != flow.Unanswered {
		t.Errorf("%d results", len(results))
	}
}

func TestGet(t *testing.T) {
	newNetns(t)
	nft(t, natTables+labelTable)
	w := openWriter(t)
	all := samples()
	createAll(t, w, all)
	var list []flow.Op
	for i, s := range all {
		list = append(list, flow.Op{Kind: flow.OpGet, Tag: uint64(i), Flow: flow.Flow{Key: s.flow.Key}})
		list = append(list, flow.Op{Kind: flow.OpGet, Flow: numbered(i)})
		list = append(list, flow.Op{Kind: flow.OpGetReply, Tag: uint64(i), Flow: s.flow})
	}
	for i, r := range w.Do(list, nil) {
		if i%3 == 1 {
			if r.Errno != unix.ENOENT {
				t.Errorf("get of nothing: %v", r.Errno)
			}
			continue
		}
		s := all[i/3]
		if r.Errno != 0 {
			t.Errorf("get %s: %v", s.name, r.Errno)
			continue
		}
		want := asHeld(s.flow)
		if d := cmp.Diff(want, near(r.Flow, want)); d != "" {
			t.Errorf("get %s: want -, got +:\n%s", s.name, d)
		}
	}
}

func TestDeleteNamesTheEntry(t *testing.T) {
	newNetns(t)
	nft(t, natTables+labelTable)
	w := openWriter(t)
	createAll(t, w, samples())
	for _, f := range dumpAll(t) {
		wrong := f
		wrong.ID++
		if r := do(w, flow.OpDelete, wrong); r.Errno != unix.ENOENT {
			t.Errorf("%v deleted by another's id: %v", f.Key, r.Errno)
		}
		r := do(w, flow.OpDelete, f)
		if r.Errno != 0 {
			t.Errorf("%v: %v", f.Key, r.Errno)
		}
	}
	if table := dumpAll(t); len(table) != 0 {
		t.Errorf("%d entries left", len(table))
	}
}

func TestUpdate(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	mark := func(m uint32) func(*flow.Flow) { return func(f *flow.Flow) { f.Mark = m } }
	base := newFlow(flow.TCP, "10.0.0.1", 1, "203.0.113.1", 80)
	nat := snat(base, "198.51.100.1", 999)
	master := withExtra(newFlow(flow.TCP, "10.0.0.2", 1, "203.0.113.1", 21), func(x *flow.Extra) { x.Helper = helperName("ftp") })
	child := withExtra(newFlow(flow.TCP, "203.0.113.1", 20, "10.0.0.2", 2), func(x *flow.Extra) { x.HasMaster, x.Master = true, master.Key })
	mustDo(t, w, ops(flow.OpCreate, master))
	for _, c := range []struct {
		name     string
		from, to flow.Flow
	}{
		{"timeout down", base, with(base, func(f *flow.Flow) { f.Timeout = 60 })},
		{"timeout up", base, with(base, func(f *flow.Flow) { f.Timeout = 432000 })},
		{"mark", base, with(base, mark(7))},
		{"mark gone", with(base, mark(7)), base},
		{"state", base, with(base, func(f *flow.Flow) { f.State = flow.TCPFinWait })},
		{"reply seen", with(base, func(f *flow.Flow) { f.Status = flow.Confirmed }), base},
		{"nat stays", nat, with(nat, mark(9))},
		{"child", child, withExtra(with(child, func(f *flow.Flow) { f.Mark, f.Status = 9, f.Status|flow.Expected }), func(x *flow.Extra) { *x = *child.Extra })},
		{"seqadj later", nat, withExtra(nat, func(x *flow.Extra) { x.HasSeqAdj, x.SeqAdj = true, [2]flow.SeqAdj{0: {Pos: 1, After: 5}} })},
		{"synproxy later", base, withExtra(base, func(x *flow.Extra) { x.HasSynProxy, x.SynProxy = true, flow.SynProxy{ISN: 5} })},
		{"fixed timeout", base, with(base, func(f *flow.Flow) { f.Status |= flow.FixedTime })},
		{"fixed timeout again", with(base, func(f *flow.Flow) { f.Status |= flow.FixedTime }), with(base, func(f *flow.Flow) { f.Status |= flow.FixedTime; f.Mark = 3 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := do(w, flow.OpUpdate, c.to); r.Errno != unix.ENOENT {
				t.Errorf("of nothing: %v", r.Errno)
			}
			mustDo(t, w, ops(flow.OpCreate, c.from))
			mustDo(t, w, ops(flow.OpUpdate, c.to))
			got := do(w, flow.OpGet, c.to)
			want := asHeld(c.to)
			if d := cmp.Diff(want, near(got.Flow, want)); d != "" {
				t.Errorf("want -, kernel +:\n%s", d)
			}
			mustDo(t, w, ops(flow.OpDelete, c.to))
		})
	}
}

// TestClearedLabels: an event says nothing of labels that were cleared, but HasRare that there are none.
func TestClearedLabels(t *testing.T) {
	newNetns(t)
	nft(t, natTables+labelTable)
	w := openWriter(t)
	e := openEvents(t, EventsConfig{})
	f := withExtra(newFlow(flow.UDP, "10.0.0.1", 1, "203.0.113.1", 80), func(x *flow.Extra) { x.Labels[3] = 1 })
	mustDo(t, w, ops(flow.OpCreate, f))
	if got := do(w, flow.OpGet, f).Flow; got.Extra == nil || got.Extra.Labels != f.Extra.Labels {
		t.Fatalf("extra %v", got.Extra)
	}
	f = withExtra(f, func(x *flow.Extra) { x.LabelsCleared = true })
	mustDo(t, w, ops(flow.OpUpdate, f))
	if got := do(w, flow.OpGet, f).Flow; got.Extra != nil {
		t.Errorf("extra %v", got.Extra)
	}
	events, _ := drain(t, e)
	if len(events) != 2 || events[1].Flow.Extra != nil || events[1].Has&flow.HasRare == 0 {
		t.Errorf("events %+v", events)
	}
}

// TestUpdateWithoutLabelRules: a kernel without rules on labels refuses them after everything else is done.
func TestUpdateWithoutLabelRules(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	f := newFlow(flow.UDP, "10.0.0.1", 1, "203.0.113.1", 80)
	mustDo(t, w, ops(flow.OpCreate, f))
	f = withExtra(f, func(x *flow.Extra) { x.Labels[3] = 1 })
	f.Mark = 12
	mustDo(t, w, ops(flow.OpUpdate, f))
	if got := do(w, flow.OpGet, f).Flow; got.Mark != 12 || got.Extra != nil {
		t.Errorf("mark %d, extra %v", got.Mark, got.Extra)
	}
}
