package engine

import (
	"time"

	"ctsync/engine/flow"
)

// Output is what the engine wants done. It is valid until the next Step. The fields are carried out in
// their order; the operations of one Output are carried out in order too, and all of them before those of a
// later one.
type Output struct {
	AllEvents bool       // from now on events of flows of every protocol are needed, see Early
	Ops       []flow.Op  // kernel operations; each is answered by one flow.Result
	Dump      uint64     // not 0: dump the whole table and answer with KernelDump of this number
	Datagrams []Datagram // to the sync links
	Ready     Readiness  // what the readiness file should say
	Replies   []Reply
	Notes     []Note
}

// Readiness is the content of the readiness file.
type Readiness uint8

// Readiness values. The file holds 100 for Ready and 0 for NotReady; LeaveAsItIs until the role is known.
const (
	LeaveAsItIs Readiness = iota
	NotReady
	Ready
)

// Reply answers a Command. Err is empty on success and else says why and what to do.
type Reply struct {
	ID       uint64
	Err      string
	Done     int            // flows entered, compared or forgotten, by the verb
	Failed   map[string]int // by reason
	Duration time.Duration
}

// NoteKind names a fact that an operator should know.
type NoteKind uint8

// Notes.
const (
	NoteRole         NoteKind = iota // the role changed; From, To, Reason, and to Active: Count adopted, Written, Failed, Duration, Forwarding
	NoteAction                       // one action of a role change, in conntrackd's words; Text, Count, Duration
	NotePeerFound                    // a peer is heard; Peer
	NotePeerLost                     // a peer is silent; Peer, and Reason if it said so
	NotePeerReplaced                 // a peer runs anew; Peer
	NoteDuplicate                    // two live nodes with one name; Peer
	NoteInSync                       // a peer's flows are all here, proven; Peer, Count
	NoteOutOfSync                    // no longer; Peer, Reason
	NoteMismatch                     // a digest differed; Peer
	NoteRestart                      // a peer's log is read again; Peer, Reason
	NoteOverrun                      // the kernel dropped events
	NoteResynced                     // the internal cache was compared with the kernel; Count differences, Duration
	NoteTableFull                    // the kernel's table is full, creating stopped; Count
	NoteTableFreed                   // creating again
	NoteFailures                     // flows that the kernel refused; Count, Reason
	NoteTwoActive                    // two nodes are active; Peer
	NoteOneActive                    // no longer; Peer
	NoteEvicted                      // flows kept although the kernel dropped them with an address; Count
	NotePurged                       // suspects deleted from the kernel; Count
	NoteReady                        // the readiness changed; Text, and if not ready Reason
	NoteNotice                       // a driver disagrees or cannot be understood; Text
	NoteAsleep                       // the machine was asleep; Duration
	NoteRefused                      // datagrams refused for the first time for this Reason; Peer
	noteKinds
)

// Note is one fact that happened. Only the fields that its kind names are set.
type Note struct {
	Kind     NoteKind
	Peer     string
	From, To Role
	Reason   string
	Text     string
	Count    int
	Duration time.Duration

	Written, Failed int           // flows that the kernel lacked at a takeover, and those of them that it refused
	Forwarding      time.Duration // from the order until the last of them was in it
}
