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
)

func (s Source) String() string {
	return [...]string{"fifo", "dbus", "script", "cluster", "operator"}[s]
}

// Kind says what a notice is about.
type Kind uint8

// Kinds.
const (
	Group    Kind = iota // the sync group itself
	Instance             // one VRRP instance
	Daemon               // keepalived as a whole: State is Gone, or Unknown when it is back
)

// Notice is one thing that keepalived said.
type Notice struct {
	Source   Source
	Kind     Kind
	Name     string // group or instance name; empty for Daemon
	State    State
	Event    string // what is not a state: MASTER_RX_LOWER_PRI, MASTER_PRIORITY, BACKUP_PRIORITY; else empty
	Priority int
	At       time.Time // when the sender made it (a script's start); zero: now
}
