package lab

import "time"

// Daemon is what replicates one router's connections: ctsync, or another to compare it with. One goroutine at
// a time uses it.
type Daemon interface {
	Name() string
	Start() error        // returns when it answers its operator
	Stop() error         // graceful
	Kill9()              // kill -9; nothing is tidied up
	Hooks() Hooks        // what keepalived must be told about it
	Process() *Process   // nil while it never ran
	Synced() bool        // as standby: it knows every connection of its peer
	Statistics() string  // its own words on what it holds
	Milestone(Line) Step // what a line of its log tells about a takeover
}

// Kind makes the daemon of one router.
type Kind func(*Router) Daemon

// Drivers are the ways in which keepalived talks to a daemon; several at once are allowed.
type Drivers struct{ FIFO, DBus, Script bool }

// Step is a milestone in a takeover.
type Step uint8

// Steps. A line that is none of them is NoStep.
const (
	NoStep Step = iota
	Noticed
	ReadyToForward
)

// None replicates nothing: the lab's own yardstick, with which connections must be lost.
func None(*Router) Daemon { return none{} }

type none struct{}

func (none) Name() string        { return "none" }
func (none) Start() error        { return nil }
func (none) Stop() error         { return nil }
func (none) Kill9()              {}
func (none) Hooks() Hooks        { return Hooks{} }
func (none) Process() *Process   { return nil }
func (none) Synced() bool        { return true }
func (none) Statistics() string  { return "" }
func (none) Milestone(Line) Step { return NoStep }

// WaitSynced waits until the router, as standby, knows its peer's connections.
func (r *Router) WaitSynced(limit time.Duration) error {
	return waitFor(r.Name+" to be in sync", limit, r.Daemon.Synced)
}
