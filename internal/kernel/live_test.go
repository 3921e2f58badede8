package kernel

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ctsync/engine/flow"
)

func openWriter(t testing.TB) *Writer {
	t.Helper()
	w, err := OpenWriter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// dumpAll is the table, by key.
func dumpAll(t testing.TB) map[flow.Key]flow.Flow {
	t.Helper()
	table := map[flow.Key]flow.Flow{}
	err := Dump(make([]flow.Flow, 7), func(flows []flow.Flow) error {
		for _, f := range flows {
			if _, ok := table[f.Key]; ok {
				t.Errorf("%v twice in the dump", f.Key)
			}
			if f.Extra != nil {
				x := *f.Extra
				f.Extra = &x
			}
			table[f.Key] = f
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// asHeld is the flow as a kernel holds it after it was created there: what the kernel adds by itself, and
// what it is not told.
func asHeld(f flow.Flow) flow.Flow {
	_, _, src := f.SourceNAT()
	_, _, dst := f.DestNAT()
	f.Status = f.Status&flow.SettableStatus | flow.Confirmed
	if src || dst {
		f.Status |= flow.SrcNATDone | flow.DstNATDone
	}
	if src {
		f.Status |= flow.SrcNAT
	}
	if dst {
		f.Status |= flow.DstNAT
	}
	if x := f.Extra; x != nil {
		if x.HasMaster {
			f.Status |= flow.Expected
		}
		if x.HasSeqAdj {
			f.Status |= flow.SeqAdjust
		}
		if x.Helper != [16]byte{} {
			f.Status |= flow.Helper
		}
	}
	if f.L4 == flow.GRE {
		f.Status |= flow.FixedTime
	}
	if f.L4 == flow.TCP {
		for i := range f.TCPFlags {
			f.TCPFlags[i] = f.TCPFlags[i]&flow.TCPFlagsKept | flow.TCPFlagBeLiberal
		}
	}
	return f
}

// near forgives a timeout the seconds that a test takes.
func near(got, want flow.Flow) flow.Flow {
	if got.Timeout <= want.Timeout && got.Timeout+5 >= want.Timeout {
		got.Timeout = want.Timeout
	}
	got.ID = 0
	return got
}

func createAll(t testing.TB, w *Writer, flows []sample) {
	t.Helper()
	ops := make([]flow.Op, len(flows))
	for i, s := range flows {
		ops[i] = flow.Op{Kind: flow.OpCreate, Tag: uint64(i) + 1, Flow: s.flow}
	}
	for i, r := range w.Do(ops, nil) {
		if r.Errno != 0 || r.Tag != uint64(i)+1 || r.Kind != flow.OpCreate {
			t.Errorf("create %s: %+v %v", flows[i].name, r.Tag, r.Errno)
		}
	}
}

func TestCreateThenDump(t *testing.T) {
	newNetns(t)
	nft(t, natTables+labelTable)
	w := openWriter(t)
	createAll(t, w, samples())
	table := dumpAll(t)
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			want := asHeld(s.flow)
			got, ok := table[want.Key]
			if !ok {
				t.Fatalf("not in the dump")
			}
			if got.ID == 0 {
				t.Errorf("no id")
			}
			if d := cmp.Diff(want, near(got, want)); d != "" {
				t.Errorf("want -, dump +:\n%s", d)
			}
		})
	}
	if len(table) != len(samples()) {
		t.Errorf("%d entries, created %d", len(table), len(samples()))
	}
}
