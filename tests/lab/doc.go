// Package lab is a pair of firewalls with everything around them, in network namespaces of one machine:
// real kernels' tables, real keepalived, real packets. Tests and the demo drive it.
//
//	 client                      r1                         server
//	10.10.0.10      +---- lan0        wan0 ----+        198.51.100.10
//	    |           |         sync0            |              |
//	 [br-lan] ------+           |              +--------- [br-wan]
//	                |         sync0            |
//	                +---- lan0        wan0 ----+
//	                            r2
//	 LAN VIP 10.10.0.1, the client's gateway          WAN VIP 198.51.100.1, the source of all it sends
//
// With Options.IPv6 the same once more: fd00:10::/64 on the LAN, 2001:db8:51::/64 on the WAN, translated too.
//
// The bridges live in a namespace of their own, so that a cable is pulled from the outside: the router loses
// carrier, as with a real switch. Names carry the pid, so several labs coexist. A guard process holds the
// other end of a pipe and removes everything when this process ends, however it ends.
//
// Vocabulary: a Daemon is what replicates connections (ctsync, conntrackd for comparison, or none); a fault
// is one verb of Lab; Traffic is the client's live conversations and the judge of what survived; a Timeline
// is what happened in the router that took over; a witness reads kernel tables without our own code.
package lab
