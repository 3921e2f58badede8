package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// FindingKind names what is wrong with a host.
type FindingKind uint8

// Findings.
const (
	EventsOff     FindingKind = iota // nf_conntrack_events is 0: nothing is ever reported
	EventsPartly                     // it is 2: some flows are never reported
	NotTracking                      // no rule turns tracking on in this network namespace
	NoNATHooks                       // flows are translated, and here no packet would be
	BufferLimited                    // the receive buffer cannot be forced
	TableSmall                       // nf_conntrack_max is less than what is needed, or nearly reached
	CountersOff                      // nf_conntrack_acct is 0: packets are not counted
	NotReadable                      // something could not be found out
)

// Finding is one thing that is wrong with the host, and what to do about it.
type Finding struct {
	Kind   FindingKind
	Text   string
	Remedy string
}

func (f Finding) String() string { return f.Text + ": " + f.Remedy }

// Needs is what the daemon expects of the host.
type Needs struct {
	Flows         int            // the most flows that are to be held, 0 unknown
	ReceiveBuffer int            // of the events, in bytes
	Translated    map[uint8]bool // families with flows that have NAT, here or at a peer
	Counters      bool           // of packets
}

// Check looks at the host: the sysctls and rules of the calling thread's network namespace, and what the
// process may do. It changes nothing. An empty result means that all is well as far as can be told.
func Check(needs Needs) []Finding {
	var found []Finding
	found = append(found, checkEvents()...)
	found = append(found, checkRuleset(needs)...)
	found = append(found, checkBuffer(needs.ReceiveBuffer)...)
	if needs.Counters {
		found = append(found, checkCounters()...)
	}
	return append(found, checkTable(needs.Flows)...)
}

func notReadable(err error) []Finding {
	return []Finding{{NotReadable, err.Error(), "run as root, with nf_conntrack, nf_conntrack_netlink and nf_tables loaded"}}
}

func checkEvents() []Finding {
	mode, err := readSysctl("nf_conntrack_events")
	if err != nil {
		return notReadable(err)
	}
	const remedy = "sysctl -w net.netfilter.nf_conntrack_events=1, and in /etc/sysctl.d for the next boot"
	switch mode {
	case 0:
		return []Finding{{EventsOff, "the kernel reports no conntrack events, so nothing can be replicated", remedy}}
	case 1:
		return nil
	}
	return []Finding{{EventsPartly, "the kernel reports no events of flows that began before somebody listened", remedy}}
}

func checkCounters() []Finding {
	if on, err := readSysctl("nf_conntrack_acct"); err != nil || on != 0 {
		return nil
	}
	return []Finding{{CountersOff, "the kernel counts no packets, so sync-after-packets does nothing",
		"sysctl -w net.netfilter.nf_conntrack_acct=1, and in /etc/sysctl.d for the next boot"}}
}

func checkRuleset(needs Needs) []Finding {
	r, err := ReadRuleset()
	if err != nil {
		return notReadable(err)
	}
	var found []Finding
	if !r.Tracks && !r.Unknown && !tracked() {
		found = append(found, Finding{NotTracking, "connection tracking is not active in this network namespace",
			"add the rule that needs it, such as: nft add rule inet filter forward ct state established,related accept"})
	}
	for _, family := range []uint8{flow.IPv4, flow.IPv6} {
		if needs.Translated[family] && !r.NAT[family] {
			found = append(found, noNATHooks(family))
		}
	}
	return found
}

// tracked: the table has entries.
func tracked() bool {
	_, count, err := Limits()
	return err == nil && count > 0
}

func noNATHooks(family uint8) Finding {
	name, table := "IPv4", "ip"
	if family == flow.IPv6 {
		name, table = "IPv6", "ip6"
	}
	return Finding{NoNATHooks, fmt.Sprintf("%s flows have NAT, but no NAT chain is here, so their packets would leave untranslated", name),
		fmt.Sprintf("load the same NAT rules as on the other node, or an empty chain: nft 'add table %[1]s nat; add chain %[1]s nat post { type nat hook postrouting priority 100; }'", table)}
}

func checkBuffer(size int) []Finding {
	fd, _, err := open()
	if err != nil {
		return notReadable(err)
	}
	defer unix.Close(fd)
	granted, forced, err := setReceiveBuffer(fd, size)
	if err != nil {
		return notReadable(err)
	}
	return checkBufferOf(granted, size, forced)
}

func checkBufferOf(granted, size int, forced bool) []Finding {
	if size == 0 || forced || granted >= size {
		return nil
	}
	return []Finding{{BufferLimited, fmt.Sprintf("the queue of conntrack events is limited to %d bytes instead of %d", granted, size),
		fmt.Sprintf("give the daemon CAP_NET_ADMIN of the host, or sysctl -w net.core.rmem_max=%d", size)}}
}

// checkTable: full is what leaves less than 5 % free.
func checkTable(flows int) []Finding {
	limit, count, err := Limits()
	if err != nil {
		return notReadable(err)
	}
	need := max(flows, count)
	if limit == 0 || need <= limit-limit/20 {
		return nil
	}
	return []Finding{{TableSmall, fmt.Sprintf("the conntrack table takes %d entries, %d are there and %d are needed", limit, count, need),
		fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d, on every node", 2*need)}}
}
