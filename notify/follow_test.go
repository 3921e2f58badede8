package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ctsync/vrrp"
)

// What the old FIFO still holds is read before the new one.
func TestFollowReadsTheOldOneFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	f, err := OpenFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(path, []byte("GROUP \"old\" MASTER 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	var names []string
	deliver := func(n vrrp.Notice) { names = append(names, n.Name) }
	buf := make([]byte, 4096)
	f.follow(buf, deliver)
	if err := os.WriteFile(path, []byte("GROUP \"new\" MASTER 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.drain(f.file.Load(), buf, deliver)
	if got := strings.Join(names, " "); got != "old new" {
		t.Errorf("heard %q", got)
	}
}

// The rest of an over-long line is not taken for a line of its own, wherever it is cut.
func TestOverlongLineInPieces(t *testing.T) {
	f := &FIFO{}
	var names []string
	for _, piece := range []string{
		strings.Repeat("x", maxLine+1), "GROUP \"A\" MASTER 0\n", "GROUP \"B\" ", "MASTER 0\nGROUP \"C\" MASTER 0\n",
	} {
		f.take([]byte(piece), func(n vrrp.Notice) { names = append(names, n.Name) })
	}
	if got := strings.Join(names, " "); got != "B C" || f.Stats().Malformed != 1 {
		t.Errorf("heard %q, %+v", got, f.Stats())
	}
}
