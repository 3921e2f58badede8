package hostcheck

import (
	"fmt"
	"maps"
	"slices"

	"ctsync/internal/config"
)

func checkLinks(f *Facts) (found []Finding) {
	for _, l := range f.Links {
		switch {
		case !l.Exists: // a fault of the configuration, told there
		case !l.Up:
			found = append(found, problem("link-down", "ip link set "+l.Name+" up, and in the network's configuration", "the sync interface %s is down", l.Name))
		case !l.Carrier:
			found = append(found, problem("link-carrier", "check the cable and the switch", "the sync interface %s has no carrier", l.Name))
		case l.MTU < 1280:
			found = append(found, problem("link-mtu", "ip link set "+l.Name+" mtu 1500, on every node", "the sync interface %s has an MTU of %d: IPv6 needs 1280", l.Name, l.MTU))
		}
	}
	return found
}

// checkDaemon: what only the running daemon knows.
func checkDaemon(f *Facts) (found []Finding) {
	d := f.Daemon
	if d == nil {
		if f.DaemonErr == nil || f.Unconfigured {
			return nil
		}
		return []Finding{problem("not-running", "systemctl enable --now ctsync, or name its socket with --control", "the daemon does not answer, so nothing is replicated: %v", f.DaemonErr)}
	}
	live := 0
	for _, p := range d.Peers {
		if p.State == "silent" {
			continue
		}
		live++
		if f.Config.KeyFile != "" && !p.Sealed {
			found = append(found, problem("peer-unsealed", "set key-file to the same key on "+p.Name+"; when every node has it, set `seal required`",
				"what the peer %s sends is not sealed, and is heard because of `seal permissive`", p.Name))
		}
	}
	if live == 0 {
		found = append(found, problem("no-peer", silentRemedy(&f.Config), "no peer is heard on the sync link: a failover would lose every connection"))
	}
	if d.VRRP.Source == "" && f.Config.Failover.Mechanism == config.VRRP {
		found = append(found, problem("keepalived-silent", "start keepalived, and look at the findings about its configuration", "the daemon has heard nothing of keepalived yet, so it follows no failover"))
	}
	if d.VRRP.Source == "operator" && f.Config.Failover.Mechanism == config.VRRP {
		found = append(found, problem("role-by-hand", "ctsync promote where the addresses are, ctsync demote where they are not; or systemctl restart ctsync, which asks keepalived",
			"an operator has said %s, and that holds until keepalived's state changes: the role may not be where the addresses are", d.VRRP.State))
	}
	if d.Kernel.Overruns > 0 {
		found = append(found, hint("overruns", "raise event-listen-queue-size; `reset conntrack-sync statistics` begins to count anew",
			"the kernel has dropped events %d times since the daemon began to count: each time the table is compared as a whole", d.Kernel.Overruns))
	}
	for _, reason := range slices.Sorted(maps.Keys(d.Kernel.Failed)) {
		found = append(found, problem("flows-refused", "load the module of a helper, raise nf_conntrack_max, or find out what else has the same translation: OPERATING.md, \"Why the kernel refuses\"",
			"the kernel refuses %d connections: %s", d.Kernel.Failed[reason], reason))
	}
	return found
}

func silentRemedy(c *config.Config) string {
	port := uint16(3780)
	for _, l := range c.Links {
		port = l.Port
	}
	remedy := fmt.Sprintf("on every node: ctsync runs, cluster-id is the same, the ruleset accepts udp dport %d on the sync interface", port)
	if !c.Unicast() {
		remedy += "; multicast passes the switch (IGMP snooping needs a querier), or use `interface IF peer ADDRESS`"
	}
	return remedy
}

// refusals are the reasons for which datagrams are refused, and what each asks for.
var refusals = map[string]string{
	"another cluster-id":                    "two groups share the link, which does no harm; if this is your own peer, set the same cluster-id on both",
	"conntrackd's datagram":                 "stop conntrackd on the other node, or move it to another port",
	"wrong key or forged":                   "copy the key file to every node; if it is the same everywhere, find out who sends",
	"sealed with a key that is not here":    "copy the key file to every node",
	"not sealed":                            "set key-file on the peer; until then `seal permissive` here",
	"unknown version":                       "upgrade the older node",
	"too many datagrams of unknown senders": "find out who sends to the sync link: tcpdump -ni IF udp",
}

func checkRefused(f *Facts) (found []Finding) {
	if f.Daemon == nil {
		return nil
	}
	refused := f.Daemon.Messages.Refused
	for _, reason := range slices.Sorted(maps.Keys(refused)) {
		remedy := refusals[reason]
		if refused[reason] == 0 || remedy == "" {
			continue
		}
		found = append(found, hint("datagrams-refused", remedy+"; if that is done, `ctsync reset conntrack-sync statistics` begins to count anew", "%d datagrams were refused since the daemon began to count: %s", refused[reason], reason))
	}
	return found
}

// checkPath: a path that takes small datagrams and loses large ones looks healthy until there is much to say.
func checkPath(f *Facts) (found []Finding) {
	for _, p := range f.Paths {
		if p.Small && !p.Whole {
			found = append(found, problem("path-mtu", "give every interface, bond, VLAN and switch port between the nodes the same MTU, or lower it on both ends",
				"datagrams of %d bytes, the MTU of the sync interface, do not reach the peer %s, and small ones do", p.MTU, p.Peer))
		}
	}
	return found
}
