package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ids are the findings of `check --output json` that are more than hints.
func ids(t *testing.T, r result) (problems []string) {
	t.Helper()
	var found []findingJSON
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, f := range found {
		if f.Text == "" || f.Remedy == "" || f.ID == "" {
			t.Errorf("a finding that says too little: %+v", f)
		}
		if f.Level == "problem" {
			problems = append(problems, f.ID)
		}
	}
	return problems
}

// TestCheck: a namespace without anything is not ready, and each remedy takes its problem away.
func TestCheck(t *testing.T) {
	ns := fmt.Sprintf("ctsd%d", os.Getpid())
	mustRun(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	inside := func(words ...string) {
		t.Helper()
		mustRun(t, append([]string{"ip", "netns", "exec", ns}, words...)...)
	}
	inside("sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")
	path := filepath.Join(t.TempDir(), "ctsync.conf")
	check := func() result {
		t.Helper()
		return inNamespace(t, ns, "check", "--output", "json", "--config", path, "--control", path+".sock")
	}
	want := func(when string, problems ...string) {
		t.Helper()
		got := check()
		if g := ids(t, got); strings.Join(g, " ") != strings.Join(problems, " ") || got.exit != min(len(problems), 1) {
			t.Errorf("%s: exit %d, problems %v, want %v", when, got.exit, g, problems)
		}
	}
	want("nothing", "config-unread", "events-off", "not-tracking", "not-running")
	if err := os.WriteFile(path, []byte("# not yet\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("comments", "not-configured", "events-off", "not-tracking")
	if got := inNamespace(t, ns, "status", "--config", path, "--control", path+".sock"); got.exit != 2 || !strings.Contains(got.stderr, "nothing but comments") {
		t.Errorf("status without a configuration: %d %s", got.exit, got.stderr)
	}
	if err := os.WriteFile(path, []byte("failover-mechanism cluster group G\ninterface sync0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("a configuration", "config-fault", "events-off", "not-tracking", "not-running")
	inside("ip", "link", "add", "sync0", "type", "veth", "peer", "name", "far0")
	inside("ip", "address", "add", "192.0.2.1/24", "dev", "sync0")
	want("an interface", "events-off", "not-tracking", "link-down", "not-running")
	inside("ip", "link", "set", "sync0", "up")
	want("up", "events-off", "not-tracking", "link-carrier", "not-running")
	inside("ip", "link", "set", "far0", "up")
	inside("sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")
	want("events", "not-tracking", "not-running")
	inside("sh", "-c", enable)
	want("tracking", "not-running", "sync-tracked")
	inside("nft", `add table inet raw; add chain inet raw in { type filter hook prerouting priority raw; }; add rule inet raw in iifname "sync0" udp dport 3780 notrack`)
	want("notrack", "not-running")
	text := inNamespace(t, ns, "check", "--config", path, "--control", path+".sock")
	if text.exit != 1 || !strings.Contains(text.stdout, "problem [not-running]: ") || !strings.Contains(text.stdout, "\n    do: systemctl enable --now ctsync") {
		t.Errorf("%+v", text)
	}
}

// TestCheckWith: what is no node's traits is refused with the remedy.
func TestCheckWith(t *testing.T) {
	for _, text := range []string{"", "{}", "not JSON"} {
		path := filepath.Join(t.TempDir(), "traits")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ctsync("check", "--config", "/nonexistent", "--control", path, "--with", path); got.exit != 1 || !strings.Contains(got.stderr, "ctsync check --traits") {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if got := ctsync("check", "--with", filepath.Join(t.TempDir(), "none"), "--control", filepath.Join(t.TempDir(), "none")); got.exit != 1 || !strings.Contains(got.stderr, "no such file") {
		t.Errorf("%+v", got)
	}
}
