package engine

import "ctsync/vrrp"

// What each notice does in each role, in conntrackd's words. ARCHITECTURE.md shows the same table, and a test
// keeps the two equal.
//
//	commit  adopt what active nodes left and write what the kernel lacks
//	bulk    offer everything to the peers
//	leave   evicted flows are the next active node's
//	purge   scheduled: suspects go after purge-timeout, if no packet refreshes them
type reaction struct {
	Role    Role
	Hears   vrrp.State
	Becomes Role
	Does    string
}

var reactions = []reaction{
	{Standby, vrrp.Master, TakingOver, "commit; then active, bulk"},
	{Standby, vrrp.Backup, Standby, "nothing"},
	{Standby, vrrp.Fault, Standby, "nothing"},
	{Standby, vrrp.Stop, Standby, "nothing"},
	{Standby, vrrp.Deleted, Standby, "nothing"},
	{Standby, vrrp.Gone, Standby, "nothing"},
	{Standby, vrrp.Unknown, Standby, "nothing"},

	{TakingOver, vrrp.Master, TakingOver, "nothing"},
	{TakingOver, vrrp.Backup, Standby, "leave, purge"},
	{TakingOver, vrrp.Fault, Standby, "leave, purge"},
	{TakingOver, vrrp.Stop, Standby, "leave, purge"},
	{TakingOver, vrrp.Deleted, Standby, "leave, purge"},
	{TakingOver, vrrp.Gone, Standby, "leave, purge"},
	{TakingOver, vrrp.Unknown, Standby, "leave, purge"},

	{Active, vrrp.Master, Active, "nothing"},
	{Active, vrrp.Backup, Standby, "leave, purge"},
	{Active, vrrp.Fault, Standby, "leave, purge"},
	{Active, vrrp.Stop, Standby, "leave, purge"},
	{Active, vrrp.Deleted, Standby, "leave, purge"},
	{Active, vrrp.Gone, Standby, "leave, purge"},
	{Active, vrrp.Unknown, Standby, "leave, purge"},
}

// react gives the row for a role and a state.
func react(role Role, hears vrrp.State) reaction {
	for _, r := range reactions {
		if r.Role == role && r.Hears == hears {
			return r
		}
	}
	return reaction{Role: role, Hears: hears, Becomes: Standby} // never, says the test
}
