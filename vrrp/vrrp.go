// Package vrrp knows VRRP's words and derives the state of one sync group from what keepalived says about
// it over several channels. It is pure: no clock, no I/O.
package vrrp

import "time"

// State is a VRRP state as keepalived names it.
type State uint8

// States. Unknown is "nothing heard", Gone is "keepalived itself is not there" (dead, or off the bus).
const (
	Unknown State = iota
	Backup
	Master
	Fault
	Stop
	Deleted
	Gone
)

// String is keepalived's spelling.
func (s State) String() string {
	switch s {
	case Backup:
		return "BACKUP"
	case Master:
		return "MASTER"
	case Fault:
		return "FAULT"
	case Stop:
		return "STOP"
	case Deleted:
		return "DELETED"
	case Gone:
		return "GONE"
	}
	return "UNKNOWN"
}

// Source is the channel that a notice came by, in falling order of trust.
type Source uint8

// Sources.
const (
	SourceFIFO Source = iota
	SourceDBus
	SourceScript
	SourceCluster  // ctsync cluster start|stop
	SourceOperator // ctsync promote|demote
	SourceProcess  // keepalived's process: its life, and its own dump of its state
	sources
)

func (s Source) String() string {
	return [...]string{"fifo", "dbus", "script", "cluster", "operator", "process"}[s]
}

// Kind says what a notice is about.
type Kind uint8

// Kinds.
const (
	Group    Kind = iota // the sync group itself
	Instance             // one VRRP instance
	Daemon               // keepalived as a whole: State is Gone, or Unknown when it is back
)

// What a notice can be about besides a state. The first three are keepalived's own words for an instance;
// the rest concern keepalived as a whole (Kind Daemon).
const (
	EventRxLowerPriority = "MASTER_RX_LOWER_PRI" // as MASTER it hears somebody of lower priority
	EventMasterPriority  = "MASTER_PRIORITY"     // the effective priority changed
	EventBackupPriority  = "BACKUP_PRIORITY"
	EventReloaded        = "RELOADED"  // its configuration was read again: the members may have changed
	EventRestarted       = "RESTARTED" // another process took the place of the one that died, within RestartWindow
	EventBusLost         = "BUS_LOST"  // the D-Bus connection broke: nothing is known about keepalived itself
	EventLinesLost       = "LINES_LOST"
)

// RestartWindow is how long the death of keepalived is looked at before it is told: what was read until
// then was said by the process that died, unless another one is there by then.
const RestartWindow = 50 * time.Millisecond

// ParseState reads a state in keepalived's spelling.
func ParseState(word string) (State, bool) {
	for s := Backup; s <= Deleted; s++ {
		if s.String() == word {
			return s, true
		}
	}
	return Unknown, false
}

// Notice is one thing that keepalived said.
type Notice struct {
	Source   Source
	Kind     Kind
	Name     string // group or instance name; empty for Daemon
	State    State
	Event    string // what is not a state: one of the Event words; else empty
	Priority int
	At       time.Time // when a script was started, on a clock that only scripts share; zero: unknown
}
