package daemon

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestRivalSocket: conntrackd is found by its socket where /proc hides its process.
func TestRivalSocket(t *testing.T) {
	t.Setenv(rivalOverride, "")
	before := rivalSocket()
	if before != "" {
		t.Fatalf("conntrackd listens at %s on this machine", before)
	}
	path := filepath.Join(t.TempDir(), "conntrackd.ctl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := refuseRival(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	t.Setenv(rivalOverride, "1")
	if err := refuseRival(); err != nil {
		t.Errorf("with the override: %v", err)
	}
}
