//go:build deb

package deb

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// revision is what HEAD was when the tests began: somebody may commit meanwhile.
var revision = sync.OnceValue(func() string {
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		panic("package deb: git rev-parse HEAD: " + err.Error()) // this is not a checkout
	}
	return strings.TrimSpace(string(out))
})

// older is the package of HEAD, newer the same as a later version with another configuration file: dpkg then has to
// choose between that and the operator's.
var older, newer = sync.OnceValues(build("0.0.1")), sync.OnceValues(renew)

func renew() (string, error) {
	old, err := older()
	if err != nil {
		return "", err
	}
	deb, tree := filepath.Join(scratch, "ctsync_0.0.2.deb"), filepath.Join(scratch, "newer")
	return deb, command("sh", "-euc", `
		dpkg-deb -R "$1" "$2"
		sed -i 's/^Version: .*/Version: 0.0.2/' "$2/DEBIAN/control"
		echo '# 0.0.2' >>"$2/etc/ctsync/ctsync.conf"
		dpkg-deb --root-owner-group -Znone -b "$2" "$3"`, "sh", old, tree, deb)
}

// build builds the package of HEAD under a version.
func build(version string) func() (string, error) {
	return func() (string, error) {
		cmd := exec.Command("../../packaging/deb/build.sh", filepath.Join(scratch, version))
		cmd.Env = append(os.Environ(), "VERSION="+version, "REVISION="+revision())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
}

func built(t *testing.T, which func() (string, error)) string {
	t.Helper()
	path, err := which()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReproducible: the same revision gives the same bytes.
func TestReproducible(t *testing.T) {
	first := built(t, older)
	cmd := exec.Command("../../packaging/deb/build.sh", filepath.Join(scratch, "again"))
	cmd.Env = append(os.Environ(), "VERSION=0.0.1", "REVISION="+revision(), "TZ=Pacific/Auckland", "LC_ALL=C", "HOME=/nonexistent")
	for _, v := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", v).Output()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, v+"="+strings.TrimSpace(string(out)))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := command("cmp", first, filepath.Join(scratch, "again", filepath.Base(first))); err != nil {
		t.Error(err)
	}
}

// lintian complains of everything, down to what it calls pedantic, but not of the missing script for other inits than systemd, whose
// are the sandbox, the watchdog and the folders that outlive the service. The Debian after does not know that complaint any more,
// and would complain of its override.
const lintian = "lintian -EI --pedantic --fail-on error,warning,info,pedantic"

// TestLintian: no complaint that is not explained in the overrides.
func TestLintian(t *testing.T) {
	deb := built(t, older)
	changes := strings.TrimSuffix(deb, ".deb") + ".changes"
	if err := command("sh", "-c", lintian+" --suppress-tags package-supports-alternative-init-but-no-init.d-script "+changes); err != nil {
		t.Error(err)
	}
}

// TestManual: the pages are right for groff, and tell of every command and event.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	if err := command("dpkg-deb", "-x", built(t, older), dir); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"man5/ctsync.conf.5.gz", "man7/ctsync-keepalived.7.gz", "man7/ctsync-pacemaker.7.gz", "man8/ctsync.8.gz"} {
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", filepath.Join(dir, "usr/share/man", page))
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8")
		var warnings strings.Builder
		cmd.Stderr = &warnings
		text, err := cmd.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("%s: %v\n%s", page, err, warnings.String())
		}
		if strings.Contains(string(text), "@") && regexp.MustCompile(`@[A-Z]+@`).Match(text) {
			t.Errorf("%s has a place that was not filled", page)
		}
	}
}

// TestCopyright: every module that the program holds is named with its license.
func TestCopyright(t *testing.T) {
	dir := t.TempDir()
	if err := command("dpkg-deb", "-x", built(t, older), dir); err != nil {
		t.Fatal(err)
	}
	copyright, err := os.ReadFile("../../packaging/deb/copyright")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "version", "-m", filepath.Join(dir, "usr/sbin/ctsync")).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := regexp.MustCompile(`(?m)^\s+dep\s+(\S+)`).FindAllStringSubmatch(string(out), -1)
	if len(modules) == 0 {
		t.Fatal("the program names no modules")
	}
	for _, m := range modules {
		if !strings.Contains(string(copyright), m[1]+"/*") {
			t.Errorf("%s is in the program and not in packaging/deb/copyright", m[1])
		}
	}
}
