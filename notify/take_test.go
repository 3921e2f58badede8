package notify

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTakeFIFO: root's FIFO goes to its folder's owner, and nothing else that somebody may have put there does.
func TestTakeFIFO(t *testing.T) {
	const nobody = 65534
	folder := filepath.Join(t.TempDir(), "run")
	at := func(name string) string { return filepath.Join(folder, name) }
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	must(os.Mkdir(folder, 0o755), unix.Mkfifo(at("fifo"), 0o600))
	owner := func(name string) uint32 {
		var st unix.Stat_t
		must(unix.Lstat(at(name), &st))
		return st.Uid
	}
	take := func(name string, want bool) {
		t.Helper()
		taken, err := TakeFIFO(at(name))
		if err != nil || taken != want {
			t.Errorf("%s: %v, %v", name, taken, err)
		}
	}
	take("fifo", false) // in root's folder
	must(os.Chown(folder, nobody, nobody))
	keepalived, err := os.OpenFile(at("fifo"), os.O_RDWR, 0)
	must(err)
	defer keepalived.Close()
	take("fifo", true)
	if owner("fifo") != nobody {
		t.Errorf("it belongs to %d", owner("fifo"))
	}
	if _, err := keepalived.WriteString("GROUP \"VG\" MASTER 100\n"); err != nil {
		t.Error(err)
	}
	take("fifo", false) // it is taken
	take("none", false)

	must(os.WriteFile(at("file"), nil, 0o600), unix.Mkfifo(at("other"), 0o600), os.Link(at("other"), at("hard")), os.Symlink(at("other"), at("soft")))
	for _, name := range []string{"file", "hard", "other", "soft"} {
		take(name, false)
		if owner(name) != 0 {
			t.Errorf("%s belongs to %d", name, owner(name))
		}
	}
}
