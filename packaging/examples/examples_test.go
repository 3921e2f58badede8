// Package examples_test checks the examples with the programs that they are for: ctsync.conf with the parser,
// keepalived's with `keepalived -t`, the ruleset with nft, the latter two in a network namespace that has the
// interfaces. They need root, keepalived and nft, and fail without.
package examples_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctsync/internal/config"
)

func TestConfiguration(t *testing.T) {
	c, faults, err := config.Load("ctsync.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Errorf("%v", f)
	}
	for _, w := range c.Warnings() {
		t.Errorf("warning: %s", w)
	}
	for _, l := range c.Links {
		if l.Interface != "eth2" {
			t.Errorf("the sync link is %s, and eth2 in the other examples", l.Interface)
		}
	}
}

// TestConfigurationComments: the settings that the example has commented out are right as well.
func TestConfigurationComments(t *testing.T) {
	text, err := os.ReadFile("ctsync.conf")
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for line := range strings.Lines(string(text)) {
		if setting, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(setting, " ") {
			others = append(others, setting)
		}
	}
	if len(others) < 3 {
		t.Fatalf("only %d settings are commented out", len(others))
	}
	if _, faults := config.Parse("comments", strings.NewReader(string(text)+strings.Join(others, ""))); len(faults) > 0 {
		t.Errorf("%v", faults)
	}
}

// namespace makes a network namespace with the interfaces of the examples and removes it after the test.
func namespace(t *testing.T) (name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run the tests as root")
	}
	name = fmt.Sprintf("ctsync-examples-%d-%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "-", ".", "-").Replace(t.Name())))
	must(t, "ip", "netns", "add", name)
	t.Cleanup(func() { must(t, "ip", "netns", "del", name) })
	for i, address := range []string{"192.0.2.2/25", "10.0.0.2/24", "192.0.2.129/28"} {
		eth, far := fmt.Sprintf("eth%d", i), fmt.Sprintf("far%d", i)
		must(t, "ip", "-n", name, "link", "add", eth, "type", "veth", "peer", "name", far)
		must(t, "ip", "-n", name, "link", "set", far, "up")
		must(t, "ip", "-n", name, "address", "add", address, "dev", eth)
		must(t, "ip", "-n", name, "link", "set", eth, "up")
	}
	return name
}

func must(t *testing.T, command string, args ...string) string {
	t.Helper()
	// keepalived 2.2.7 -t may run for ever (or crash) where a sync group tracks an unknown file.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// program is a file that keepalived accepts as the script of its configuration.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ctsync")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// installed is the example with the paths of an installed ctsync replaced by those of the test.
func installed(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	if err := os.WriteFile(filepath.Join(run, "ready"), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for old, now := range map[string]string{
		"/usr/sbin/ctsync":        program(t),
		"/run/ctsync-track/ready": filepath.Join(run, "ready"),
		"/run/ctsync/notify.fifo": filepath.Join(run, "notify.fifo"),
	} {
		text = bytes.ReplaceAll(text, []byte(old), []byte(now))
	}
	path := filepath.Join(run, "keepalived.conf")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKeepalived: keepalived has nothing to say against the examples. It exits 5 for a fault and 6 for a script
// that it would not run securely; what it merely dislikes it prints with exit code 0.
func TestKeepalived(t *testing.T) {
	files, err := filepath.Glob("keepalived/*.conf")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			ns := namespace(t)
			log := must(t, "ip", "netns", "exec", ns, "keepalived", "-t", "-l", "-f", installed(t, file))
			if log = strings.TrimSpace(log); log != "" {
				t.Errorf("keepalived says:\n%s", log)
			}
		})
	}
}

// TestKeepalivedGroup: the examples name the sync group of ctsync.conf.
func TestKeepalivedGroup(t *testing.T) {
	c, _, err := config.Load("ctsync.conf")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("keepalived/*.conf")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nvrrp_sync_group "+c.Failover.Group+" {") {
			t.Errorf("%s: no sync group %s", file, c.Failover.Group)
		}
		if strings.Contains(string(text), "vrrp_notify_fifo") && !strings.Contains(string(text), "vrrp_notify_fifo "+c.NotifyFIFO+"\n") {
			t.Errorf("%s: not the FIFO %s", file, c.NotifyFIFO)
		}
		if strings.Contains(string(text), "track_file") && !strings.Contains(string(text), "file "+c.TrackFile+"\n") {
			t.Errorf("%s: not the track file %s", file, c.TrackFile)
		}
	}
}

// TestRuleset: nft accepts the ruleset, also over itself.
func TestRuleset(t *testing.T) {
	ns := namespace(t)
	must(t, "ip", "netns", "exec", ns, "nft", "-c", "-f", "nftables.nft")
	must(t, "ip", "netns", "exec", ns, "nft", "-f", "nftables.nft")
	must(t, "ip", "netns", "exec", ns, "nft", "-f", "nftables.nft")
	if tables := must(t, "ip", "netns", "exec", ns, "nft", "list", "tables"); tables != "table inet firewall\n" {
		t.Errorf("tables after loading twice: %q", tables)
	}
}
