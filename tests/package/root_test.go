//go:build deb

package deb

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// kept is what later runs use again, of other checkouts too; scratch is this run's, and goes with it.
var kept, scratch string

// root is a root file system: a Debian and its packages.
type root struct {
	suite, packages string
	once            sync.Once
	folder          string
	failed          error
}

// installed is what every one has besides the base: what a firewall with ctsync has anyway.
const installed = "systemd,systemd-sysv,dbus,udev,keepalived,nftables,iproute2,iputils-ping,conntrack,procps,netcat-openbsd,bash-completion"

var bookworm, trixie = &root{suite: "bookworm", packages: installed}, &root{suite: "trixie", packages: installed}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "package deb: booting containers needs root: make test-deb")
		return 1
	}
	if err := folders(); err != nil {
		fmt.Fprintln(os.Stderr, "package deb:", err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

// folders makes kept and scratch. The latter is in the checkout, since an overlay cannot lie on another one, as /tmp may be.
func folders() error {
	build, err := filepath.Abs("../../build/test-deb")
	if err != nil {
		return err
	}
	kept = build
	if cache, err := os.UserCacheDir(); err == nil {
		kept = filepath.Join(cache, "ctsync-test-deb")
	}
	for _, dir := range []string{build, kept} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	scratch, err = os.MkdirTemp(build, fmt.Sprintf("run-%d-", os.Getpid()))
	return err
}

// path is the unpacked file system.
func (r *root) path(t *testing.T) string {
	t.Helper()
	r.once.Do(func() {
		if r.folder, r.failed = os.MkdirTemp(scratch, r.suite+"-"); r.failed == nil {
			r.failed = r.unpack(r.folder)
		}
	})
	if r.failed != nil {
		t.Fatal(r.failed)
	}
	return r.folder
}

// unpack unpacks the file system, which is made first if there is none of these packages.
func (r *root) unpack(folder string) error {
	id := sha256.Sum256([]byte(r.suite + r.packages))
	archive := filepath.Join(kept, fmt.Sprintf("%s-%x.tar.zst", r.suite, id[:4]))
	if _, err := os.Stat(archive); err != nil {
		if err := r.bootstrap(archive); err != nil {
			return err
		}
	}
	return command("tar", "--zstd", "-xf", archive, "-C", folder)
}

// bootstrap makes the root file system. The host's name is removed: it would win over the machine's own. Packages come from
// where this machine's do, if it is the same Debian.
func (r *root) bootstrap(archive string) error {
	part := fmt.Sprintf("%s.%d.tar.zst", archive, os.Getpid())
	defer os.Remove(part)
	args := []string{"--quiet", "--variant=minbase", "--include=" + r.packages,
		`--customize-hook=rm -f "$1/etc/hostname"; : > "$1/etc/machine-id"`, r.suite, part}
	const sources = "/etc/apt/sources.list.d/debian.sources"
	if text, err := os.ReadFile(sources); err == nil && strings.Contains(string(text), r.suite) {
		args = append(args, sources)
	}
	if err := command("mmdebstrap", args...); err != nil {
		return err
	}
	return os.Rename(part, archive)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
