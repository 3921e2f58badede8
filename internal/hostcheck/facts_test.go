package hostcheck

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ctsync/internal/config"
	"ctsync/internal/keepalived"
)

// root is something of root's at a path.
func root(path string, mode fs.FileMode) *File {
	return &File{Path: path, Mode: mode, User: "root", Dir: &File{Path: filepath.Dir(path), Mode: fs.ModeDir | 0o755, User: "root"}}
}

// configured is the configuration of the text.
func configured(t *testing.T, text string) config.Config {
	t.Helper()
	c, faults := config.Parse("ctsync.conf", strings.NewReader(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return c
}

const settings = "failover-mechanism vrrp sync-group VG\ninterface eth2\nkey-file /etc/ctsync/key\n"

// well are the facts of a host on which all is well, but for keepalived's configuration, which is to be read.
func well(t *testing.T, settings string) *Facts {
	t.Helper()
	yes := true
	f := &Facts{
		ConfigPath: "ctsync.conf", Config: configured(t, settings), ClockSynced: &yes,
		Modules:   map[string]bool{"nf_conntrack": true, "nf_conntrack_netlink": true},
		Sysctls:   map[string]int{"net.netfilter.nf_conntrack_max": 262144, "net.netfilter.nf_conntrack_buckets": 262144, "net.ipv4.ip_forward": 1},
		Links:     []Link{{"eth2", true, true, true, 1500}},
		KeyFile:   root("/etc/ctsync/key", 0o600),
		Untracked: &Untracked{true, true},
		Daemon:    &Daemon{Node: "fw-a"},
	}
	f.Daemon.VRRP.Source = "fifo"
	if err := json.Unmarshal([]byte(`[{"name": "fw-b", "state": "in sync", "sealed": true}]`), &f.Daemon.Peers); err != nil {
		t.Fatal(err)
	}
	f.Keepalived = Keepalived{
		Program: &keepalived.Program{Version: keepalived.Version{2, 2, 7}, Options: []string{"VRRP", "DBUS"}},
		PID:     1, DaemonUser: "root",
		FIFO:     root(f.Config.NotifyFIFO, fs.ModeNamedPipe|0o600),
		TrackDir: root(filepath.Dir(f.Config.TrackFile), fs.ModeDir|0o755),
		Scripts:  map[string]*File{"/usr/sbin/ctsync": root("/usr/sbin/ctsync", 0o755)},
	}
	return f
}

// reads sets keepalived's configuration.
func (f *Facts) reads(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := keepalived.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Keepalived.Path, f.Keepalived.UsesConfig, f.Keepalived.Config = path, path, tree
}

// said are the ids of findings, hints in parentheses. Every finding must say what to do.
func said(t *testing.T, found []Finding) string {
	t.Helper()
	var ids []string
	for _, f := range found {
		if f.Text == "" || f.Remedy == "" || strings.Contains(f.Text, "%!") || strings.Contains(f.Remedy, "%!") {
			t.Errorf("%+v", f)
		}
		id := f.ID
		if f.Level == Hint {
			id = "(" + id + ")"
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " ")
}

// change replaces the first occurrence of each pair's first text, which must be there.
func change(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("there is no %q to replace", pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}
