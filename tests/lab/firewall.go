package lab

import (
	"os"
	"strconv"
	"strings"
)

// ruleset is a strict firewall: nothing is forwarded that is not part of a known connection, but a first
// packet from the LAN; a TCP packet that the kernel does not know is dropped, not adopted. What replication
// and VRRP need is not tracked. Each router signs the probes that it forwards with its number.
const ruleset = `
table inet filter {
	chain untracked_in {
		type filter hook prerouting priority raw; policy accept;
		iifname "sync*" notrack
		meta l4proto 112 notrack
	}
	chain untracked_out {
		type filter hook output priority raw; policy accept;
		oifname "sync*" notrack
		meta l4proto 112 notrack
	}
	chain signed {
		type filter hook forward priority mangle; policy accept;
		oifname "wan0" udp dport PROBE ip dscp set NUMBER
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iifname { "lo", "sync0", "sync1" } accept
		meta l4proto 112 accept
		meta l4proto { icmp, ipv6-icmp } accept
		ct state established,related accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid counter drop
		ct state established,related counter accept
		iifname "lan0" oifname "wan0" ct state new tcp flags & (fin | syn | rst | ack) == syn counter accept
		iifname "lan0" oifname "wan0" ct state new meta l4proto { udp, icmp, ipv6-icmp } counter accept
		counter
	}
}
table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan0" ip saddr 10.10.0.0/24 jump translate
	}
	chain translate {
		TRANSLATE
	}
}
table ip6 nat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan0" ip6 saddr fd00:10::/64 jump translate
	}
	chain translate {
		TRANSLATE6
	}
}
`

// translations choose ports at random, so that a connection that a router does not know cannot get its old
// port again by luck.
var translations = map[NAT]string{
	SNAT:       "meta l4proto { tcp, udp } snat to 198.51.100.1:20000-59999 fully-random\n\t\tsnat to 198.51.100.1",
	Masquerade: "masquerade fully-random",
}

var translations6 = map[NAT]string{
	SNAT:       "meta l4proto { tcp, udp } snat to [2001:db8:51::1]:20000-59999 fully-random\n\t\tsnat to 2001:db8:51::1",
	Masquerade: "masquerade fully-random",
}

func (l *Lab) makeFirewalls() error {
	for _, r := range l.Routers() {
		rules := strings.NewReplacer(
			"TRANSLATE6", translations6[l.options.NAT],
			"TRANSLATE", translations[l.options.NAT],
			"PROBE", strconv.Itoa(portProbe),
			"NUMBER", strconv.Itoa(r.number()),
		).Replace(ruleset)
		if _, err := r.RunInput(rules, "nft", "-f", "-"); err != nil {
			return err
		}
		if err := r.sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		if err := r.sysctl("net/ipv6/conf/all/forwarding", "1"); err != nil {
			return err
		}
		// a redirect would teach the client one router's own address
		for _, key := range []string{"all", LAN} {
			if err := r.sysctl("net/ipv4/conf/"+key+"/send_redirects", "0"); err != nil {
				return err
			}
		}
	}
	return l.bypassBridgeFilter()
}

// bypassBridgeFilter keeps the switches from tracking what they carry, where br_netfilter is loaded.
func (l *Lab) bypassBridgeFilter() error {
	const key = "net/bridge/bridge-nf-call-iptables"
	if _, err := os.Stat("/proc/sys/" + key); err != nil {
		return nil
	}
	return l.Switches.sysctl(key, "0")
}
