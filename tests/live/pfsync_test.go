package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// pfsyncCases are the cases by which FreeBSD tests pfsync, the replication of its packet filter's states
// (tests/sys/netpfil/pf/pfsync.sh), in its order and by its names: what is here in place of each, or why nothing is.
var pfsyncCases = []struct {
	name string
	what string             // what is tested here
	why  string             // or why there is nothing to test
	do   func(t *testing.T) // the test
}{
	{name: "basic", what: "a connection made on one node is on the other", do: pfsyncBasic},
	{name: "basic_defer", why: noDefer},
	{name: "defer", why: noDefer},
	{name: "bulk", what: "what was there before the peer's daemon began is there once it runs", do: pfsyncBulk},
	{name: "pbr", what: "a connection whose route hangs on its mark takes that route on the other node too", do: pfsyncPBR},
	{name: "pfsync_pbr", what: "both virtual addresses move in the middle of 10 pings of such a connection: none is lost", do: pfsyncPings},
	{name: "ipsec", what: "with different keys nothing is carried, with the same ones everything is (the link seals by itself; no IPsec is needed)", do: pfsyncKeys},
	{name: "timeout", what: "a daemon whose sync interface is gone goes on", do: pfsyncTimeout},
	{name: "basic_ipv6_unicast", what: "the same as basic over IPv6, unicast, while IPv4 is blocked on the link", do: func(t *testing.T) {
		pfsync6(t, func(r *lab.Router) []string { return []string{"interface sync0 peer " + sync6(r.Peer)} })
	}},
	{name: "basic_ipv6", what: "the same over IPv6 multicast", do: func(t *testing.T) {
		pfsync6(t, func(*lab.Router) []string { return []string{"mcast-group ff12::f0"} })
	}},
	{name: "rtable", what: "a connection in a zone that the peer's rules do not know is carried, and the peer goes on", do: pfsyncZone},
	{name: "route_to_1301", why: noRoute},
	{name: "route_to_1301_bad_ruleset", why: noRoute},
	{name: "route_to_1301_bad_rpool", why: noRoute},
	{name: "route_to_1400_bad_ruleset", what: "the nodes' rules differ: the connection is carried with its translation, and goes on at the other node", do: pfsyncRuleset},
	{name: "route_to_1400_bad_ifname", why: "an entry of Linux names no interface"},
	{name: "af_to_in_floating", why: noNAT64},
	{name: "af_to_in_if_bound", why: noNAT64},
	{name: "af_to_out_if_bound", why: noNAT64},
	{name: "tag", what: "mark and labels, which are what tags a connection on Linux, are carried", do: pfsyncTag},
	{name: "altq_queues", what: "a connection's packets get their class from its mark on the other node too", do: pfsyncQueues},
	{name: "rt_af", why: noRoute},
}

const (
	noDefer = "the kernel has no hook that holds a connection's first packet until the peer has its entry; how much may be lost for want of it is measured by TestPowerCutWindow"
	noRoute = "an entry of Linux has no route and no next hop, of either family: each packet's is looked up, at most by the mark, for which see pbr"
	noNAT64 = "an entry of Linux has one address family; NAT64 is done outside of connection tracking"
)

func TestPfsync(t *testing.T) {
	for _, c := range pfsyncCases {
		if c.do != nil {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.do(t)
			})
		}
	}
}

// The document has the list as it is here.
func TestPfsyncDocument(t *testing.T) {
	var b strings.Builder
	for _, c := range pfsyncCases {
		if (c.do == nil) == (c.why == "") || (c.do == nil) != (c.what == "") {
			t.Errorf("%s needs either a test and what it tests, or a reason", c.name)
		}
		text := c.what
		if c.do == nil {
			text = "not here: " + c.why
		}
		fmt.Fprintf(&b, "| %s | %s |\n", c.name, text)
	}
	if n := len(pfsyncCases); n != 22 {
		t.Errorf("%d cases, want 22", n)
	}
	document, err := os.ReadFile("../../docs/RELIABILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), b.String()) {
		t.Errorf("docs/RELIABILITY.md has not these rows:\n%s", &b)
	}
}

// rule adds rules to a router's.
func rule(t *testing.T, r *lab.Router, rules string) {
	t.Helper()
	if _, err := r.RunInput(rules, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// onStandby waits until the standby's kernel lists a connection with those words.
func onStandby(t *testing.T, l *lab.Lab, words string) {
	t.Helper()
	await(t, words+" on the standby", 5*time.Second, func() bool { return lists(t, l.R2, words) > 0 })
}

func pfsyncBasic(t *testing.T) {
	l := run(t, patient)
	talk(t, l, lab.Plan{TCP: 1, Ping: 1})
	onStandby(t, l, "dport=7000")
	onStandby(t, l, "icmp ")
}

func pfsyncBulk(t *testing.T) {
	l := run(t, patient)
	if err := l.R2.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	talk(t, l, lab.Plan{TCP: 1})
	if n := lists(t, l.R2, "dport=7000"); n != 0 {
		t.Fatalf("r2 has the connection without a daemon")
	}
	if err := l.R2.Restart(); err != nil {
		t.Fatal(err)
	}
	onStandby(t, l, "dport=7000")
}

// byMark has r1 mark what comes from the LAN, and both nodes forward only what is marked: the route of all else
// is refused.
func byMark(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	return prepared(t, withDaemon(o), func(r *lab.Router) {
		marks := ""
		if r.Name == "r1" {
			marks = `iifname "lan0" ct state new ct mark set 7;`
		}
		rule(t, r, `table inet pbr { chain route { type filter hook prerouting priority -140; policy accept; `+marks+` meta mark set ct mark; }; }`)
		for _, route := range []string{
			"ip rule add preference 100 fwmark 7 lookup 100", "ip rule add preference 101 iif lan0 to " + lab.ServerAddress.String() + " prohibit",
			"ip route add 198.51.100.0/24 dev wan0 table 100", "ip route add 10.10.0.0/24 dev lan0 table 100",
			"ip rule add preference 99 fwmark 7 iif wan0 lookup main",
		} {
			inside(t, r, route)
		}
	})
}

func withDaemon(o lab.Options) lab.Options {
	if o.Daemon == nil {
		o.Daemon = ctsync()
	}
	return o
}

func pfsyncPBR(t *testing.T) {
	l := byMark(t, patient)
	traffic := talk(t, l, lab.Plan{TCP: 2, UDP: 1})
	bothSynced(t, l, 10*time.Second)
	onStandby(t, l, "mark=7")
	moves(t, l, traffic)
	traffic.Stop()
	if _, err := l.StartTraffic(lab.Plan{TCP: 1}); err == nil {
		t.Error("what r2 has not the mark of was forwarded too: the route does not hang on it")
	}
}

func pfsyncPings(t *testing.T) {
	l := byMark(t, lab.Options{Advert: 300 * time.Millisecond})
	talk(t, l, lab.Plan{Ping: 1})
	bothSynced(t, l, 10*time.Second)
	moved := make(chan error, 1)
	time.AfterFunc(2500*time.Millisecond, func() { moved <- l.R1.StopKeepalived() })
	out, err := l.Client.Run("ping", "-c", "10", "-i", "0.5", "-W", "3", lab.ServerAddress.String())
	if bad := <-moved; bad != nil {
		t.Fatal(bad)
	}
	if err != nil || !strings.Contains(out, "10 received, 0% packet loss") || !l.R2.Holds() {
		t.Errorf("%v, r2 holds the addresses: %v\n%s", err, l.R2.Holds(), out)
	}
}

func pfsyncKeys(t *testing.T) {
	folder := t.TempDir()
	key := func(r *lab.Router) string { return filepath.Join(folder, r.Name) }
	for i, name := range []string{"r1", "r2"} {
		write(t, filepath.Join(folder, name), []byte(strings.Repeat(fmt.Sprintf("%d%d", i, i+1), 32)+"\n"))
	}
	l, err := lab.New(lab.Options{Advert: patient.Advert, Daemon: each(func(r *lab.Router) []string { return []string{"key-file " + key(r)} })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.Boot(); err != nil {
		t.Fatal(err)
	}
	talk(t, l, lab.Plan{TCP: 1})
	awaitState(t, l.R2, "refusing r1", 5*time.Second, func(s status) bool { return s.Messages.Malformed > 10 && s.Code == 4 })
	if n := lists(t, l.R2, "dport=7000"); n != 0 {
		t.Error("the connection was carried although the keys differ")
	}
	text, err := os.ReadFile(key(l.R1))
	if err != nil {
		t.Fatal(err)
	}
	write(t, key(l.R2), text)
	onStandby(t, l, "dport=7000")
}

func pfsyncTimeout(t *testing.T) {
	l := run(t, patient)
	traffic := talk(t, l, small)
	for _, r := range l.Routers() {
		inside(t, r, "ip link delete "+lab.Sync)
	}
	time.Sleep(4 * time.Second) // longer than a peer that is not heard counts as live
	for _, r := range l.Routers() {
		if s := state(t, r); s.Code != 4 || s.Node == "" {
			t.Errorf("%s says %d, %s", r.Name, s.Code, s.Why)
		}
	}
	check(t, "without a sync interface", traffic)
}

func pfsync6(t *testing.T, lines func(r *lab.Router) []string) {
	t.Helper()
	l := prepared(t, lab.Options{Advert: patient.Advert, Daemon: each(lines)}, func(r *lab.Router) {
		inside(t, r, fmt.Sprintf("ip address add %s/64 dev sync0 nodad", sync6(r)))
		rule(t, r, `table inet no4 { chain input { type filter hook input priority -10; iifname "sync0" meta nfproto ipv4 drop; }; }`)
	})
	talk(t, l, lab.Plan{TCP: 1})
	onStandby(t, l, "dport=7000")
}

func pfsyncZone(t *testing.T) {
	l := run(t, patient)
	bothSynced(t, l, 10*time.Second)
	inside(t, l.R1, "conntrack -I -p tcp -s 10.10.0.77 -d 192.0.2.7 --sport 7 --dport 8 --state ESTABLISHED -t 600 --zone 9")
	onStandby(t, l, "zone=9")
	talk(t, l, lab.Plan{TCP: 1})
	onStandby(t, l, "dport=7000")
}

func pfsyncRuleset(t *testing.T) {
	l := prepared(t, withDaemon(patient), func(r *lab.Router) {
		if r.Name == "r2" { // translates nothing, and lets nothing begin
			inside(t, r, "nft flush chain ip nat translate")
			inside(t, r, "nft insert rule inet filter forward ct state new drop")
		}
	})
	traffic := talk(t, l, lab.Plan{TCP: 5, UDP: 1})
	bothSynced(t, l, 10*time.Second)
	onStandby(t, l, "dst="+lab.WANVIP.String()+" sport=7000")
	moves(t, l, traffic)
}

// moves has r2 take the addresses; nothing may be lost, and nothing new is begun.
func moves(t *testing.T, l *lab.Lab, traffic *lab.Traffic) {
	t.Helper()
	if err := errors.Join(l.R1.StopKeepalived(), l.WaitMaster(l.R2, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	check(t, "the move to r2", traffic)
}

func pfsyncTag(t *testing.T) {
	l := prepared(t, withDaemon(patient), func(r *lab.Router) {
		begins := `ct mark 0xffff` // never: the kernel makes room for labels where a rule sets one
		if r.Name == "r1" {
			begins = "ct state new"
		}
		rule(t, r, `table inet tag { chain forward { type filter hook forward priority 10; policy accept;
			ct label 5 ct mark 0x1234 counter; `+begins+` ct mark set 0x1234 ct label set 5; }; }`)
	})
	traffic := talk(t, l, lab.Plan{TCP: 1})
	bothSynced(t, l, 10*time.Second)
	onStandby(t, l, "mark=4660")
	equal(t, l, "a connection with mark and label")
	moves(t, l, traffic)
	counts(t, l.R2, "tag forward")
}

func pfsyncQueues(t *testing.T) {
	l := prepared(t, withDaemon(patient), func(r *lab.Router) {
		marks := ""
		if r.Name == "r1" {
			marks = "ct state new ct mark set 5;"
		}
		rule(t, r, `table inet classes { chain forward { type filter hook forward priority 10; policy accept; `+marks+`
			meta priority set ct mark map { 5 : 0:5 }; }
			chain out { type filter hook postrouting priority 300; policy accept; meta priority 0:5 counter; }; }`)
	})
	traffic := talk(t, l, lab.Plan{TCP: 2})
	bothSynced(t, l, 10*time.Second)
	onStandby(t, l, "mark=5")
	moves(t, l, traffic)
	counts(t, l.R2, "classes out")
}

// counts fails the test unless packets meet the rule of a chain that counts.
func counts(t *testing.T, r *lab.Router, chain string) {
	t.Helper()
	out := inside(t, r, "nft list chain inet "+chain)
	if !strings.Contains(out, "counter packets") || strings.Contains(out, "counter packets 0 ") {
		t.Errorf("no packet on %s:\n%s", r.Name, out)
	}
}
