package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeepalivedPrint: the lines are of this configuration, and of the instances that keepalived has.
func TestKeepalivedPrint(t *testing.T) {
	dir := t.TempDir()
	path, kept := filepath.Join(dir, "ctsync.conf"), filepath.Join(dir, "keepalived.conf")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const usual = "interface sync0\nfailover-mechanism vrrp sync-group G\n"
	settings := usual + "keepalived-config " + kept + "\ntrack-file " + dir + "/ready\nnotify-fifo " + dir + "/fifo\n"
	write(kept, "vrrp_instance A {\n}\nvrrp_instance B {\n}\n")
	for _, c := range []struct {
		also, flags string
		exit        int
		want        []string
	}{
		{"", "", 0, []string{"vrrp_notify_fifo " + dir + "/fifo", "vrrp_sync_group G {\n    group {\n        A\n        B\n    }\n}"}},
		{"", "--readiness", 0, []string{"file " + dir + "/ready", "track_file {\n        ctsync\n    }"}},
		{"", "--driver dbus", 0, []string{"enable_dbus"}},
		{"", "--driver scripts", 0, []string{"script_user root", ` notify --config ` + path + `"`}},
		{"notify-fifo off\n", "", 0, []string{"enable_dbus"}},
		{"notify-fifo off\ndbus off\n", "", 0, []string{"script_user root"}},
		{"notify-fifo off\n", "--driver fifo", 1, []string{"notify-fifo is off"}},
		{"dbus off\n", "--driver dbus", 1, []string{"say `dbus on`"}},
		{"", "--driver bus", 2, []string{"fifo, dbus, scripts are allowed"}},
		{"cluster", "", 1, []string{"keepalived has no part in it"}},
		{"nonsense 1\n", "", 1, []string{"nonsense"}},
	} {
		text := settings + c.also
		switch {
		case strings.HasPrefix(c.also, "notify-fifo off"):
			text = strings.Replace(settings, "notify-fifo "+dir+"/fifo\n", c.also, 1)
		case c.also == "cluster":
			text = "interface sync0\nfailover-mechanism cluster group G\n"
		}
		write(path, text)
		got := ctsync(append([]string{"keepalived", "print", "--config", path}, strings.Fields(c.flags)...)...)
		if got.exit != c.exit {
			t.Errorf("%q %s: %+v", c.also, c.flags, got)
		}
		for _, w := range c.want {
			if !strings.Contains(got.stdout+got.stderr, w) {
				t.Errorf("%q %s: no %q in\n%s%s", c.also, c.flags, w, got.stdout, got.stderr)
			}
		}
	}
	write(path, settings)
	var j struct {
		Driver string
		Lines  []string
	}
	if got := ctsync("keepalived", "print", "--config", path, "--output", "json"); json.Unmarshal([]byte(got.stdout), &j) != nil || j.Driver != "fifo" || j.Lines[0] != "global_defs {" {
		t.Errorf("%+v", got)
	}
}
