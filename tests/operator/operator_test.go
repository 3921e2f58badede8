// Package operator asks the commands that an operator uses about a running pair, on which one thing after the other is
// broken.
package operator

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

type finding struct{ ID, Level, Text, Remedy, Where string }

// found are the problems that `ctsync check` tells on a router, in its order.
func found(t *testing.T, r *lab.Router) (ids []string) {
	t.Helper()
	out, _ := r.Ask("check", "--config", filepath.Join(r.Folder, "ctsync.conf"), "--output", "json") // 1: there are findings
	at := strings.IndexByte(out, '[')
	var all []finding
	if at < 0 || json.Unmarshal([]byte(out[at:]), &all) != nil {
		t.Fatalf("%s: %s", r.Name, out)
	}
	for _, f := range all {
		if f.Level == "problem" {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// want waits until the problems are those.
func want(t *testing.T, what string, r *lab.Router, ids ...string) {
	t.Helper()
	var got []string
	for give := time.Now().Add(15 * time.Second); time.Now().Before(give); time.Sleep(200 * time.Millisecond) {
		if got = found(t, r); slices.Equal(got, ids) {
			return
		}
	}
	t.Errorf("%s: %s finds %v, want %v", what, r.Name, got, ids)
}

// compared is what `check --with` finds on r1 about r2, hints included.
func compared(t *testing.T, l *lab.Lab) (ids []string) {
	t.Helper()
	conf := func(r *lab.Router) string { return filepath.Join(r.Folder, "ctsync.conf") }
	out, err := l.R2.Ask("check", "--traits", "--config", conf(l.R2))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	path := filepath.Join(t.TempDir(), "traits")
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = l.R1.Ask("check", "--with", path, "--config", conf(l.R1), "--output", "json")
	var all []finding
	if at := strings.IndexByte(out, '['); at < 0 || json.Unmarshal([]byte(out[at:]), &all) != nil {
		t.Fatal(out)
	}
	for _, f := range all {
		if strings.HasPrefix(f.ID, "differs-") || f.ID == "same-priority" {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

func must(t *testing.T, n *lab.Namespace, command string, args ...string) {
	t.Helper()
	if out, err := n.Run(command, args...); err != nil {
		t.Fatalf("%s %v: %v\n%s", command, args, err, out)
	}
}

// TestCheck: on a running pair, with real keepalived, rules, links and peers.
func TestCheck(t *testing.T) {
	l := lab.Run(t, lab.Options{Daemon: func(r *lab.Router) lab.Daemon {
		return lab.Ctsync("keepalived-config "+filepath.Join(r.Folder, "keepalived.conf"), "keepalived-pid "+filepath.Join(r.Folder, "keepalived.pid"))(r)
	}})
	const usual = "reload-unchecked" // of the laboratory's keepalived
	for _, r := range l.Routers() {
		want(t, "at first", r, usual)
	}
	for _, id := range compared(t, l) {
		if id != "differs-rules" { // the lab's rules name the router
			t.Errorf("the nodes differ by %s", id)
		}
	}
	must(t, l.R2.Namespace, "ip", "link", "set", lab.Sync, "mtu", "4000")
	must(t, l.R1.Namespace, "nft", "delete", "table", "ip6", "nat")
	if got := compared(t, l); !slices.Contains(got, "differs-mtu") || !slices.Contains(got, "differs-nat") {
		t.Errorf("another MTU and no NAT chains for IPv6: %v", got)
	}
	want(t, "an MTU that the cable has not got", l.R2, "path-mtu", usual)
	must(t, l.R2.Namespace, "ip", "link", "set", lab.Sync, "mtu", "1500")

	must(t, l.R2.Namespace, "nft", "flush", "chain", "inet", "filter", "untracked_in")
	must(t, l.R2.Namespace, "nft", "flush", "chain", "inet", "filter", "untracked_out")
	want(t, "tracked VRRP and sync link", l.R2, "sync-tracked", "vrrp-tracked", usual)
	must(t, l.R2.Namespace, "nft", "add rule inet filter untracked_in iifname sync0 notrack; add rule inet filter untracked_in meta l4proto 112 notrack; "+
		"add rule inet filter untracked_out oifname sync0 notrack; add rule inet filter untracked_out meta l4proto 112 notrack")
	must(t, l.R2.Namespace, "conntrack", "-F")
	want(t, "untracked again", l.R2, usual)

	if err := l.R2.StopKeepalived(); err != nil {
		t.Fatal(err)
	}
	want(t, "without keepalived", l.R2, "keepalived-stopped", usual)
	if err := l.CutSync(0); err != nil {
		t.Fatal(err)
	}
	want(t, "a pulled cable", l.R2, "link-carrier", "no-peer", "keepalived-stopped", usual)
	if err := l.JoinSync(0); err != nil {
		t.Fatal(err)
	}
	if err := l.R2.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	want(t, "without the daemon", l.R2, "not-running", "keepalived-stopped", usual)
	want(t, "the other one", l.R1, "no-peer", usual)
}
