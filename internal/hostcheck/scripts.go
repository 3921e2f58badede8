package hostcheck

import (
	"io/fs"
	"slices"
	"strings"

	"ctsync/internal/keepalived"
)

// checkScripts looks at the scripts that call ctsync. keepalived says what it thinks of them in its log only, and goes
// on without them.
func checkScripts(s *subject) (found []Finding) {
	if len(s.scripts) == 0 {
		return nil
	}
	first := s.scripts[0]
	user, secure := s.global.Get("script_user"), s.global.Has("enable_script_security")
	switch {
	case secure && user == nil && !s.Keepalived.ScriptUser && slices.ContainsFunc(s.scripts, func(c keepalived.Script) bool { return c.User == "" }):
		found = append(found, problem("script-user", "add script_user root to global_defs",
			"enable_script_security is set, and there is neither script_user nor a user keepalived_script: keepalived ignores the scripts that call ctsync").at(first.At))
	case !secure:
		found = append(found, problem("script-security", "add script_user root and enable_script_security to global_defs",
			"scripts call ctsync and script security is off: keepalived runs whatever somebody put in their place, as root").at(first.At))
	}
	for _, c := range s.scripts {
		found = append(found, s.checkScript(c, user, secure)...)
	}
	if s.scriptsDrive() && !s.fifoDrives() {
		found = append(found, hint("scripts-alone", "add the FIFO: `ctsync keepalived print`",
			"scripts alone drive: keepalived runs them side by side and in no certain order, and stops those still running when it ends").at(first.At))
	}
	return found
}

func (s *subject) checkScript(c keepalived.Script, user *keepalived.Statement, secure bool) (found []Finding) {
	runs := c.User
	if runs == "" && user != nil {
		runs = user.Arg(1)
	}
	program := s.Keepalived.Scripts[c.Command[0]]
	switch {
	case program == nil:
	case !program.there():
		found = append(found, problem("script-missing", "name the program by its whole path, /usr/sbin/ctsync", "keepalived is to run %s, which is not there", c.Command[0]).at(c.At))
	case program.Mode&0o111 == 0:
		found = append(found, problem("script-mode", "chmod 0755 "+c.Command[0], "keepalived is to run %s, which is not executable", c.Command[0]).at(c.At))
	case secure && (runs == "" || runs == "root"):
		if bad := unsafe(program); bad != nil {
			found = append(found, problem("script-unsafe", "chown root:root and chmod go-w "+bad.Path,
				"others than root can change %s: keepalived does not run %s as root", bad.Path, c.Command[0]).at(c.At))
		}
	}
	if runs != "" && runs != "root" && s.Config.ControlGroup == "" {
		found = append(found, problem("script-rights", "script_user root, or control-group GROUP in ctsync.conf with "+runs+" in that group",
			"%s runs as %s, who may not speak to the daemon", strings.Join(c.Command, " "), runs).at(c.At))
	}
	return append(found, s.checkWords(c)...)
}

// unsafe is what of a path somebody else than root can change, as keepalived looks at it.
func unsafe(f *File) *File {
	for ; f != nil; f = f.Dir {
		sticky := f.Mode.IsDir() && f.Mode&fs.ModeSticky != 0
		if f.there() && (f.UID != 0 || f.Mode.Perm()&0o022 != 0 && !sticky) {
			return f
		}
	}
	return nil
}

// states are those that have a keyword of their own.
var states = map[string]string{"notify_master": "MASTER", "notify_backup": "BACKUP", "notify_fault": "FAULT", "notify_stop": "STOP", "notify_deleted": "DELETED"}

// checkWords: keepalived appends what it is about to `notify` only; the other keywords must spell it out.
func (s *subject) checkWords(c keepalived.Script) []Finding {
	if len(c.Command) < 2 || c.Command[1] != "notify" || !strings.HasPrefix(c.Keyword, "notify") || c.In == nil || len(c.In.Words) < 2 {
		return nil
	}
	kind := map[string]string{"vrrp_sync_group": "GROUP", "vrrp_instance": "INSTANCE"}[c.In.Keyword()]
	words := withoutFlags(c.Command[2:])
	if kind == "" || c.Keyword == "notify" {
		return nil
	}
	name := c.In.Arg(1)
	state := states[c.Keyword]
	if c.Keyword == "notify_master_rx_lower_pri" {
		state = "MASTER_RX_LOWER_PRI"
	}
	right := []string{kind, name, state}
	if state == "" || len(words) >= 3 && slices.Equal(words[:3], right) || kind == "GROUP" && len(words) >= 2 && strings.EqualFold(words[0], state) && words[1] == name {
		return nil
	}
	return []Finding{problem("script-words", c.Keyword+` "`+c.Command[0]+` notify `+strings.Join(right, " ")+`"`,
		"%s of %s tells ctsync %q: keepalived appends nothing here, so the words must say kind, name and state", c.Keyword, name, strings.Join(words, " ")).at(c.At)}
}

// withoutFlags are the words of a command line that are no flags and no flags' values: each of ctsync's has one.
func withoutFlags(words []string) (rest []string) {
	for i := 0; i < len(words); i++ {
		switch {
		case !strings.HasPrefix(words[i], "--"):
			rest = append(rest, words[i])
		case !strings.Contains(words[i], "="):
			i++
		}
	}
	return rest
}
