package cache

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

type (
	key   struct{ a uint32 }
	value struct{ v uint64 }
)

func good(k *key) uint64 { h := uint64(k.a) * 0x9e3779b97f4a7c15; return h ^ h>>32 }

// bad makes every bucket a chain.
func bad(k *key) uint64 { return uint64(k.a % 3) }

// tableModel is a Table as a map: key -> owner -> value, and the kernel bits.
type tableModel struct {
	copies map[key]map[uint8]uint64
	kern   map[key]uint16
}

func TestTableIsAMap(t *testing.T) {
	for name, hash := range map[string]func(*key) uint64{"good": good, "bad": bad} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkTable(t, hash) })
		})
	}
}

func checkTable(t *rapid.T, hash func(*key) uint64) {
	var dropped, total int
	tbl := New[key, value](hash, func(*value) { dropped++ })
	m := tableModel{map[key]map[uint8]uint64{}, map[key]uint16{}}
	someKey := rapid.Custom(func(t *rapid.T) key { return key{rapid.Uint32Range(0, 60).Draw(t, "key")} })
	owner := rapid.Uint8Range(0, 3)
	t.Repeat(map[string]func(*rapid.T){
		"add": func(t *rapid.T) {
			k, o, v := someKey.Draw(t, "k"), owner.Draw(t, "o"), rapid.Uint64().Draw(t, "v")
			_, c := tbl.Add(tbl.Insert(&k), o)
			c.Value.v = v
			if m.copies[k] == nil {
				m.copies[k] = map[uint8]uint64{}
			}
			m.copies[k][o] = v
		},
		"kern": func(t *rapid.T) {
			k, bits := someKey.Draw(t, "k"), rapid.Uint16Range(0, 1).Draw(t, "bits")
			r := tbl.Insert(&k)
			tbl.Entry(r).Kern = bits
			m.kern[k] = bits
			if gone := tbl.Release(r); gone != (bits == 0 && len(m.copies[k]) == 0) {
				t.Fatalf("release of %v: %v, with bits %d and copies %v", k, gone, bits, m.copies[k])
			}
		},
		"drop": func(t *rapid.T) {
			k, o := someKey.Draw(t, "k"), owner.Draw(t, "o")
			r := tbl.Find(&k)
			if r == 0 {
				return
			}
			if _, has := m.copies[k][o]; has {
				total++
			}
			tbl.Drop(r, o)
			delete(m.copies[k], o)
			tbl.Release(r)
		},
		"": func(t *rapid.T) {
			m.compare(t, tbl)
			if dropped != total {
				t.Fatalf("onDrop was called %d times for %d copies", dropped, total)
			}
		},
	})
}

func (m *tableModel) compare(t *rapid.T, tbl *Table[key, value]) {
	entries, copies := 0, 0
	for a := range uint32(61) {
		k := key{a}
		want := m.copies[k]
		r := tbl.Find(&k)
		if listed := len(want) > 0 || m.kern[k] != 0; listed != (r != 0) {
			t.Fatalf("%v: entry %d, want listed %v", k, r, listed)
		}
		if r == 0 {
			continue
		}
		entries, copies = entries+1, copies+len(want)
		got := map[uint8]uint64{}
		tbl.Each(r, func(c *Copy[value]) {
			if c.Entry() != r {
				t.Fatalf("a copy of entry %d says it is of %d", r, c.Entry())
			}
			got[c.Owner] = c.Value.v
		})
		if !maps.Equal(got, want) {
			t.Fatalf("%v: got %v, want %v", k, got, want)
		}
		if tbl.Entry(r).Key != k || !tbl.Used(r) {
			t.Fatalf("entry %d of %v has key %v", r, k, tbl.Entry(r).Key)
		}
	}
	if tbl.Len() != entries || tbl.Copies() != copies {
		t.Fatalf("Len %d and Copies %d, want %d and %d", tbl.Len(), tbl.Copies(), entries, copies)
	}
}

// TestTableGrows goes through several doublings, with every key findable at every size.
func TestTableGrows(t *testing.T) {
	tbl := New[key, value](good, nil)
	const n = 5*pageSize + 7
	for i := range uint32(n) {
		k := key{i}
		if r := tbl.Insert(&k); tbl.Entry(r).Key != k || tbl.Insert(&k) != r {
			t.Fatalf("insert of %d gave another entry", i)
		}
		if i%1000 != 0 {
			continue
		}
		for j := range i + 1 {
			if k := (key{j}); tbl.Find(&k) == 0 {
				t.Fatalf("%d is lost with %d in", j, i+1)
			}
		}
	}
	if got := tbl.longestChain(); got > 12 {
		t.Errorf("longest chain has %d entries: the buckets did not grow with the table", got)
	}
	for i := range uint32(n) {
		k := key{i}
		if !tbl.Release(tbl.Find(&k)) || tbl.Find(&k) != 0 {
			t.Fatalf("%d was not released", i)
		}
	}
	top := tbl.Top()
	for i := range uint32(n) {
		k := key{i + n}
		tbl.Insert(&k)
	}
	if tbl.Top() != top {
		t.Errorf("entries grew to %d although %d were free", tbl.Top(), top)
	}
}

func (t *Table[K, V]) longestChain() (most int) {
	for _, page := range t.buckets {
		for _, r := range page {
			n := 0
			for ; r != 0; r = t.Entry(r).next {
				n++
			}
			most = max(most, n)
		}
	}
	return most
}

// TestTableUsesCopiesAgain: what is dropped is the next to be used.
func TestTableUsesCopiesAgain(t *testing.T) {
	tbl := New[key, value](good, nil)
	r := tbl.Insert(&key{1})
	for i := range 3 * pageSize {
		ref, c := tbl.Add(r, uint8(i%2))
		if c.Seq != 0 || c.Bits != 0 || c.Value.v != 0 {
			t.Fatalf("a new copy is not empty: %+v", c)
		}
		c.Seq, c.Bits, c.Value.v = 1, Dead, 1
		if !tbl.UsedCopy(ref) {
			t.Fatalf("copy %d is not used", ref)
		}
		tbl.Drop(r, uint8(i%2))
		if tbl.UsedCopy(ref) {
			t.Fatalf("copy %d is used after its drop", ref)
		}
	}
	if tbl.TopCopy() != 1 {
		t.Errorf("%d copies were made for one at a time", tbl.TopCopy())
	}
}
