package keepalived

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// outline is statements as text: one a line, blocks indented.
func outline(block []*Statement) string {
	var p printer
	for _, s := range block {
		p.statement(s)
	}
	return strings.Join(p.lines, "\n")
}

// TestRead: the shapes that a statement may have.
func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {"", ""},
		"comments":         {"# a\n! b\na b # c\n", "a b"},
		"quotes":           {`a "b # c" d`, `a "b # c" d`},
		"block":            {"a x {\n b\n c d\n}\ne", "a x {\n    b\n    c d\n}\ne"},
		"one line":         {"g { A B }\nh", "g {\n    A B\n}\nh"},
		"brace below":      {"a\n{\n b\n}\n", "a {\n    b\n}"},
		"definition":       {"$X = wan0\ni $X ${X}y", "i wan0 wan0y"},
		"unknown one":      {"i $X", "i $X"},
		"another instance": {"@one a\nb", "b"},
		"two lines":        {"a \\\n b\nc", "a b\nc"},
		"brace too many":   {"a\n}\nb", "a\nb"},
	} {
		c2, err := Read(written(t, "k.conf", c.text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, outline(c2.Top)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestInclude(t *testing.T) {
	path := written(t, "k.conf", "a\ninclude d/*.conf\ninclude nothing.conf\ninclude_check\nb")
	for i, text := range []string{"vrrp_instance A {\n x\n}", "c"} {
		if err := os.MkdirAll(filepath.Dir(path)+"/d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/d/%d.conf", filepath.Dir(path), i), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := outline(c.Top); got != "a\nvrrp_instance A {\n    x\n}\nc\ninclude_check\nb" {
		t.Error(got)
	}
	if at := c.Instance("A").Block[0].At; filepath.Base(at.File) != "0.conf" || at.Line != 2 {
		t.Error(at)
	}
	loop := written(t, "loop.conf", "include loop.conf")
	if _, err := Read(loop); err == nil || !strings.Contains(err.Error(), "includes itself") && !strings.Contains(err.Error(), "include itself") {
		t.Error(err)
	}
	if _, err := Read(loop + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestQueries(t *testing.T) {
	c, err := Read(written(t, "k.conf", `
global_defs { script_user nobody }
global_defs {
  script_user root
  startup_script "/usr/sbin/ctsync wait-synced"
  vrrp_notify_fifo /run/f
}
vrrp_script s { script "/bin/true 'a b'" }
vrrp_sync_group G {
  group { A B }
  notify "/usr/sbin/ctsync notify" root
  notify_priority_changes true
}
vrrp_instance A { priority 7 }
vrrp_instance C { priority x }
vrrp_instance D {
`))
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Global().Get("script_user"); u.Arg(1) != "root" || u.Arg(2) != "" {
		t.Error(u)
	}
	if m := Members(c.Group("G")); !slices.Equal(m, []string{"A", "B"}) {
		t.Error(m)
	}
	if n := c.InstanceNames(); !slices.Equal(n, []string{"C", "D"}) {
		t.Error(n)
	}
	if c.Instance("A").Number("priority", 1) != 7 || c.Instance("C").Number("priority", 1) != 1 || c.Group("H") != nil {
		t.Error("numbers")
	}
	if len(c.Unclosed) != 1 || c.Unclosed[0].Line != 16 {
		t.Error(c.Unclosed)
	}
	var scripts []string
	for _, s := range c.Scripts() {
		scripts = append(scripts, fmt.Sprint(s.Keyword, s.Command, s.User, s.Runs("ctsync")))
	}
	want := []string{"startup_script[/usr/sbin/ctsync wait-synced]true", "script[/bin/true a b]false", "notify[/usr/sbin/ctsync notify]roottrue"}
	if diff := cmp.Diff(want, scripts); diff != "" {
		t.Error(diff)
	}
}

func TestVersion(t *testing.T) {
	p, err := Installed(context.Background())
	if err != nil || p.Version.Before(Version{2, 0, 0}) || !slices.Contains(p.Options, "VRRP") {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := parseVersion("something"); err == nil {
		t.Error("no error")
	}
	if v := (Version{2, 2, 7}); !v.Before(Version{2, 3, 0}) || v.Before(v) || v.Before(Version{2, 2, 6}) {
		t.Error("order")
	}
}

// instances are what the printed lines are put beside.
const instances = `
vrrp_instance "OUT SIDE" {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 50
    virtual_ipaddress {
        192.0.2.1/25
    }
}
vrrp_instance INSIDE {
    state BACKUP
    interface eth1
    virtual_router_id 52
    priority 50
    virtual_ipaddress {
        10.0.0.1/24
    }
}
`

// before is a group that is there already, and what else it has.
const before = `
vrrp_sync_group VG {
    group {
        "OUT SIDE"
        INSIDE
    }
    notify "/usr/sbin/ctsync notify"
    track_interface {
        eth2 weight 10
    }
}
`

// TestAccepted: keepalived has nothing to say against what is printed.
func TestAccepted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run the tests as root")
	}
	ns := fmt.Sprintf("ctsync-ka-%d", os.Getpid())
	run(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { run(t, "ip", "netns", "del", ns) })
	for i, address := range []string{"192.0.2.2/25", "10.0.0.2/24", "10.0.1.2/24"} {
		eth := fmt.Sprintf("eth%d", i)
		run(t, "ip", "-n", ns, "link", "add", eth, "type", "veth", "peer", "name", "far"+eth)
		run(t, "ip", "-n", ns, "address", "add", address, "dev", eth)
		run(t, "ip", "-n", ns, "link", "set", eth, "up")
	}
	program := written(t, "ctsync", "#!/bin/sh\n")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	old, err := Read(written(t, "k.conf", before))
	if err != nil {
		t.Fatal(err)
	}
	for _, driver := range Drivers() {
		for _, track := range []string{"", written(t, "ready", "0\n")} {
			for _, kept := range []*Statement{nil, old.Group("VG")} {
				w := Wanted{
					Driver: Driver(driver), Group: "VG", Members: []string{"OUT SIDE", "INSIDE"}, Kept: kept,
					FIFO: filepath.Join(t.TempDir(), "f"), Owner: "daemon", TrackFile: track, Program: program, Flags: "--config /etc/c.conf",
					Insecure: true, // keepalived -t complains of the script below without the two lines
				}
				lines := strings.Join(w.Lines(), "\n")
				if kept != nil && !strings.Contains(lines, "eth2 weight 10") || strings.Contains(lines, "/usr/sbin/ctsync") {
					t.Errorf("the group's other lines:\n%s", lines)
				}
				lines += "\nvrrp_script x {\n script /bin/true\n}\n"
				path := written(t, "keepalived.conf", lines+instances)
				if said := run(t, "ip", "netns", "exec", ns, "keepalived", "-t", "-l", "-f", path); strings.TrimSpace(said) != "" {
					t.Errorf("%s, keepalived says:\n%s\n%s", driver, said, lines)
				}
			}
		}
	}
}

// run runs a command, which keepalived 2.2.7 -t may not end by itself.
func run(t *testing.T, command string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	return string(out)
}
