package daemon

import (
	"os"
	"testing"

	"ctsync/internal/config"
	"ctsync/internal/control"
	"ctsync/internal/kernel"
)

// TestRingIsGiven: root's is taken, once; nobody else's, and nothing else.
func TestRingIsGiven(t *testing.T) {
	f := newFake(t, config.VRRP)
	events, err := kernel.OpenEvents(kernel.EventsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	f.kernel = &kernelEdge{events: events}
	for _, c := range []struct {
		name         string
		root, broken bool
		exit         int
		taken        bool
	}{
		{"another's", false, false, exitFailed, false},
		{"something else", true, true, exitFailed, false},
		{"root's", true, false, exitOK, true},
		{"a second one", true, false, exitOK, true},
	} {
		r, err := kernel.MakeRing()
		if err != nil {
			t.Fatal(err)
		}
		files := r.Files()
		if c.broken {
			files[2].Close()
			files = files[:2]
		}
		_, stderr, exit := f.askAs(control.Request{Verb: []string{"ring"}, Root: c.root, Files: files})
		if exit != c.exit || (exit == exitOK) != (stderr == "") || events.Stats().Ring != c.taken {
			t.Errorf("%s: exit code %d, %q, ring %v", c.name, exit, stderr, events.Stats().Ring)
		}
		if kept := c.name == "root's"; open(files) != kept {
			t.Errorf("%s: its files are open %v, want %v", c.name, !kept, kept)
		}
	}
}

func open(files []*os.File) bool {
	for _, f := range files {
		if _, err := f.Stat(); err != nil {
			return false
		}
	}
	return true
}
