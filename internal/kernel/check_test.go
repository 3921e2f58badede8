package kernel

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ctsync/engine/flow"
)

func findings(needs Needs) (kinds []FindingKind) {
	for _, f := range Check(needs) {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

func TestCheckEvents(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	for mode, want := range map[int][]FindingKind{0: {EventsOff}, 1: nil, 2: {EventsPartly}} {
		if err := SetEvents(mode); err != nil {
			t.Fatal(err)
		}
		if got := findings(Needs{}); !slices.Equal(got, want) {
			t.Errorf("events %d: %v, want %v", mode, got, want)
		}
	}
}

func TestCheckRules(t *testing.T) {
	both := map[uint8]bool{flow.IPv4: true, flow.IPv6: true}
	for _, c := range []struct {
		name, rules string
		translated  map[uint8]bool
		want        []FindingKind
	}{
		{"nothing", "", nil, []FindingKind{NotTracking}},
		{"chains only", "table inet t { chain f { type filter hook forward priority 0; policy drop; }; }", nil, []FindingKind{NotTracking}},
		{"a rule without ct", "table inet t { chain f { type filter hook forward priority 0; tcp dport 22 accept\n }; }", nil, []FindingKind{NotTracking}},
		{"ct state", "table ip t { chain f { type filter hook forward priority 0; ct state new accept\n }; }", nil, nil},
		{"ct in a map", "table ip t { chain f { type filter hook forward priority 0; ct state vmap { invalid : drop }\n }; }", nil, nil},
		{"masquerade", "table ip t { chain n { type nat hook postrouting priority 0; masquerade\n }; }", nil, nil},
		{"no NAT", "table ip t { chain f { type filter hook forward priority 0; ct state new accept\n }; }", both, []FindingKind{NoNATHooks, NoNATHooks}},
		{"NAT of IPv4", "table ip t { chain n { type nat hook postrouting priority 0; masquerade\n }; }", both, []FindingKind{NoNATHooks}},
		{"NAT of both", natTables, both, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			newNetns(t)
			nft(t, c.rules)
			if got := findings(Needs{Translated: c.translated}); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestRulesTurnTrackingOn: what ReadRuleset says of rules is what the kernel does with packets.
func TestRulesTurnTrackingOn(t *testing.T) {
	for _, c := range []struct{ name, rules string }{
		{"nothing", ""},
		{"no ct", "table inet t { chain f { type filter hook forward priority 0; tcp dport 22 accept\n }; }"},
		{"ct state", "table ip t { chain f { type filter hook forward priority 0; ct state new accept\n }; }"},
		{"ct mark set", "table ip t { chain f { type filter hook forward priority 0; ct mark set 1\n }; }"},
		{"snat", "table ip t { chain n { type nat hook postrouting priority 0; ip daddr 192.0.2.9 snat to 192.0.2.8\n }; }"},
		{"redirect", "table ip t { chain n { type nat hook prerouting priority 0; tcp dport 1 redirect\n }; }"},
		{"empty nat chain", "table ip t { chain n { type nat hook postrouting priority 0; }; }"},
	} {
		t.Run(c.name, func(t *testing.T) {
			newNetns(t)
			ip(t, "link set lo up")
			nft(t, c.rules)
			r, err := ReadRuleset()
			if err != nil {
				t.Fatal(err)
			}
			_ = exchange("udp", "127.0.0.1:4321", "127.0.0.1:4321") // it answers itself
			if _, count, err := Limits(); err != nil || (count > 0) != r.Tracks {
				t.Errorf("said to track: %v; %d entries after a packet, %v", r.Tracks, count, err)
			}
		})
	}
}

func TestHooksByName(t *testing.T) {
	r := Ruleset{NAT: map[uint8]bool{}}
	for _, name := range []string{"nf_confirm", "nft_do_chain_inet", "ipv4_conntrack_defrag", "selinux_ip_forward"} {
		r.hook(flow.IPv4, name)
	}
	if r.Tracks || r.NAT[flow.IPv4] {
		t.Errorf("%+v", r)
	}
	r.hook(flow.IPv4, "ipv4_conntrack_in")
	r.hook(flow.IPv6, "nf_nat_ipv6_out")
	if !r.Tracks || r.NAT[flow.IPv4] || !r.NAT[flow.IPv6] {
		t.Errorf("%+v", r)
	}
}

// TestRulesOfIptables: iptables-nft puts its own matches and targets into nftables' rules.
func TestRulesOfIptables(t *testing.T) {
	xt := func(kind, name string) []byte {
		data := putBytes(nil, nftXTName, append([]byte(name), 0))
		expr := putBytes(putBytes(nil, nftExprName, append([]byte(kind), 0)), nftExprData, data)
		return putBytes(nil, nftRuleExprs, putBytes(nil, 1, expr))
	}
	for _, c := range []struct {
		kind, name string
		tracks     bool
	}{
		{"match", "conntrack", true}, {"match", "state", true}, {"match", "tcp", false}, {"match", "mark", false},
		{"target", "MASQUERADE", true}, {"target", "SNAT", true}, {"target", "LOG", false}, {"lookup", "conntrack", false},
	} {
		var r Ruleset
		if err := r.rule(xt(c.kind, c.name)); err != nil || r.Tracks != c.tracks {
			t.Errorf("%s %s: tracks %v, %v", c.kind, c.name, r.Tracks, err)
		}
	}
}

func TestCheckTable(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	limit, count, err := Limits()
	if err != nil || count != 0 {
		t.Fatalf("%d entries, %v", count, err)
	}
	if limit == 0 {
		t.Skip("this kernel has no limit set")
	}
	for flows, want := range map[int]bool{0: false, limit / 2: false, limit - limit/20: false, limit: true, 2 * limit: true} {
		if got := slices.Contains(findings(Needs{Flows: flows}), TableSmall); got != want {
			t.Errorf("%d flows of %d: %v", flows, limit, got)
		}
	}
}

func TestCheckBuffer(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	if got := findings(Needs{ReceiveBuffer: 64 << 20}); len(got) != 0 {
		t.Errorf("as root: %v", got)
	}
	if found := checkBufferOf(212992, 64<<20, false); len(found) != 1 || !strings.Contains(found[0].Remedy, "rmem_max=67108864") {
		t.Errorf("limited: %v", found)
	}
	if found := checkBufferOf(212992, 1000, false); len(found) != 0 {
		t.Errorf("enough: %v", found)
	}
}

// TestRemediesHelp does what the findings say, and they are gone.
func TestRemediesHelp(t *testing.T) {
	newNetns(t)
	if err := SetEvents(2); err != nil {
		t.Fatal(err)
	}
	needs := Needs{Translated: map[uint8]bool{flow.IPv4: true, flow.IPv6: true}}
	found := Check(needs)
	if len(found) != 4 {
		t.Fatalf("%v", found)
	}
	nft(t, "table inet filter { chain forward { type filter hook forward priority 0; }; }")
	for _, f := range found {
		t.Log(f)
		_, shell, _ := strings.Cut(f.Remedy, ": ")
		if f.Kind == EventsPartly {
			shell, _, _ = strings.Cut(f.Remedy, ",")
		}
		run(t, "sh", "-c", shell)
	}
	if found := Check(needs); len(found) != 0 {
		t.Errorf("after the remedies: %v", found)
	}
	if b, err := os.ReadFile(sysctls + "nf_conntrack_events"); err != nil || string(b) != "1\n" {
		t.Errorf("%s %v", b, err)
	}
}
