package hostcheck

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRefusal: what the installed keepalived says of a configuration, and that it is not waited for without end.
func TestRefusal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run the tests as root")
	}
	runtime.LockOSThread() // and never unlock: the thread ends with the test, and its namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", "ip link add eth0 type veth peer name far0 && ip addr add 192.0.2.1/24 dev eth0 && ip link set eth0 up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const instance = "vrrp_instance A {\n interface eth0\n state BACKUP\n virtual_router_id 5\n virtual_ipaddress {\n 192.0.2.9\n }\n}\n"
	for name, c := range map[string]struct{ text, want string }{
		"good":             {instance, ""},
		"a group of one":   {"vrrp_sync_group G {\n group {\n A\n }\n}\n" + instance, ""},
		"keyword":          {"global_defs {\n nonsense\n}\n" + instance, "nonsense"},
		"interface":        {strings.Replace(instance, "eth0", "nosuch0", 1), "Non-existent interface"},
		"insecure scripts": {instance + "vrrp_script s {\n script /bin/true\n}\n", ""}, // exit code 6
	} {
		path := filepath.Join(t.TempDir(), "keepalived.conf")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got := refusal(context.Background(), path)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if took := time.Since(began); took > testFor+2*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}
