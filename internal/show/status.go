package show

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ctsync/engine"
	"ctsync/vrrp"
)

// Setup is what the configuration says and the engine does not know.
type Setup struct {
	Interfaces []string // of the sync links
	Mechanism  string   // "vrrp" or "cluster"
	Group      string
	Expect     []string // expect-sync, empty: disabled
}

// SyncStatus prints `show conntrack-sync status`: VyOS's four lines, and after them in the same layout what
// its users ask for: role, verdict, readiness and every peer.
func SyncStatus(w io.Writer, set Setup, st engine.Status) error {
	var b strings.Builder
	b.WriteByte('\n')
	label(&b, "sync-interface", strings.Join(set.Interfaces, ", "))
	label(&b, "failover-mechanism", mechanism(set))
	label(&b, "last state transition", transition(st))
	label(&b, "ExpectationSync", expect(set))
	label(&b, "role", fmt.Sprintf("%s for %s (%s)", st.Role, span(st.Now.Sub(st.RoleSince)), or(st.RoleReason, noNotice)))
	label(&b, "verdict", verdict(st))
	label(&b, "readiness", readiness(st.Ready))
	if len(st.Peers) == 0 {
		label(&b, "peer", "none heard")
	}
	for _, p := range st.Peers {
		label(&b, "peer "+p.Name, peerText(p))
	}
	return write(w, &b)
}

func label(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "%-22s: %s\n", name, text)
}

// mechanism is in VyOS's spelling, `vrrp [sync-group NAME]`.
func mechanism(set Setup) string {
	if set.Mechanism == "cluster" {
		return fmt.Sprintf("cluster [group %s]", set.Group)
	}
	return fmt.Sprintf("%s [sync-group %s]", set.Mechanism, set.Group)
}

// transitionTime is how VyOS prints the time, as date(1) does in its locale.
const transitionTime = "Mon 02 Jan 2006 03:04:05 PM MST"

func transition(st engine.Status) string {
	if st.VRRP == vrrp.Unknown {
		return "no transition yet!"
	}
	return stateWord(st) + " at " + st.VRRPSince.Format(transitionTime)
}

// stateWord is VRRP's word, or the cluster's where a cluster manager said it.
func stateWord(st engine.Status) string {
	if st.VRRPSource == vrrp.SourceCluster.String() {
		switch st.VRRP {
		case vrrp.Master:
			return "PRIMARY"
		case vrrp.Backup:
			return "SECONDARY"
		}
	}
	return st.VRRP.String()
}

func expect(set Setup) string {
	if len(set.Expect) == 0 {
		return "disabled"
	}
	return strings.Join(set.Expect, ", ")
}

func verdict(st engine.Status) string {
	if st.Why == "" {
		return st.Verdict.String()
	}
	return st.Verdict.String() + ": " + st.Why
}

func readiness(r engine.Readiness) string {
	switch r {
	case engine.Ready:
		return "ready"
	case engine.NotReady:
		return "not ready"
	}
	return "not known yet"
}

// behind is how many records a peer's log is ahead of what we know of it.
func behind(p engine.PeerStatus) uint64 { return ahead(p.Last, p.Have) }

// theyLack is how many records of our log a peer has not acknowledged.
func theyLack(p engine.PeerStatus) uint64 { return ahead(p.OwnLast, p.TheyHave) }

func ahead(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

func peerText(p engine.PeerStatus) string {
	return fmt.Sprintf("%s, %s, %d flows, %d records behind, lacks %d of ours, heard %s ago, %s",
		p.Role, peerState(p), p.Flows, behind(p), theyLack(p), span(p.LastHeard), p.Address)
}

// peerState is one word on a peer.
func peerState(p engine.PeerStatus) string {
	switch {
	case !p.Live:
		return "silent"
	case p.Proven:
		return "in sync"
	}
	return "syncing"
}

// Status prints `ctsync status`.
func Status(w io.Writer, st engine.Status, links []Link) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", st.Node, verdict(st))
	label(&b, "role", fmt.Sprintf("%s since %s (%s)", st.Role, clock(st.RoleSince), span(st.Now.Sub(st.RoleSince))))
	label(&b, "because", or(st.RoleReason, noNotice))
	label(&b, "failover", told(st))
	label(&b, "standby", standby(st.Hot))
	label(&b, "readiness", readiness(st.Ready))
	label(&b, "leader", or(st.Leader, "none"))
	label(&b, "running", span(st.Now.Sub(st.Started)))
	label(&b, "internal cache", fmt.Sprintf("%d flows%s%s", st.Internal.Active, young(st.Young), incomplete(st.Complete)))
	label(&b, "external cache", fmt.Sprintf("%d flows", st.External.Active))
	kernelLines(&b, st.Kernel)
	messageLines(&b, st.Messages)
	activityLines(&b, st)
	peerTable(&b, st.Peers)
	linkTable(&b, links)
	return write(w, &b)
}

func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") }

// noNotice is the reason of a role that nobody asked for.
const noNotice = "since the start"

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

func standby(hot bool) string {
	if hot {
		return "hot"
	}
	return "warm"
}

// young is how many flows wait besides.
func young(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d that are younger than sync-after", n)
}

func incomplete(complete bool) string {
	if complete {
		return ""
	}
	return ", not yet compared with the kernel"
}

// told is what the failover mechanism said last, and by which way.
func told(st engine.Status) string {
	if st.VRRPSource == "" {
		return "nothing heard yet"
	}
	return fmt.Sprintf("%s by %s since %s", stateWord(st), st.VRRPSource, clock(st.VRRPSince))
}

func kernelLines(b *strings.Builder, k engine.KernelStats) {
	label(b, "kernel table", fmt.Sprintf("%d of %d entries", k.TableCount, k.TableMax))
	label(b, "kernel writes", fmt.Sprintf("%d created, %d updated, %d deleted, %d retried, %d waiting",
		k.Created, k.Updated, k.Deleted, k.Retried, k.Pending+k.Outstanding))
	label(b, "kernel events", fmt.Sprintf("%d, %d overruns, %d dumps", k.Events, k.Overruns, k.Dumps))
	if k.Suspects > 0 {
		label(b, "to be purged", fmt.Sprintf("%d entries that the active node does not have: they go after purge-timeout, unless packets meet them", k.Suspects))
	}
	for _, reason := range slices.Sorted(maps.Keys(k.Failed)) {
		label(b, "not in the kernel", fmt.Sprintf("%d flows: %s", k.Failed[reason], reason))
	}
}

func messageLines(b *strings.Builder, m engine.MessageStats) {
	label(b, "datagrams", fmt.Sprintf("%d sent, %d received, %d lost and asked for", m.Sent, m.Received, m.Lost))
	for _, reason := range slices.Sorted(maps.Keys(m.Refused)) {
		label(b, "refused", fmt.Sprintf("%d datagrams: %s", m.Refused[reason], reason))
	}
}

func activityLines(b *strings.Builder, st engine.Status) {
	a := st.Activity
	if !a.LastTakeover.IsZero() {
		label(b, "last takeover", fmt.Sprintf("%s, took %s, every flow in the kernel after %s: %d adopted, %d written, %d failed",
			clock(a.LastTakeover), span(a.TakeoverDuration), span(a.TakeoverForwarding), a.TakeoverAdopted, a.TakeoverWritten, a.TakeoverFailed))
	}
	if a.Evicted > 0 || a.Purged > 0 {
		label(b, "kept and purged", fmt.Sprintf("%d flows outlived their address, %d suspects purged", a.Evicted, a.Purged))
	}
}

func peerTable(b *strings.Builder, peers []engine.PeerStatus) {
	if len(peers) == 0 {
		b.WriteString("\nno peer is heard\n")
		return
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tROLE\tSTATE\tFLOWS\tSTALE\tBEHIND\tLACKS\tHEARD\tKEY\tADDRESS")
	for _, p := range peers {
		name := p.Name
		if p.Leader {
			name += " (leader)"
		} else if !p.Live && runsAnew(p, peers) {
			name += " (earlier run)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s ago\t%s\t%s\n", name, p.Role, peerState(p), p.Flows, p.Stale,
			behind(p), theyLack(p), span(p.LastHeard), sealedBy(p), p.Address)
	}
	t.Flush()
}

// runsAnew says that another run of the same node is heard.
func runsAnew(p engine.PeerStatus, peers []engine.PeerStatus) bool {
	return slices.ContainsFunc(peers, func(q engine.PeerStatus) bool { return q.Name == p.Name && q.Live })
}

// sealedBy is the id of the key that seals what the peer sends.
func sealedBy(p engine.PeerStatus) string {
	if !p.Sealed {
		return "none"
	}
	return fmt.Sprintf("%02x", p.KeyID)
}

func linkTable(b *strings.Builder, links []Link) {
	if len(links) == 0 {
		return
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LINK\tMODE\tMTU\tSENT\tRECEIVED\tERRORS\tSTATE")
	for _, l := range links {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", l.Interface, l.Mode, l.MTU, l.PacketsSent, l.PacketsReceived,
			l.SendErrors+l.ReceiveErrors, l.State)
	}
	t.Flush()
}
