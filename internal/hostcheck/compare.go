package hostcheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Compare says what is different on another node and must not be, or had better not be.
func Compare(here, there *Traits) (found []Finding) {
	for _, compare := range []func(here, there *Traits) []Finding{
		compareSettings, compareTables, compareHelpers, compareNAT, compareMTU, compareInstances, comparePrograms,
	} {
		found = append(found, compare(here, there)...)
	}
	return found
}

// ownSettings are each node's own.
var ownSettings = []string{"node-name", "listen-address", "control", "control-group", "metrics", "log-level", "keepalived-config", "keepalived-pid", "notify-fifo",
	"notify-fifo-owner", "dbus", "track-file", "key-file", "disable-syslog", "interface"}

// sameSettings are those without which replication is not whole.
var sameSettings = []string{"accept-protocol", "ignore-address", "expect-sync", "cluster-id", "failover-mechanism", "mcast-group"}

func compareSettings(here, there *Traits) (found []Finding) {
	a, b := settingsOf(here.Settings), settingsOf(there.Settings)
	for _, name := range keysOf(a, b) {
		if slices.Contains(ownSettings, name) || slices.Equal(a[name], b[name]) {
			continue
		}
		level := hint
		if slices.Contains(sameSettings, name) {
			level = problem
		}
		found = append(found, level("differs-setting", "write the same into ctsync.conf of both", "%s: here %s, on %s %s", name, listed(a[name]), there.Node, listed(b[name])))
	}
	return found
}

// settingsOf are the values of each setting, in order.
func settingsOf(lines []string) map[string][]string {
	found := map[string][]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "set service conntrack-sync "), " ")
		found[name] = append(found[name], value)
	}
	for _, values := range found {
		slices.Sort(values)
	}
	return found
}

func listed(values []string) string {
	if len(values) == 0 {
		return "not set"
	}
	return strings.Join(values, ", ")
}

func keysOf[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

const maxSysctl = "net.netfilter.nf_conntrack_max"

func compareTables(here, there *Traits) (found []Finding) {
	for _, name := range keysOf(here.Sysctls, there.Sysctls) {
		a, b := here.Sysctls[name], there.Sysctls[name]
		switch {
		case a == b:
		case name == maxSysctl:
			found = append(found, problem("differs-table", fmt.Sprintf("sysctl -w %s=%d on both", maxSysctl, max(here.number(name), there.number(name))),
				"the connection table takes %s entries here and %s on %s: a full one does not fit into the smaller", a, b, there.Node))
		default:
			found = append(found, hint("differs-sysctl", "set the same on both, in /etc/sysctl.d", "%s is %s here and %s on %s", name, or(a, "not there"), or(b, "not there"), there.Node))
		}
	}
	return found
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

func compareHelpers(here, there *Traits) (found []Finding) {
	for _, pair := range [][2]*Traits{{here, there}, {there, here}} {
		for _, m := range pair[0].Helpers {
			if !slices.Contains(pair[1].Helpers, m) {
				found = append(found, problem("differs-helper", "modprobe "+m+" on "+pair[1].Node+", and a line in /etc/modules-load.d",
					"%s is loaded on %s and not on %s, whose kernel refuses connections with that helper", m, pair[0].Node, pair[1].Node))
			}
		}
	}
	return found
}

func compareNAT(here, there *Traits) (found []Finding) {
	for _, pair := range [][2]*Traits{{here, there}, {there, here}} {
		for _, family := range pair[0].NAT {
			if !slices.Contains(pair[1].NAT, family) {
				found = append(found, problem("differs-nat", "load the same ruleset on both", "%s has NAT chains for %s and %s has none: it would have the connections and not translate them",
					pair[0].Node, family, pair[1].Node))
			}
		}
	}
	return found
}

func compareMTU(here, there *Traits) (found []Finding) {
	for _, link := range keysOf(here.MTU, there.MTU) {
		if a, b := here.MTU[link], there.MTU[link]; a != 0 && b != 0 && a != b {
			found = append(found, problem("differs-mtu", fmt.Sprintf("ip link set %s mtu %d on both", link, min(a, b)), "the MTU of %s is %d here and %d on %s", link, a, b, there.Node))
		}
	}
	return found
}

func compareInstances(here, there *Traits) (found []Finding) {
	for _, name := range keysOf(here.Instances, there.Instances) {
		a, inA := here.Instances[name]
		b, inB := there.Instances[name]
		switch {
		case !inA || !inB:
			found = append(found, problem("differs-instance", "the same vrrp_sync_group with the same instances on both", "the instance %s is in the group on one node only", name))
			continue
		case a.Interface != b.Interface:
			found = append(found, hint("differs-interface", "name the interfaces alike on both: rules and connections name them", "%s runs on %s here and on %s on %s", name, a.Interface, b.Interface, there.Node))
		}
		if a.ID != b.ID || a.Advert != b.Advert {
			found = append(found, problem("differs-vrrp", "the same virtual_router_id and advert_int on both", "%s has virtual_router_id %d and advert_int %s here, %d and %s on %s: both would lead",
				name, a.ID, or(a.Advert, "1"), b.ID, or(b.Advert, "1"), there.Node))
		}
		if a.Priority == b.Priority {
			found = append(found, hint("same-priority", "a priority of its own for each node", "%s has priority %d on both: the larger address leads", name, a.Priority))
		}
	}
	return found
}

func comparePrograms(here, there *Traits) (found []Finding) {
	for _, p := range []struct{ what, here, there string }{
		{"ctsync", here.Version, there.Version}, {"the kernel", here.Kernel, there.Kernel}, {"keepalived", here.Keepalived, there.Keepalived},
	} {
		if p.here != p.there {
			found = append(found, hint("differs-version", "upgrade the older one", "%s is %s here and %s on %s", p.what, or(p.here, "unknown"), or(p.there, "unknown"), there.Node))
		}
	}
	if here.Rules != there.Rules && here.Rules != "" && there.Rules != "" {
		found = append(found, hint("differs-rules", "nft --stateless --terse list ruleset on both, and diff", "the rulesets are not the same: look whether more than addresses differs"))
	}
	return found
}
