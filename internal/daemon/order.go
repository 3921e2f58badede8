package daemon

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"ctsync/vrrp"
)

// A daemon that is begun anew has keepalived to ask, but no cluster manager: so what that said last is kept in a
// file beside its control socket, as "GROUP STATE BOOT". The order of another boot does not count: its addresses went
// with it. Orders are given seldom, and one at a time.

// orderPath is the file of the daemon with this control socket.
func orderPath(control string) string { return control + ".order" }

// bootID tells this boot from others.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}

func rememberOrder(path, group string, s vrrp.State) error {
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%s %s %s\n", group, s, bootID()), 0o600); err != nil {
		return fmt.Errorf("daemon: cluster order: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("daemon: cluster order: %w", err)
	}
	return nil
}

// recallOrder is what was ordered last of a group on this boot; Unknown if nothing was.
func recallOrder(path, group string) vrrp.State {
	text, err := os.ReadFile(path)
	if err != nil {
		return vrrp.Unknown
	}
	words, now := strings.CutSuffix(strings.TrimSpace(string(text)), " "+bootID())
	s, _ := vrrp.ParseState(strings.TrimPrefix(words, group+" "))
	if !now {
		return vrrp.Unknown
	}
	return s
}

// ForgetOrder makes the daemon with this control socket, which does not run, start as a secondary.
func ForgetOrder(control string) error {
	if err := os.Remove(orderPath(control)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("daemon: cluster order: %w", err)
	}
	return nil
}
