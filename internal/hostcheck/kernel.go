package hostcheck

import (
	"fmt"
	"slices"
	"strings"

	"ctsync/internal/config"
	"ctsync/internal/kernel"
)

var kernelIDs = map[kernel.FindingKind]string{
	kernel.EventsOff: "events-off", kernel.EventsPartly: "events-partly", kernel.NotTracking: "not-tracking", kernel.NoNATHooks: "no-nat-chain",
	kernel.BufferLimited: "buffer-limited", kernel.TableSmall: "table-small", kernel.NotReadable: "not-readable",
	kernel.CountersOff: "counters-off",
}

func checkKernel(f *Facts) (found []Finding) {
	for _, k := range f.Kernel {
		found = append(found, problem(kernelIDs[k.Kind], k.Remedy, "%s", k.Text))
	}
	return found
}

// checkModules: a daemon that is not root loads none.
func checkModules(f *Facts) (found []Finding) {
	if f.Modules == nil {
		return nil
	}
	for _, m := range []string{"nf_conntrack", "nf_conntrack_netlink"} {
		if !f.Modules[m] {
			found = append(found, problem("module-missing", "modprobe "+m+", and a line in /etc/modules-load.d for the next boot",
				"the module %s is not loaded: the kernel's connections cannot be read", m))
		}
	}
	for _, word := range f.Config.ExpectSync {
		if m := helperModules[word]; m != "" && !f.Modules[m] {
			found = append(found, problem("helper-missing", "modprobe "+m+", and a line in /etc/modules-load.d, on every node",
				"expect-sync %s is set, but the module %s is not loaded: the kernel refuses connections with that helper", word, m))
		}
	}
	return found
}

// helperModules are the kernel's for the words of expect-sync; rpc and tns have helpers in user space only.
var helperModules = map[string]string{"ftp": "nf_conntrack_ftp", "h323": "nf_conntrack_h323", "sip": "nf_conntrack_sip"}

// chainLength is how many entries a bucket may hold on the average; the kernel's own choice is one.
const chainLength = 8

func checkSysctls(f *Facts) (found []Finding) {
	limit, buckets := f.Sysctls["net.netfilter.nf_conntrack_max"], f.Sysctls["net.netfilter.nf_conntrack_buckets"]
	if buckets > 0 && limit > chainLength*buckets {
		found = append(found, hint("hash-small", fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_buckets=%d (of the host, not of a namespace)", limit/2),
			"nf_conntrack_max is %d and the hash has %d buckets: with a full table each lookup walks %d entries", limit, buckets, limit/buckets))
	}
	if v, ok := f.Sysctls["net.netfilter.nf_conntrack_tcp_loose"]; ok && v != 0 {
		found = append(found, hint("tcp-loose", "with a strict ruleset: sysctl -w net.netfilter.nf_conntrack_tcp_loose=0, and in /etc/sysctl.d",
			"nf_conntrack_tcp_loose is %d: a TCP segment of a connection that was not replicated begins a new one, without its translation", v))
	}
	if v, ok := f.Sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"]; ok && v != 0 {
		found = append(found, hint("tcp-liberal", "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=0, unless asymmetric routing needs it",
			"nf_conntrack_tcp_be_liberal is %d: no connection's TCP window is checked. Replicated connections do not need it: ctsync marks those alone", v))
	}
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if v, ok := f.Sysctls[name]; ok && v == 0 && (name == "net.ipv4.ip_forward" || f.Sysctls["net.ipv4.ip_forward"] == 0) {
			found = append(found, forwardingOff(name))
		}
	}
	return found
}

// forwardingOff is a hint: one of the families may not be in use.
func forwardingOff(name string) Finding {
	return hint("no-forwarding", "sysctl -w "+name+"=1 if this node is to forward this family, and in /etc/sysctl.d",
		"%s is 0: after a takeover this node would have the connections and forward none of them", name)
}

func checkRivals(f *Facts) []Finding {
	if f.Rival == 0 {
		return nil
	}
	return []Finding{problem("conntrackd", "systemctl disable --now conntrackd", "conntrackd runs here too (process %d): both would write the same table", f.Rival)}
}

func checkClock(f *Facts) []Finding {
	if f.ClockSynced == nil || *f.ClockSynced {
		return nil
	}
	return []Finding{hint("clock", "run systemd-timesyncd, chrony or ntpd on every node",
		"the clock is not synchronised: replication does not mind, but journals and captures of the nodes cannot be put side by side")}
}

// checkUntracked: a full table must not stop what copes with it. An entry in the table is proof; rules are looked at
// where there is none.
func checkUntracked(f *Facts) (found []Finding) {
	type traffic struct {
		id, what, rule string
		tracked        bool
		exempt         bool
	}
	rules := f.Untracked
	known := rules != nil
	if !known {
		rules = &Untracked{}
	}
	all := []traffic{{"sync-tracked", "the sync link", syncRule(&f.Config), f.Tracked.Sync, rules.Sync}}
	if f.Config.Failover.Mechanism == config.VRRP {
		all = append(all, traffic{"vrrp-tracked", "VRRP", "meta l4proto 112 notrack", f.Tracked.VRRP, rules.VRRP})
	}
	tracks := !slices.ContainsFunc(f.Kernel, func(k kernel.Finding) bool { return k.Kind == kernel.NotTracking })
	for _, t := range all {
		if !t.tracked && (!known || t.exempt || !tracks) {
			continue
		}
		found = append(found, problem(t.id, "in a chain of prerouting and one of output, both `priority raw`: "+t.rule,
			"%s is tracked: when the connection table is full, its packets are dropped, and the other node takes over for no reason", t.what))
	}
	return found
}

func syncRule(c *config.Config) string {
	var names []string
	port := uint16(0)
	for _, l := range c.Links {
		names, port = append(names, `"`+l.Interface+`"`), l.Port
	}
	if len(names) == 0 {
		return "udp dport 3780 notrack"
	}
	set := names[0]
	if len(names) > 1 {
		set = "{ " + strings.Join(names, ", ") + " }"
	}
	return fmt.Sprintf("iifname %s udp dport %d notrack (oifname in output)", set, port)
}
