//go:build deb

package deb

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// builder is the Debian after, with what builds packages. Its own Go is older than the one of go.mod, so this machine's is
// brought in.
var builder = &root{suite: "trixie", packages: "build-essential,debhelper,lintian,git,man-db,ca-certificates"}

// enter runs a command in a root file system: with this machine's Go and its caches in their places, without a network.
const enter = `
	for dir in $BIND; do mkdir -p "$ROOT$dir"; mount --rbind "$dir" "$ROOT$dir"; done
	mount -t proc proc "$ROOT/proc"
	exec chroot "$ROOT" /bin/sh -euc "$1"`

// within runs a shell command in a root file system, with further variables of the environment.
func (r *root) within(t *testing.T, script string, environment ...string) (string, error) {
	t.Helper()
	folders := goFolders(t)
	cmd := exec.Command("unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", enter, "sh", script)
	cmd.Env = append([]string{
		"ROOT=" + r.path(t), "BIND=" + strings.Join(folders, " "), "PATH=/usr/sbin:/usr/bin:/sbin:/bin:" + folders[0] + "/bin",
		"GOCACHE=" + folders[1], "GOMODCACHE=" + folders[2], "GOTOOLCHAIN=local", "GOPROXY=off", "LC_ALL=C.UTF-8", "HOME=/root",
	}, environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// goFolders are Go's own, that of what it has built and that of modules.
func goFolders(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// TestNextDebianBuilds: the Debian after builds the package, twice to the same bytes, and its lintian has no complaint that is
// not explained in the overrides. Its dpkg and debhelper may give other bytes than those of the Debian before.
func TestNextDebianBuilds(t *testing.T) {
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := command("git", "clone", "--quiet", "--no-checkout", checkout, filepath.Join(builder.path(t), "src")); err != nil {
		t.Fatal(err)
	}
	const build = "cd /src && git config --global --add safe.directory /src && git reset -q --hard $REVISION && packaging/deb/build.sh /"
	for _, c := range [][]string{{"once"}, {"again", "TZ=Pacific/Auckland", "LC_ALL=C", "HOME=/tmp"}} {
		environment := append(c[1:], "VERSION=0.0.1", "REVISION="+revision())
		if out, err := builder.within(t, build+c[0], environment...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	deb := "ctsync_0.0.1_" + architecture(t) + ".deb"
	if err := command("cmp", filepath.Join(builder.path(t), "once", deb), filepath.Join(builder.path(t), "again", deb)); err != nil {
		t.Error(err)
	}
	if out, err := builder.within(t, lintian+" /once/*.changes"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	has, err := os.ReadFile(filepath.Join(builder.path(t), "etc/debian_version"))
	if err != nil || !strings.HasPrefix(string(has), "13") {
		t.Errorf("this is not the Debian that it is meant to be: %q, %v", has, err)
	}
}

// architecture is Debian's word for this machine's.
func architecture(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
