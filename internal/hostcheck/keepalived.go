package hostcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"ctsync/internal/config"
	"ctsync/internal/keepalived"
)

// Releases of keepalived that change what is right.
var (
	strictFIFO    = keepalived.Version{2, 4, 0} // a FIFO of another user is not used
	startupRight  = keepalived.Version{2, 2, 8} // vrrp_startup_delay is not pushed on by adverts
	oldestHandled = keepalived.Version{2, 2, 0} // reload_check_config and what else is advised here
)

// subject is keepalived's configuration with what it is compared with.
type subject struct {
	*Facts
	tree    *keepalived.Configuration
	global  *keepalived.Statement
	group   *keepalived.Statement
	members []*keepalived.Statement
	scripts []keepalived.Script // those that call ctsync
	version keepalived.Version  // zero: unknown
}

func checkKeepalived(f *Facts) []Finding {
	if f.Config.Failover.Mechanism != config.VRRP {
		return nil
	}
	found := checkProgram(f)
	if f.Keepalived.ConfigErr != nil {
		remedy := "run as root, or correct keepalived-config in ctsync.conf"
		if errors.Is(f.Keepalived.ConfigErr, fs.ErrNotExist) {
			remedy = "write it: ctsync-keepalived(7) has whole examples, `ctsync keepalived print` the part of ctsync; or correct keepalived-config in ctsync.conf"
		}
		return append(found, problem("keepalived-unread", remedy, "keepalived's configuration cannot be read: %v", f.Keepalived.ConfigErr))
	}
	if f.Keepalived.Config == nil {
		return found
	}
	s := newSubject(f)
	for _, check := range []func(*subject) []Finding{
		checkAccepted, checkRunning, checkGroup, checkDrivers, checkFIFO, checkScripts, checkReadiness, checkMembers, checkReload,
	} {
		found = append(found, check(s)...)
	}
	return found
}

func newSubject(f *Facts) *subject {
	s := &subject{Facts: f, tree: f.Keepalived.Config}
	s.global, s.group = s.tree.Global(), s.tree.Group(f.Config.Failover.Group)
	if f.Keepalived.Program != nil {
		s.version = f.Keepalived.Program.Version
	}
	for _, script := range s.tree.Scripts() {
		if script.Runs("ctsync") {
			s.scripts = append(s.scripts, script)
		}
	}
	if s.group != nil {
		for _, name := range keepalived.Members(s.group) {
			if m := s.tree.Instance(name); m != nil {
				s.members = append(s.members, m)
			}
		}
	}
	return s
}

func (s *subject) known() bool { return s.version != keepalived.Version{} }

func checkProgram(f *Facts) []Finding {
	k := &f.Keepalived
	switch {
	case errors.Is(k.Err, keepalived.ErrNotInstalled):
		return []Finding{problem("keepalived-missing", "apt install keepalived", "keepalived is not installed, and failover-mechanism is %s", f.Config.Failover)}
	case k.Program != nil && k.Program.Version.Before(oldestHandled):
		return []Finding{hint("keepalived-old", "install 2.2.7 or later", "keepalived %s is old: what is said here about its configuration was seen on later ones", k.Program.Version)}
	}
	return nil
}

func checkAccepted(s *subject) (found []Finding) {
	for _, open := range s.tree.Unclosed {
		found = append(found, problem("keepalived-braces", "close it with }", "a block of keepalived's configuration has no end").at(open))
	}
	if s.Keepalived.Refuses != "" {
		found = append(found, problem("keepalived-refuses", "keepalived -t -l -f "+s.Keepalived.Path, "keepalived refuses its configuration: %s", s.Keepalived.Refuses))
	}
	return found
}

func checkRunning(s *subject) []Finding {
	k := &s.Keepalived
	if k.PID == 0 {
		return []Finding{problem("keepalived-stopped", "systemctl enable --now keepalived; or correct keepalived-pid in ctsync.conf",
			"keepalived does not run (%s names no process): this node takes no part in the failover", s.Config.KeepalivedPID)}
	}
	if k.UsesConfig != "" && k.UsesConfig != k.Path {
		return []Finding{problem("keepalived-other-config", "keepalived-config "+k.UsesConfig+" in ctsync.conf",
			"keepalived runs with %s, and ctsync.conf names %s", k.UsesConfig, k.Path)}
	}
	return nil
}

func checkGroup(s *subject) (found []Finding) {
	name := s.Config.Failover.Group
	if s.group == nil {
		remedy := "add vrrp_sync_group " + name + " { group { ... } }: `ctsync keepalived print` writes it"
		if others := s.tree.GroupNames(); len(others) > 0 {
			remedy = fmt.Sprintf("name one of %s in ctsync.conf's failover-mechanism, or rename it", strings.Join(others, ", "))
		}
		return []Finding{problem("group-missing", remedy, "%s has no vrrp_sync_group %s, so nothing that keepalived says is about the group that ctsync follows", s.Keepalived.Path, name)}
	}
	names := keepalived.Members(s.group)
	if len(names) == 0 {
		found = append(found, problem("group-empty", "name its instances: group { A B }", "the vrrp_sync_group %s names no instances", name).at(s.group.At))
	}
	for _, n := range names {
		if s.tree.Instance(n) == nil {
			found = append(found, problem("member-missing", "add vrrp_instance "+n+", or take it out of the group", "the vrrp_sync_group %s names %s, and there is no such vrrp_instance", name, n).at(s.group.At))
		}
	}
	return found
}

// drivers are the ways by which keepalived is set to tell this daemon.
func (s *subject) fifoLines() []*keepalived.Statement {
	return s.global.All("vrrp_notify_fifo", "notify_fifo")
}

func (s *subject) fifoDrives() bool {
	return s.Config.NotifyFIFO != "" && slices.ContainsFunc(s.fifoLines(), func(l *keepalived.Statement) bool { return l.Arg(1) == s.Config.NotifyFIFO })
}

func (s *subject) dbusDrives() bool { return s.Config.DBus && s.global.Has("enable_dbus") }

func (s *subject) scriptsDrive() bool {
	return slices.ContainsFunc(s.scripts, func(c keepalived.Script) bool { return strings.HasPrefix(c.Keyword, "notify") })
}

func checkDrivers(s *subject) []Finding {
	if s.Config.NotifyFIFO != "" && !s.fifoDrives() {
		lines := s.fifoLines()
		switch {
		case len(lines) > 0:
			return []Finding{problem("fifo-path", fmt.Sprintf("vrrp_notify_fifo %s%s in keepalived.conf, or notify-fifo %s in ctsync.conf", s.Config.NotifyFIFO, s.ownerWords(), lines[0].Arg(1)),
				"keepalived writes to the FIFO %s, and ctsync reads %s", lines[0].Arg(1), s.Config.NotifyFIFO).at(lines[0].At)}
		case s.dbusDrives() || s.scriptsDrive():
			return []Finding{hint("fifo-unused", "add vrrp_notify_fifo "+s.Config.NotifyFIFO+s.ownerWords()+" to global_defs, or say notify-fifo off",
				"ctsync reads the FIFO %s, and keepalived writes to none: it is the only way that tells of everything and in order", s.Config.NotifyFIFO)}
		}
	}
	if s.fifoDrives() || s.dbusDrives() || s.scriptsDrive() {
		return s.checkDBus()
	}
	return []Finding{problem("no-driver", "add vrrp_notify_fifo "+s.fifoOrDefault()+s.ownerWords()+" to global_defs: `ctsync keepalived print` writes it",
		"keepalived tells ctsync nothing: no FIFO, no D-Bus and no notify script leads to it, so a takeover would not be noticed")}
}

func (s *subject) fifoOrDefault() string {
	if s.Config.NotifyFIFO != "" {
		return s.Config.NotifyFIFO
	}
	return config.Default().NotifyFIFO
}

// checkDBus: where D-Bus alone drives.
func (s *subject) checkDBus() (found []Finding) {
	if s.fifoDrives() || s.scriptsDrive() {
		return nil
	}
	if p := s.Keepalived.Program; p != nil && len(p.Options) > 0 && !slices.Contains(p.Options, "DBUS") {
		found = append(found, problem("dbus-not-built", "use the FIFO", "D-Bus is to drive, and this keepalived was built without it"))
	}
	if name := s.global.Get("dbus_service_name"); name != nil {
		found = append(found, problem("dbus-name", "take it out, or use the FIFO", "keepalived is %s on D-Bus, where ctsync does not look for it", name.Arg(1)).at(name.At))
	}
	return append(found, hint("dbus-alone", "add the FIFO: `ctsync keepalived print`",
		"D-Bus alone drives: keepalived does not come back to the bus after dbus-daemon was restarted, and must be restarted then"))
}

// ownerWords are the words after the FIFO's path.
func (s *subject) ownerWords() string {
	owner := s.Keepalived.DaemonUser
	if f := s.Keepalived.FIFO; f.there() {
		owner = f.User
	}
	if owner == "" || owner == "root" {
		return ""
	}
	return " " + owner + " " + owner
}
