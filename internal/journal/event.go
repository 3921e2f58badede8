package journal

// Event names a fact that an operator should know: the attribute Key of a log record, the field CTSYNC_EVENT
// of the journal, and an entry of the journal's catalog. Neither name nor id ever changes its meaning.
type Event string

// Key is the attribute that holds a record's event.
const Key = "event"

// Events.
const (
	Started              Event = "started"               // the daemon runs
	Stopping             Event = "stopping"              // it ends, as asked
	Takeover             Event = "takeover"              // this node has become active
	TakingOver           Event = "taking-over"           // it was told to, and writes what its kernel lacks
	SteppedBack          Event = "stepped-back"          // it was active, or about to be, and no longer is
	KeepalivedGone       Event = "keepalived-gone"       // its process has ended
	Disagreement         Event = "notice"                // the drivers disagree, or one cannot be understood
	PeerFound            Event = "peer-found"            // another node is heard
	PeerLost             Event = "peer-lost"             // and no longer
	PeerRestarted        Event = "peer-restarted"        // its daemon runs anew
	DuplicateName        Event = "duplicate-name"        // two live nodes have one name
	InSync               Event = "in-sync"               // a peer's flows are all here, proven
	OutOfSync            Event = "out-of-sync"           // and no longer
	Mismatch             Event = "mismatch"              // the copy of a peer's flows differs from them
	Restart              Event = "restart"               // a peer's flows are read from the beginning
	TwoActive            Event = "two-active"            // two nodes are active
	OneActive            Event = "one-active"            // and no longer
	Overrun              Event = "overrun"               // the kernel dropped events
	TableFull            Event = "table-full"            // the kernel's table is full
	TableFreed           Event = "table-freed"           // and no longer
	RefusedByKernel      Event = "refused-by-kernel"     // flows could not be written
	Evicted              Event = "evicted"               // flows outlived the address that the kernel dropped them with
	Purged               Event = "purged"                // flows were deleted that the active node does not have
	Readiness            Event = "ready"                 // the readiness for keepalived changed
	Asleep               Event = "asleep"                // the process or the machine was asleep
	Refused              Event = "refused"               // datagrams were refused, for the first time for a reason
	Unauthenticated      Event = "unauthenticated"       // the sync link is not authenticated
	Configured           Event = "configured"            // a changed configuration is in force
	ConfigurationRefused Event = "configuration-refused" // the configuration has faults
	NotStarted           Event = "not-started"           // the daemon could not begin
	RestartNeeded        Event = "restart-needed"        // changed settings wait for the next start
	HostFault            Event = "host"                  // something about the host is not as it must be
)

// known are the events in the order of the manual, with the journal's MESSAGE_ID of each
// (systemd.journal-fields(7)).
var known = []struct {
	event Event
	id    string
}{
	{Started, "c4b8338d9ca941a78fa7bbe04d51ca9b"},
	{Stopping, "41b62a0fda1b4abcafdb42425aace27c"},
	{Takeover, "9213b9e1d6ee4b809264f61e4dc649f1"},
	{TakingOver, "1bccb008710449a984c5cc1f1f85912e"},
	{SteppedBack, "60885062fb444c1faa59f14b15bd0196"},
	{KeepalivedGone, "06b0b9d956b34190b2cbba99f200078b"},
	{Disagreement, "3f521e875c2c44dc8604247fcd5b879e"},
	{PeerFound, "e4c7c414d1cb4c2baea43d3a27b3f49c"},
	{PeerLost, "35a8a7cf41d94bf2bfc11c4d90968bc1"},
	{PeerRestarted, "4ab9653fc1fe40a79fc1403d101028bf"},
	{DuplicateName, "6373a338d2204c138ca47e24d0e81a7f"},
	{InSync, "eead94c3cc18467ab9d1575acec56c44"},
	{OutOfSync, "b254aa99744c4d529224269c698e8bb6"},
	{Mismatch, "f89b26fc9bc843dbb0877f571de5a716"},
	{Restart, "0a8efae23fc548eb93dcd7277a1ee3d9"},
	{TwoActive, "cc1df54883214532a1133abd73f6aafa"},
	{OneActive, "ef2d5300ae6c42dca0f6ea583446eb1c"},
	{Overrun, "a7dc7ca2c49e4c3c89ae1d654f86c13d"},
	{TableFull, "b702005ff1844fe184a4db8d983cd629"},
	{TableFreed, "689ab3a329954103ac576ea8bb5eb143"},
	{RefusedByKernel, "14b943073958429ca9330c8efe284823"},
	{Evicted, "4b0744faadb54198a67affdef930fe18"},
	{Purged, "0fbdc5a2bfa7467680e536f5ad6c469f"},
	{Readiness, "3e58aeb0771a442bb80fb0059cf560df"},
	{Asleep, "9251bb55c4384bd5a7a62ca277d073d6"},
	{Refused, "71d5b7519ff44a6fbd6daa5c7f76a89a"},
	{Unauthenticated, "830f07dfb64d4d86a68ba796ad5af865"},
	{Configured, "cb8526db2f224607834d8850deb33655"},
	{ConfigurationRefused, "ffea269febe74a81bc3666a6351459f9"},
	{NotStarted, "8ea60fbf0ab44bb891af941794c8e5f4"},
	{RestartNeeded, "38a262b6ff8b463c9218a66676e93e8d"},
	{HostFault, "dc85c6dc85f749ed89dee000dd0424d8"},
}

var messageIDs = func() map[Event]string {
	m := make(map[Event]string, len(known))
	for _, k := range known {
		m[k.event] = k.id
	}
	return m
}()

// Events are all of them.
func Events() []Event {
	out := make([]Event, len(known))
	for i, k := range known {
		out[i] = k.event
	}
	return out
}

// MessageID is what the journal's catalog explains an event by; empty for one that is not known.
func MessageID(e Event) string { return messageIDs[e] }
