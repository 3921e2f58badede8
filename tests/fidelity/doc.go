// Package fidelity is the proof that a connection arrives as it was: of every kind of flow that the kernel
// can track, with every field that it can have, through a real pair of daemons.
//
//	kernel of a              sync0              kernel of b
//	made by our writer   a ---------- b         compared by witnesses that are not ours
//	or by raw packets     ctsync daemon         (ti-mo/conntrack, conntrack(8))
//
// Both tables are compared field by field after the arrival at a hot standby, after each field was changed
// twice and cleared once, after a takeover of a warm standby, after changes at the node that took over, and
// after the end of every flow. docs/FIDELITY.md is written from what was seen: go test ./tests/fidelity -update.
//
// There is no keepalived here: the daemons are driven as by a cluster manager. Root is needed.
package fidelity
