package kernel

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// tooManyToFill is where a full table would take too much of the machine: 400 MB and some seconds.
const tooManyToFill = 1 << 20

// TestFullTable fills the table of one network namespace, which the kernel counts by itself, up to the limit
// that the machine has. Only one such test runs at a time.
func TestFullTable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 100 MB of kernel memory")
	}
	lockFill(t)
	newNetns(t)
	nft(t, natTables)
	limit, _, err := Limits()
	if err != nil {
		t.Fatal(err)
	}
	if limit == 0 || limit > tooManyToFill {
		t.Skipf("nf_conntrack_max is %d: not filled", limit)
	}
	w := openWriter(t)
	begin := time.Now()
	filled := fill(t, w, limit)
	t.Logf("%d entries in %v", filled, time.Since(begin))
	if _, count, err := Limits(); err != nil || count != filled {
		t.Errorf("count %d, %v", count, err)
	}
	full := flow.Op{Kind: flow.OpCreate, Flow: numbered(1 << 22)}
	for _, n := range []int{1, 3, maxBatch} {
		for _, place := range []int{0, n / 2, n - 1} {
			list := numberedOps(flow.OpUpdate, 0, n)
			list[place] = full
			list[place].Tag = uint64(place)
			checkPlace(t, w, list, place, unix.ENOMEM)
		}
	}
	for _, f := range Check(Needs{}) {
		if f.Kind == TableSmall {
			return
		}
	}
	t.Error("Check has nothing to say on a full table")
}

// fill creates flows, all assured so that none makes room for another, until the table is full.
func fill(t *testing.T, w *Writer, limit int) (n int) {
	t.Helper()
	const step = 8 * maxBatch
	for n <= limit+step {
		for _, r := range w.Do(numberedOps(flow.OpCreate, n, step), nil) {
			switch r.Errno {
			case 0:
				n++
			case unix.ENOMEM:
				return n
			default:
				t.Fatalf("entry %d: %v", n, r.Errno)
			}
		}
	}
	t.Fatalf("%d entries, and the limit is %d", n, limit)
	return n
}

func lockFill(t *testing.T) {
	t.Helper()
	lock, err := os.Create(filepath.Join(os.TempDir(), "conntrack-table-fill.lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}
