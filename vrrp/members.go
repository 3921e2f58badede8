package vrrp

import "slices"

// membership says which instances belong to the tracked group: those that the configuration names, or,
// without it, those whose lines precede the group's own.
//
// The members of a sync group move together, so that knowing only some of them does no harm, while one
// instance too many would hold the group back. What is learned is therefore only ever narrowed.
type membership struct {
	group   string
	hint    []string
	learned []string
	deleted []string
	run     []Notice // INSTANCE lines since the last GROUP line of any group
}

// maxRun bounds the lines that are remembered: VRRP has 255 virtual routers on an interface.
const maxRun = 1024

// known returns the members and whether they are certain; nil: nothing is known, every instance counts.
func (m *membership) known() (names []string, certain bool) {
	if len(m.hint) > 0 {
		return m.hint, true
	}
	return m.learned, false
}

func (m *membership) has(name string) bool {
	names, _ := m.known()
	return len(names) == 0 || slices.Contains(names, name)
}

// instance remembers an INSTANCE line.
func (m *membership) instance(n Notice) {
	if len(m.run) < maxRun {
		m.run = append(m.run, n)
	}
	m.deleted = without(m.deleted, []string{n.Name})
	if n.State == Deleted && len(m.deleted) < maxRun {
		m.deleted = append(m.deleted, n.Name)
	}
}

// claim takes the instances that said what this GROUP line says as members of its group. It reports
// whether another group has claimed just the members of the tracked one, which is what a renaming looks
// like. BACKUP teaches nothing: at its start keepalived writes a group's line before those of its members.
func (m *membership) claim(n Notice) (renamed bool) {
	var said []string
	for _, i := range m.run {
		if i.State == n.State && !slices.Contains(said, i.Name) {
			said = append(said, i.Name)
		}
	}
	m.run = m.run[:0]
	if len(said) == 0 || n.State == Backup {
		return false
	}
	if n.Name == m.group {
		m.learn(said)
		return false
	}
	rest := without(m.learned, said)
	if names, certain := m.known(); certain || len(rest) == 0 {
		names = without(names, m.deleted)
		return len(names) == len(said) && len(without(names, said)) == 0
	}
	m.learned = rest
	return false
}

func (m *membership) learn(said []string) {
	both := slices.DeleteFunc(slices.Clone(m.learned), func(s string) bool { return !slices.Contains(said, s) })
	if len(both) == 0 {
		both = said
	}
	m.learned = both
}

func without(names, gone []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return slices.Contains(gone, s) })
}
