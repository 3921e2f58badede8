package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The daemon refuses a key file that is missing, open to others or no key: the check of the configuration says so before it is
// started.
func TestConfigCheckReadsTheKeys(t *testing.T) {
	dir := t.TempDir()
	path, key := filepath.Join(dir, "ctsync.conf"), filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte("interface lo peer 127.0.0.9\nfailover-mechanism vrrp sync-group G\nkey-file "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		got := ctsync("config", "check", path)
		if want == "" && got.exit != 0 || want != "" && (got.exit != 1 || !strings.Contains(got.stderr, ":3: key-file: ") || !strings.Contains(got.stderr, want)) {
			t.Errorf("want %q: %+v", want, got)
		}
	}
	check("ctsync keygen " + key)
	if got := ctsync("config", "check", "--no-host", path); got.exit != 0 {
		t.Errorf("without looking at the host: %+v", got)
	}
	if got := ctsync("keygen", key); got.exit != 0 {
		t.Fatal(got)
	}
	check("")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	check("chmod 0600 " + key)
	if err := os.WriteFile(key, []byte("0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(key, 0o600)
	check(":1: not a key")
}
