package engine

import (
	"net/netip"
	"time"

	"ctsync/engine/flow"
	"ctsync/vrrp"
)

// Input is one thing that happened. It is valid for the call of Step only: its memory is the caller's.
type Input interface{ isInput() }

// KernelEvents are the events of one receive call, in the kernel's order. Lost says that the kernel had to
// drop events before these (ENOBUFS).
type KernelEvents struct {
	Events []flow.Event
	Lost   bool
}

// KernelDump is a piece of the table that Output.Dump asked for. Done comes last, alone or with the last
// piece; Failed with it says that the dump is not whole.
type KernelDump struct {
	Dump   uint64
	Flows  []flow.Flow
	Done   bool
	Failed bool
}

// KernelResults answer operations, each Op of an Output exactly once.
type KernelResults struct{ Results []flow.Result }

// KernelLimits tell the size of the kernel's table (nf_conntrack_max, nf_conntrack_count). Mute says that flows which
// begin now will emit no events (nf_conntrack_events is 0).
type KernelLimits struct {
	Max, Count int
	Mute       bool
}

// KernelTimeouts tell how long the kernel keeps flows. Without it, as by default.
type KernelTimeouts struct{ flow.Timeouts }

// Datagrams came in by a sync link.
type Datagrams struct{ Datagrams []Datagram }

// Datagram is one datagram of a sync link. From is its sender where it came in; To its destination where it
// goes out: the zero value is every peer.
type Datagram struct {
	Payload  []byte
	From, To netip.AddrPort
}

// Notice is something that keepalived, a cluster manager or the operator said about the group.
type Notice struct{ vrrp.Notice }

// Members are the group's instances as keepalived's configuration names them now.
type Members struct{ Names []string }

// Addresses are all addresses of this node on links that are up, which may be usable as NAT source: sent at
// start and whenever one changes. Own, sync and virtual addresses alike.
type Addresses struct{ Addrs []netip.Addr }

// PayloadLimit is the largest datagram that the sync links carry from now on.
type PayloadLimit struct{ Bytes int }

// Filter replaces the filter of what is replicated.
type Filter struct{ Filter flow.Filter }

// Command is an operator's verb. Its answer is a Reply with the same ID, perhaps in a later Output.
type Command struct {
	ID   uint64
	Verb Verb
}

// Verb is what an operator can ask for.
type Verb uint8

// Verbs, in conntrackd's words.
const (
	VerbCommit        Verb = iota // external flows into the kernel; answered when every operation is
	VerbFlushInternal             // forget the internal cache (it is read again from the kernel)
	VerbFlushExternal             // forget the external caches (they are asked for again)
	VerbResync                    // compare the internal cache with the kernel; answered when done
	VerbBulk                      // have every peer compare itself with us at once
	VerbRequestResync             // ask every peer for what we lack, from the beginning
	VerbResetStatistics
)

// Closing says that the daemon is to stop once the others have what is here: see Engine.Untold.
type Closing struct{}

// Shutdown says that the daemon is about to stop: the last heartbeat goes out.
type Shutdown struct{}

// Tick is Step without news: a deadline passed.
type Tick struct{}

// Woke says that the machine slept or the process was stopped for d.
type Woke struct{ For time.Duration }

func (*KernelEvents) isInput()   {}
func (*KernelDump) isInput()     {}
func (*KernelResults) isInput()  {}
func (*KernelLimits) isInput()   {}
func (*KernelTimeouts) isInput() {}
func (*Datagrams) isInput()      {}
func (*Notice) isInput()         {}
func (*Members) isInput()        {}
func (*Addresses) isInput()      {}
func (*PayloadLimit) isInput()   {}
func (*Filter) isInput()         {}
func (*Command) isInput()        {}
func (*Closing) isInput()        {}
func (*Shutdown) isInput()       {}
func (*Tick) isInput()           {}
func (*Woke) isInput()           {}
