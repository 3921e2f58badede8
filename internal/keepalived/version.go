package keepalived

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Version is a release of keepalived, as 2.2.7.
type Version [3]int

// Before says whether v is older than other.
func (v Version) Before(other Version) bool { return slices.Compare(v[:], other[:]) < 0 }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// Program is what `keepalived -v` says of itself.
type Program struct {
	Version Version
	Options []string // built in: VRRP, DBUS, JSON and the like
}

// ErrNotInstalled says that there is no program keepalived.
var ErrNotInstalled = errors.New("keepalived is not installed")

// Installed asks the installed keepalived for its version.
func Installed(ctx context.Context) (Program, error) {
	out, err := exec.CommandContext(ctx, "keepalived", "--version").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return Program{}, ErrNotInstalled
	}
	if err != nil {
		return Program{}, fmt.Errorf("keepalived: --version: %w", err)
	}
	return parseVersion(string(out))
}

var (
	release = regexp.MustCompile(`(?m)^Keepalived v(\d+)\.(\d+)\.(\d+)`)
	options = regexp.MustCompile(`(?m)^Config options: *(.*)$`)
)

func parseVersion(out string) (p Program, err error) {
	m := release.FindStringSubmatch(out)
	if m == nil {
		return p, fmt.Errorf("keepalived: --version says %.80q", out)
	}
	for i := range p.Version {
		p.Version[i], _ = strconv.Atoi(m[i+1])
	}
	if m := options.FindStringSubmatch(out); m != nil {
		p.Options = strings.Fields(m[1])
	}
	return p, nil
}
