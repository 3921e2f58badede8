package top

import "time"

// Status is the part of `ctsync status --output json` that is shown.
type Status struct {
	Node       string    `json:"node"`
	Verdict    string    `json:"verdict"`
	Code       int       `json:"verdict_code"` // 0: in sync
	Why        string    `json:"why"`
	Role       string    `json:"role"`
	RoleSince  time.Time `json:"role_since"`
	RoleReason string    `json:"role_reason"`
	VRRP       struct {
		State  string `json:"state"`
		Source string `json:"source"`
	} `json:"vrrp"`
	Standby  string `json:"standby"`
	Ready    *bool  `json:"ready"`
	Leader   string `json:"leader"`
	Internal Cache  `json:"internal"`
	External Cache  `json:"external"`
	Kernel   struct {
		Events      uint64         `json:"events"`
		Overruns    uint64         `json:"overruns"`
		Created     uint64         `json:"created"`
		Updated     uint64         `json:"updated"`
		Deleted     uint64         `json:"deleted"`
		Pending     int            `json:"pending"`
		Outstanding int            `json:"outstanding"`
		Failed      map[string]int `json:"failed"`
		TableMax    int            `json:"table_max"`
		TableCount  int            `json:"table_count"`
	} `json:"kernel"`
	Messages struct {
		Sent      uint64 `json:"sent"`
		Received  uint64 `json:"received"`
		Lost      uint64 `json:"lost"`
		Malformed uint64 `json:"malformed"`
	} `json:"messages"`
	Peers []Peer `json:"peers"`
	Links []Link `json:"links"`
}

// Cache is one cache's counters.
type Cache struct {
	Active    int    `json:"active"`
	Created   uint64 `json:"created"`
	Updated   uint64 `json:"updated"`
	Destroyed uint64 `json:"destroyed"`
}

// Peer is one run of one peer.
type Peer struct {
	Name      string  `json:"name"`
	Epoch     string  `json:"epoch"`
	Role      string  `json:"role"`
	State     string  `json:"state"` // in sync, syncing, silent
	Leader    bool    `json:"leader"`
	Flows     int     `json:"flows"`
	Behind    uint64  `json:"behind"`
	Lacks     uint64  `json:"lacks"`
	LastHeard float64 `json:"last_heard"` // seconds ago
	KeyID     string  `json:"key_id"`
}

// Link is one sync link.
type Link struct {
	Interface     string `json:"interface"`
	Mode          string `json:"mode"`
	Up            bool   `json:"up"`
	State         string `json:"state"`
	MTU           int    `json:"mtu"`
	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`
	SendErrors    uint64 `json:"send_errors"`
	ReceiveErrors uint64 `json:"receive_errors"`
}

// Event is something that happened.
type Event struct {
	At   time.Time
	Text string
	Bad  bool
}
