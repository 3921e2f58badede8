package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"ctsync/internal/config"
	"ctsync/vrrp"
)

// What a cluster manager ordered holds for the next daemon of this boot, and for its own group.
func TestOrderIsRemembered(t *testing.T) {
	f := newFake(t, config.Cluster)
	path := orderPath(f.cfg.Control)
	d := &drivers{cfg: &f.cfg}
	if s := d.ordered(); s != vrrp.Unknown {
		t.Errorf("%s before any order", s)
	}
	for words, want := range map[string]vrrp.State{"start": vrrp.Master, "stop": vrrp.Backup} {
		if _, stderr, exit := f.ask("cluster", words, "VG"); exit != 0 {
			t.Fatal(stderr)
		}
		if s := d.ordered(); s != want {
			t.Errorf("%s after %s", s, words)
		}
	}
	if s := recallOrder(path, "OTHER"); s != vrrp.Unknown {
		t.Errorf("%s of another group", s)
	}
	if f.cfg.Failover.Mechanism = config.VRRP; d.ordered() != vrrp.Unknown {
		t.Error("an order where keepalived decides")
	}
}

func TestOrderOfAnotherTime(t *testing.T) {
	control := filepath.Join(t.TempDir(), "control")
	path := orderPath(control)
	for text, want := range map[string]vrrp.State{
		"A B MASTER " + bootID() + "\n": vrrp.Master, // a group's name may have spaces
		"A B MASTER another-boot\n":     vrrp.Unknown,
		"A B MASTER\n":                  vrrp.Unknown,
		"A B " + bootID() + "\n":        vrrp.Unknown,
		"":                              vrrp.Unknown,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := recallOrder(path, "A B"); s != want {
			t.Errorf("%q: %s, want %s", text, s, want)
		}
	}
	if err := rememberOrder(path, "A B", vrrp.Master); err != nil || recallOrder(path, "A B") != vrrp.Master {
		t.Errorf("remembered: %v", err)
	}
	for range 2 { // the second time there is nothing to forget
		if err := ForgetOrder(control); err != nil || recallOrder(path, "A B") != vrrp.Unknown {
			t.Errorf("forgotten: %v", err)
		}
	}
}
