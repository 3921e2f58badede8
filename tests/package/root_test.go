//go:build deb

package deb

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kept is what later runs use again; scratch is this run's, and goes with it.
var kept, scratch string

// suite is the Debian that is booted.
const suite = "bookworm"

// installed is what the root file system has besides the base: what a firewall with ctsync has anyway.
const installed = "systemd,systemd-sysv,dbus,udev,keepalived,nftables,iproute2,iputils-ping,conntrack,procps,netcat-openbsd,bash-completion"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "package deb: booting containers needs root: make test-deb")
		return 1
	}
	var err error
	if kept, err = filepath.Abs("../../build/test-deb"); err == nil {
		err = os.MkdirAll(kept, 0o755)
	}
	if err == nil {
		scratch, err = os.MkdirTemp(kept, fmt.Sprintf("run-%d-", os.Getpid()))
	}
	if err == nil {
		defer os.RemoveAll(scratch)
		err = unpack(filepath.Join(scratch, "root"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "package deb:", err)
		return 1
	}
	return m.Run()
}

// unpack unpacks the root file system, which is made first if there is none of these packages.
func unpack(root string) error {
	id := sha256.Sum256([]byte(suite + installed))
	archive := filepath.Join(kept, fmt.Sprintf("%s-%x.tar.zst", suite, id[:4]))
	if _, err := os.Stat(archive); err != nil {
		if err := bootstrap(archive); err != nil {
			return err
		}
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	return command("tar", "--zstd", "-xf", archive, "-C", root)
}

// bootstrap makes the root file system. The host's name is removed: it would win over the machine's own.
func bootstrap(archive string) error {
	args := []string{"--quiet", "--variant=minbase", "--include=" + installed,
		`--customize-hook=rm -f "$1/etc/hostname"; : > "$1/etc/machine-id"`, suite, archive + ".new.tar.zst"}
	const sources = "/etc/apt/sources.list.d/debian.sources"
	if text, err := os.ReadFile(sources); err == nil && strings.Contains(string(text), suite) {
		args = append(args, sources)
	}
	if err := command("mmdebstrap", args...); err != nil {
		return err
	}
	return os.Rename(archive+".new.tar.zst", archive)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
