package hostcheck

import "fmt"

// Level says how bad a finding is.
type Level uint8

// Levels. A hint does not make a check fail.
const (
	Problem Level = iota // connections may be lost, or replication does not work
	Hint                 // worth knowing, and for some right as it is
)

func (l Level) String() string { return [...]string{"problem", "hint"}[l] }

// Finding is one thing that is wrong, what it means, and what to do about it.
type Finding struct {
	ID     string // stable, for programs
	Level  Level
	Text   string // what is so, and what it means
	Remedy string
	Where  string // file:line, or empty
}

func problem(id, remedy, format string, args ...any) Finding {
	return Finding{ID: id, Level: Problem, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func hint(id, remedy, format string, args ...any) Finding {
	f := problem(id, remedy, format, args...)
	f.Level = Hint
	return f
}

// at names the place of a finding.
func (f Finding) at(where fmt.Stringer) Finding {
	f.Where = where.String()
	return f
}

// Problems is how many of the findings are more than hints.
func Problems(found []Finding) (n int) {
	for _, f := range found {
		if f.Level == Problem {
			n++
		}
	}
	return n
}

// withoutRights is what is found if this is not root: the rest would be about the rights of the one who asks.
func (f *Facts) withoutRights() []Finding {
	found := []Finding{problem("not-root", "sudo ctsync check", "only root sees the kernel's tables and keepalived's files: little was looked at")}
	found = append(found, checkConfiguration(f)...)
	if f.Daemon != nil { // of the control-group
		found = append(append(found, checkDaemon(f)...), checkRefused(f)...)
	}
	return found
}

// Examine is every finding, in the order: configuration, kernel, links, peers, keepalived.
func Examine(f *Facts) (found []Finding) {
	if f.NotRoot {
		return f.withoutRights()
	}
	for _, check := range []func(*Facts) []Finding{
		checkConfiguration, checkKeyFile, checkKernel, checkModules, checkSysctls, checkRivals, checkClock,
		checkLinks, checkDaemon, checkRefused, checkPath, checkUntracked, checkKeepalived,
	} {
		found = append(found, check(f)...)
	}
	return found
}
