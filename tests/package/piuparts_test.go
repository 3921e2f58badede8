//go:build deb

package deb

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPiuparts: Debian's own test of installing and purging finds nothing left and nothing changed. The Debian after is for the long
// form.
func TestPiuparts(t *testing.T) {
	t.Parallel()
	roots := []*root{bookworm}
	if os.Getenv("LONG") != "" {
		roots = append(roots, trixie)
	}
	deb := built(t, older)
	for _, r := range roots {
		log := filepath.Join(scratch, "piuparts-"+r.suite)
		// debconf makes its folder itself when it asks a first question.
		if err := command("piuparts", "--existing-chroot", r.path(t), "--distribution", r.suite, "--tmpdir", scratch, "--keep-sources-list",
			"--no-eatmydata", "--no-upgrade-test", "--ignore-regex", "^/var/cache/debconf/tmp.ci/?$", "--log-file", log, deb); err != nil {
			why, _ := exec.Command("grep", "-A5", "ERROR:", log).Output()
			t.Errorf("%s: %s", r.suite, why)
		}
	}
}
