package engine

import (
	"time"

	"ctsync/vrrp"
)

// Role is what the engine does about what keepalived said.
type Role uint8

// Roles.
const (
	Standby Role = iota
	TakingOver
	Active
)

func (r Role) String() string { return [...]string{"standby", "taking over", "active"}[r] }

// Verdict is one word on the whole, and the exit code of `ctsync status`.
type Verdict uint8

// Verdicts.
const (
	InSync     Verdict = 0
	Degraded   Verdict = 1
	NotRunning Verdict = 2 // never from an engine
	Syncing    Verdict = 3
	Alone      Verdict = 4
)

func (v Verdict) String() string {
	return [...]string{"in sync", "degraded", "not running", "syncing", "alone"}[v]
}

// Status is a value: all that an operator can ask about the engine.
type Status struct {
	Now        time.Time
	Node       string
	Started    time.Time
	Role       Role
	RoleSince  time.Time
	RoleReason string
	VRRP       vrrp.State // of the group, as last heard
	VRRPSource string     // who said it; empty: nobody yet
	VRRPSince  time.Time
	Hot        bool
	Verdict    Verdict
	Why        string // the verdict's reason, with the remedy where there is one
	Ready      Readiness
	Complete   bool // the internal cache describes the whole kernel table
	Leader     string

	Internal CacheStats // flows of this node's kernel
	External CacheStats // flows heard from peers
	Young    int        // flows of this node's kernel that sync-after holds back
	// The same of expectations.
	ExpectInternal, ExpectExternal CacheStats

	Kernel   KernelStats
	Peers    []PeerStatus
	Messages MessageStats
	Activity ActivityStats
}

// CacheStats are the counters of one cache: what is active is what was created less what was destroyed.
type CacheStats struct {
	Active                                          int
	Created, CreateFailed                           uint64
	Updated, UpdateFailed, Destroyed, DestroyFailed uint64
}

// KernelStats tell what the kernel writer did and what is wrong.
type KernelStats struct {
	Events, Overruns, Dumps   uint64
	Created, Updated, Deleted uint64 // operations that succeeded
	Retried                   uint64
	Silent                    int            // flows of which no event has told since the last dump found them
	Suspects                  int            // a standby's entries that its leader does not list, as the last dump showed: the purge's
	Pending                   int            // entries that wait for an operation
	Outstanding               int            // operations under way
	Failed                    map[string]int // entries that could not be written, by reason
	TableMax, TableCount      int
}

// PeerStatus is one run of one peer.
type PeerStatus struct {
	Name      string
	Epoch     string // hexadecimal, shortened
	Role      Role
	Complete  bool
	Live      bool
	Proven    bool          // all of its flows are here, by digest
	LastHeard time.Duration // ago
	Flows     int
	Stale     int
	Refused   int
	Have      uint64 // everything of its log up to here is known
	Last      uint64 // the end of its log as last heard
	TheyHave  uint64 // what it has of ours
	OwnLast   uint64 // the end of our log
	Leader    bool
	Restarts  uint64
	Address   string
	Sealed    bool  // what it sends is sealed
	KeyID     uint8 // with this key
}

// MessageStats count datagrams. Lost are sequence numbers that had to be asked for.
type MessageStats struct {
	Sent, Received uint64
	Lost           uint64
	Malformed      uint64            // every refused datagram
	Refused        map[string]uint64 // Malformed by reason
	Wants, Repairs uint64
	SealFailed     uint64 // datagrams not sent for want of randomness
}

// ActivityStats are figures of the last takeover, and counters of what should be rare.
type ActivityStats struct {
	Takeovers        uint64
	LastTakeover     time.Time
	TakeoverDuration time.Duration // notice to Active
	// TakeoverForwarding is from the notice until the last flow that the kernel lacked was in it; 0 if it lacked
	// none, as at a hot standby that was in sync.
	TakeoverForwarding time.Duration
	TakeoverAdopted    int
	TakeoverWritten    int
	TakeoverFailed     int
	Evicted, Purged    uint64
	Notices            uint64
}
