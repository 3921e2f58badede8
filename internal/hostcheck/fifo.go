package hostcheck

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"ctsync/internal/keepalived"
)

func checkFIFO(s *subject) (found []Finding) {
	if !s.fifoDrives() {
		return nil
	}
	for _, line := range s.fifoLines() {
		if line.Arg(1) == s.Config.NotifyFIFO {
			found = append(found, s.checkFIFOLine(line)...)
		}
	}
	if script := s.secondReader(); script != nil {
		found = append(found, problem("fifo-two-readers", "give the script a FIFO of its own: notify_fifo and vrrp_notify_fifo may both be set, with different paths",
			"keepalived starts %s to read the FIFO that ctsync reads: each line reaches one of them, at random", script.Arg(1)).at(script.At))
	}
	return append(found, s.checkFIFOFile()...)
}

func (s *subject) secondReader() *keepalived.Statement {
	for _, of := range []string{"vrrp_notify_fifo", "notify_fifo"} {
		if line := s.global.Get(of); line != nil && line.Arg(1) == s.Config.NotifyFIFO {
			if script := s.global.Get(of + "_script"); script != nil {
				return script
			}
		}
	}
	return nil
}

// checkFIFOLine: from 2.4 on keepalived uses only a FIFO of its own user or of the one named on the line.
func (s *subject) checkFIFOLine(line *keepalived.Statement) []Finding {
	fifo := s.Keepalived.FIFO
	owner := s.Keepalived.DaemonUser
	if fifo.there() {
		owner = fifo.User
	}
	named := line.Arg(2)
	if owner == "" || owner == named || s.fifoUnreadable() || owner == "root" && named == "" {
		return nil
	}
	finding := hint
	text := "the FIFO %s belongs to %s, and keepalived.conf names %s: keepalived %s writes to it, and from 2.4 on it would not"
	if s.known() && !s.version.Before(strictFIFO) {
		finding, text = problem, "the FIFO %s belongs to %s, and keepalived.conf names %s: keepalived %s does not write to it"
	}
	if named == "" {
		named = "no owner"
	}
	words := s.ownerWords()
	return []Finding{finding("fifo-owner", "vrrp_notify_fifo "+s.Config.NotifyFIFO+words, text, s.Config.NotifyFIFO, owner, named, s.versionText()).at(line.At)}
}

func (s *subject) versionText() string {
	if !s.known() {
		return "before 2.4"
	}
	return s.version.String()
}

func (s *subject) checkFIFOFile() []Finding {
	fifo, path := s.Keepalived.FIFO, s.Config.NotifyFIFO
	switch {
	case fifo == nil:
		return nil
	case !fifo.there() && !fifo.Dir.there():
		return []Finding{problem("fifo-folder", "systemd-tmpfiles --create; or start ctsync before keepalived", "the folder %s is not there: keepalived cannot make its FIFO and goes on without", filepath.Dir(path))}
	case !fifo.there():
		return []Finding{problem("fifo-missing", "systemctl restart ctsync keepalived, in that order", "the FIFO %s is not there: ctsync makes it when it starts", path)}
	case fifo.Mode&fs.ModeSymlink != 0:
		return []Finding{problem("fifo-kind", "rm "+path+" and restart ctsync", "%s is a symbolic link, which keepalived does not open", path)}
	case fifo.Mode&fs.ModeNamedPipe == 0:
		return []Finding{problem("fifo-kind", "rm "+path+" and restart ctsync and keepalived", "%s is not a FIFO: keepalived writes over it from its beginning", path)}
	case fifo.Mode.Perm()&0o022 != 0:
		return []Finding{problem("fifo-rights", "chmod 0600 "+path, "others can write to the FIFO %s (mode %04o) and speak for keepalived", path, fifo.Mode.Perm())}
	}
	if user := s.Keepalived.DaemonUser; s.fifoUnreadable() {
		return []Finding{problem("fifo-unreadable", fmt.Sprintf("chown %[2]s:%[2]s %[1]s, then systemctl restart ctsync; in keepalived.conf: vrrp_notify_fifo %[1]s %[2]s %[2]s", path, user),
			"the FIFO %s belongs to %s, as keepalived makes it when it is started first, and ctsync runs as %s and cannot open it", path, fifo.User, user)}
	}
	return nil
}

// fifoUnreadable says that the daemon's user cannot open what is there.
func (s *subject) fifoUnreadable() bool {
	fifo, user := s.Keepalived.FIFO, s.Keepalived.DaemonUser
	return fifo.there() && user != "" && user != "root" && fifo.User != user && fifo.Mode.Perm()&0o006 != 0o006
}
