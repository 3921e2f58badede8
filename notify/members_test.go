package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMembers(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string
		err   string
	}{
		{"as in the manual", map[string]string{"k": "vrrp_sync_group VG {\n    group {\n        VI_WAN\n        VI_LAN\n    }\n}\n"}, []string{"VI_WAN", "VI_LAN"}, ""},
		{"in one line", map[string]string{"k": "vrrp_sync_group VG { group { A B } }"}, []string{"A", "B"}, ""},
		{"braces close and apart", map[string]string{"k": "vrrp_sync_group VG{\ngroup{\nA}\n}"}, []string{"A"}, ""},
		{"brace on the next line", map[string]string{"k": "vrrp_sync_group VG\n{\ngroup\n{\nA\n}\n}"}, []string{"A"}, ""},
		{"comments", map[string]string{"k": "! vrrp_sync_group VG { group { X } }\nvrrp_sync_group VG { # a } b\n group {\n A # B\n ! C\n D\n }\n}"}, []string{"A", "D"}, ""},
		{"quotes", map[string]string{"k": "vrrp_sync_group \"VG\" {\n notify \"/bin/x group { X } # !\"\n group {\n \"A a\"\n \"B\" }\n}"}, []string{"A a", "B"}, ""},
		{"other blocks and groups", map[string]string{"k": "vrrp_instance A { virtual_ipaddress { 192.0.2.1 } }\nvrrp_sync_group O { group { X } }\n" +
			"vrrp_sync_group VG {\n track_script { chk }\n group { A }\n track_file { t }\n}"}, []string{"A"}, ""},
		{"include", map[string]string{"k": "include conf.d/*.conf\n", "conf.d/a.conf": "include more\n", "conf.d/b": "vrrp_sync_group VG { group { X } }",
			"conf.d/more": "vrrp_sync_group VG { group { A } }"}, []string{"A"}, ""},
		{"include within a block", map[string]string{"k": "vrrp_sync_group VG {\n group {\n  include members\n B\n }\n}", "members": "A\n"}, []string{"A", "B"}, ""},
		{"a missing include", map[string]string{"k": "includer absent\nvrrp_sync_group VG { group { A } }"}, []string{"A"}, ""},
		{"definitions", map[string]string{"k": "$GROUP=VG\n$N=1\nvrrp_sync_group $GROUP { group { VI_${N} $UNKNOWN } }"}, []string{"VI_1", "$UNKNOWN"}, ""},
		{"lines of a config id are left out", map[string]string{"k": "vrrp_sync_group VG {\n group {\n A\n @node1 B\n @^node2 C\n }\n}"}, []string{"A"}, ""},
		{"twice: the last counts", map[string]string{"k": "vrrp_sync_group VG { group { A } }\nvrrp_sync_group VG { group { B B } }"}, []string{"B"}, ""},
		{"no such group", map[string]string{"k": "vrrp_sync_group X { group { A } }\nvrrp_sync_group Y { group { A } }"}, nil, `has no vrrp_sync_group "VG" (it has: X, Y)`},
		{"no group at all", map[string]string{"k": "global_defs { }"}, nil, "(it has: none)"},
		{"no members", map[string]string{"k": "vrrp_sync_group VG { }"}, nil, "names no instances"},
		{"cut short", map[string]string{"k": "vrrp_sync_group VG { group { A"}, []string{"A"}, ""},
		{"includes itself", map[string]string{"k": "include k"}, nil, "does one include itself?"},
		{"no file", nil, nil, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Members(filepath.Join(dir, "k"), "VG")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, %v, want the error %q", got, err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzMembers(f *testing.F) {
	f.Add("vrrp_sync_group VG { group { A \"B\" } } # x\n$A=b\n@x y")
	f.Fuzz(func(t *testing.T, text string) {
		r := configReader{vars: map[string]string{}}
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "include") && r.line(line, "/nowhere") != nil {
				t.Errorf("%q is an error", line)
			}
		}
		syncGroup(r.words, "VG")
	})
}
