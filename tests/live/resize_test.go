package live

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ctsync/tests/bigtable"
	"ctsync/tests/lab"
)

// Somebody changes the size of the kernel's hash table, which is one for all network namespaces, while the daemons read
// it: a walk of the table then goes on elsewhere, without a word of what it has left out. Nothing that is left out is
// taken for ended. It runs alone, since it would disturb everybody who reads a table.
func TestTableResizedUnderADump(t *testing.T) {
	flows := pick(20000, 200_000)
	room(t, flows+20000)
	l := run(t, lab.Options{})
	coming := &churn{router: l.R1}
	if err := coming.turn(flows, 0, 0); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	resize := resizer(t)
	for _, r := range l.Routers() {
		again := 0
		for range pick(2, 20) {
			again += resyncWhile(t, r, resize)
		}
		if again == 0 {
			t.Errorf("%s: no dump was interrupted", r.Name)
		}
		t.Logf("%s: %d dumps were interrupted", r.Name, again)
	}
	settled(t, l)
	coming.left(t, "resized")
	same(t, l, "resized")
}

// resyncWhile has r compare its cache with the kernel's table, which is resized meanwhile, and gives how often the
// table was read in vain. Nothing differs.
func resyncWhile(t *testing.T, r *lab.Router, resize func()) (again int) {
	t.Helper()
	before, answer := state(t, r).Kernel.Dumps, make(chan string)
	go func() {
		out, err := r.Ask("resync")
		if err != nil {
			out += err.Error()
		}
		answer <- out
	}()
	for end := time.Now().Add(250 * time.Millisecond); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		resize()
	}
	select {
	case out := <-answer:
		if !slices.Contains(strings.Fields(out), "0") {
			t.Errorf("%s: resync says %q, and nothing has changed", r.Name, out)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: resync does not end", r.Name)
	}
	return int(state(t, r).Kernel.Dumps-before) - 1
}

// resizer gives what makes the hash table twice as large, and then as it was, in turns. At the test's end it is as it
// was, or sooner if the test is killed and another begins.
func resizer(t *testing.T) func() {
	t.Helper()
	if !bigtable.Held() { // else room has the lock, and has written down what there was
		restore, err := bigtable.Hold()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(restore)
	}
	limits, err := bigtable.Read()
	if err != nil {
		t.Fatal(err)
	}
	sizes := [2]int{2 * limits[1], limits[1]}
	return func() {
		if err := (bigtable.Limits{limits[0], sizes[0]}).Set(); err != nil {
			t.Fatal(err)
		}
		sizes[0], sizes[1] = sizes[1], sizes[0]
	}
}
