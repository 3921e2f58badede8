package show

import (
	"io"
	"time"

	"ctsync/engine"
)

// statusJSON is `ctsync status --output json`, and with set also `show conntrack-sync status`.
type statusJSON struct {
	Node       string       `json:"node"`
	Now        time.Time    `json:"now"`
	Started    *time.Time   `json:"started"`
	Verdict    string       `json:"verdict"`      // in sync, degraded, syncing, alone
	Code       int          `json:"verdict_code"` // the exit code of ctsync status
	Why        string       `json:"why"`
	Role       string       `json:"role"` // standby, taking over, active
	RoleSince  *time.Time   `json:"role_since"`
	RoleReason string       `json:"role_reason"`
	VRRP       vrrpJSON     `json:"vrrp"`
	Standby    string       `json:"standby"`  // hot or warm
	Ready      *bool        `json:"ready"`    // null: not known yet
	Complete   bool         `json:"complete"` // the internal cache describes the whole kernel table
	Leader     string       `json:"leader"`   // empty: none
	Internal   cacheJSON    `json:"internal"`
	Young      int          `json:"young"` // connections that sync-after holds back: nobody else has them
	External   cacheJSON    `json:"external"`
	Kernel     kernelJSON   `json:"kernel"`
	Messages   messagesJSON `json:"messages"`
	Activity   activityJSON `json:"activity"`
	Peers      []peerJSON   `json:"peers"`
	Links      []linkJSON   `json:"links"`
	Setup      *setupJSON   `json:"setup,omitempty"`
}

type vrrpJSON struct {
	State  string     `json:"state"`  // MASTER, BACKUP, FAULT, STOP, DELETED, GONE, UNKNOWN
	Source string     `json:"source"` // fifo, dbus, script, cluster, operator; empty: nobody yet
	Since  *time.Time `json:"since"`
}

type kernelJSON struct {
	Events      uint64         `json:"events"`
	Overruns    uint64         `json:"overruns"`
	Dumps       uint64         `json:"dumps"`
	Created     uint64         `json:"created"`
	Updated     uint64         `json:"updated"`
	Deleted     uint64         `json:"deleted"`
	Retried     uint64         `json:"retried"`
	Silent      int            `json:"silent"`   // found in the table, of which no event has told since
	Suspects    int            `json:"suspects"` // to be purged
	Pending     int            `json:"pending"`
	Outstanding int            `json:"outstanding"`
	Failed      map[string]int `json:"failed"` // flows that are not in the kernel, by reason
	TableMax    int            `json:"table_max"`
	TableCount  int            `json:"table_count"`
}

type activityJSON struct {
	Takeovers          uint64     `json:"takeovers"`
	LastTakeover       *time.Time `json:"last_takeover"`
	TakeoverDuration   float64    `json:"takeover_duration"`   // seconds
	TakeoverForwarding float64    `json:"takeover_forwarding"` // seconds
	TakeoverAdopted    int        `json:"takeover_adopted"`
	TakeoverWritten    int        `json:"takeover_written"`
	TakeoverFailed     int        `json:"takeover_failed"`
	Evicted            uint64     `json:"evicted"`
	Purged             uint64     `json:"purged"`
	Notices            uint64     `json:"notices"`
}

type peerJSON struct {
	Name      string  `json:"name"`
	Epoch     string  `json:"epoch"`
	Address   string  `json:"address"`
	Sealed    bool    `json:"sealed"` // what it sends is sealed, with the key of key_id
	KeyID     string  `json:"key_id"` // hexadecimal, or "none"
	Role      string  `json:"role"`
	State     string  `json:"state"` // in sync, syncing, silent
	Leader    bool    `json:"leader"`
	Complete  bool    `json:"complete"`
	LastHeard float64 `json:"last_heard"` // seconds ago
	Flows     int     `json:"flows"`
	Stale     int     `json:"stale"`
	Refused   int     `json:"refused"`
	Behind    uint64  `json:"behind"` // records of its log that are not here
	Lacks     uint64  `json:"lacks"`  // records of our log that it has not acknowledged
	Restarts  uint64  `json:"restarts"`
}

type setupJSON struct {
	Interfaces []string `json:"sync_interface"` // VyOS's names of the fields
	Mechanism  string   `json:"failover_mechanism"`
	Group      string   `json:"sync_group"`
	Expect     []string `json:"sync_protocols"`
}

// StatusJSON is Status for programs. set is nil or what SyncStatus adds.
func StatusJSON(w io.Writer, set *Setup, st engine.Status, links []Link) error {
	j := statusJSON{
		Node: st.Node, Now: st.Now, Started: moment(st.Started), Verdict: st.Verdict.String(), Code: int(st.Verdict),
		Why: st.Why, Role: st.Role.String(), RoleSince: moment(st.RoleSince), RoleReason: st.RoleReason,
		VRRP:    vrrpJSON{st.VRRP.String(), st.VRRPSource, moment(st.VRRPSince)},
		Standby: standby(st.Hot), Complete: st.Complete, Leader: st.Leader,
		Internal: cacheOf(st.Internal), Young: st.Young, External: cacheOf(st.External), Kernel: kernelOf(st.Kernel),
		Messages: messagesOf(st.Messages), Activity: activityOf(st.Activity),
		Peers: make([]peerJSON, 0, len(st.Peers)), Links: linksOf(links),
	}
	if st.Ready != engine.LeaveAsItIs {
		ready := st.Ready == engine.Ready
		j.Ready = &ready
	}
	for _, p := range st.Peers {
		j.Peers = append(j.Peers, peerOf(p))
	}
	if set != nil {
		j.Setup = &setupJSON{set.Interfaces, set.Mechanism, set.Group, append([]string{}, set.Expect...)}
	}
	return writeJSON(w, j)
}

func kernelOf(k engine.KernelStats) kernelJSON {
	failed := k.Failed
	if failed == nil {
		failed = map[string]int{}
	}
	return kernelJSON{
		Events: k.Events, Overruns: k.Overruns, Dumps: k.Dumps, Created: k.Created, Updated: k.Updated,
		Deleted: k.Deleted, Retried: k.Retried, Silent: k.Silent, Suspects: k.Suspects, Pending: k.Pending, Outstanding: k.Outstanding, Failed: failed,
		TableMax: k.TableMax, TableCount: k.TableCount,
	}
}

func activityOf(a engine.ActivityStats) activityJSON {
	return activityJSON{
		Takeovers: a.Takeovers, LastTakeover: moment(a.LastTakeover), TakeoverDuration: seconds(a.TakeoverDuration),
		TakeoverForwarding: seconds(a.TakeoverForwarding),
		TakeoverAdopted:    a.TakeoverAdopted, TakeoverWritten: a.TakeoverWritten, TakeoverFailed: a.TakeoverFailed,
		Evicted: a.Evicted, Purged: a.Purged, Notices: a.Notices,
	}
}

func peerOf(p engine.PeerStatus) peerJSON {
	return peerJSON{
		Name: p.Name, Epoch: p.Epoch, Address: p.Address, Sealed: p.Sealed, KeyID: sealedBy(p), Role: p.Role.String(), State: peerState(p),
		Leader: p.Leader, Complete: p.Complete, LastHeard: seconds(p.LastHeard), Flows: p.Flows, Stale: p.Stale,
		Refused: p.Refused, Behind: behind(p), Lacks: theyLack(p), Restarts: p.Restarts,
	}
}
