package hostcheck

import (
	"context"
	"encoding/json"
	"testing"
)

// alike is a node of a pair that has all in common with the other but its name and its priority.
func alike(t *testing.T, node string, priority int) *Traits {
	t.Helper()
	c := configured(t, settings+"node-name "+node+"\nlisten-address 192.0.2.1\n")
	return &Traits{
		Node: node, Version: "1", Kernel: "6.1", Keepalived: "2.2.7", Settings: c.Lines(),
		Sysctls: map[string]string{maxSysctl: "100", "net.netfilter.nf_conntrack_tcp_loose": "0"},
		Helpers: []string{"nf_conntrack_ftp"}, NAT: []string{"ipv4"}, MTU: map[string]int{"eth2": 1500},
		Instances: map[string]Instance{"A": {"eth0", 51, "", priority}}, Rules: "00",
	}
}

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		want   string
		change func(*Traits)
	}{
		"nothing":      {"", func(*Traits) {}},
		"a filter":     {"differs-setting", func(o *Traits) { o.Settings = configured(t, settings+"accept-protocol tcp\n").Lines() }},
		"a cluster id": {"differs-setting", func(o *Traits) { o.Settings = configured(t, settings+"cluster-id x\n").Lines() }},
		"warm":         {"(differs-setting)", func(o *Traits) { o.Settings = configured(t, settings+"standby warm\n").Lines() }},
		"its own": {"", func(o *Traits) {
			o.Settings = configured(t, settings+"metrics 192.0.2.1:9\ncontrol-group adm\n").Lines()
		}},
		"a smaller table":   {"differs-table", func(o *Traits) { o.Sysctls[maxSysctl] = "50" }},
		"a sysctl":          {"(differs-sysctl)", func(o *Traits) { o.Sysctls["net.netfilter.nf_conntrack_tcp_loose"] = "1" }},
		"a helper fewer":    {"differs-helper", func(o *Traits) { o.Helpers = nil }},
		"a helper more":     {"differs-helper", func(o *Traits) { o.Helpers = append(o.Helpers, "nf_conntrack_sip") }},
		"no NAT":            {"differs-nat", func(o *Traits) { o.NAT = nil }},
		"NAT for IPv6":      {"differs-nat", func(o *Traits) { o.NAT = append(o.NAT, "ipv6") }},
		"MTU":               {"differs-mtu", func(o *Traits) { o.MTU["eth2"] = 9000 }},
		"another link":      {"", func(o *Traits) { o.MTU = map[string]int{"eth9": 9000} }},
		"an instance more":  {"differs-instance", func(o *Traits) { o.Instances["B"] = Instance{} }},
		"another interface": {"(differs-interface)", func(o *Traits) { o.Instances["A"] = Instance{"eth9", 51, "", 50} }},
		"another VRID":      {"differs-vrrp", func(o *Traits) { o.Instances["A"] = Instance{"eth0", 52, "", 50} }},
		"another advert":    {"differs-vrrp", func(o *Traits) { o.Instances["A"] = Instance{"eth0", 51, "0.1", 50} }},
		"same priority":     {"(same-priority)", func(o *Traits) { o.Instances["A"] = Instance{"eth0", 51, "", 100} }},
		"versions":          {"(differs-version)", func(o *Traits) { o.Version, o.Kernel, o.Keepalived = "2", "6.2", "" }},
		"rules":             {"(differs-rules)", func(o *Traits) { o.Rules = "01" }},
		"rules not known":   {"", func(o *Traits) { o.Rules = "" }},
	} {
		other := alike(t, "fw-b", 50)
		c.change(other)
		b, err := json.Marshal(other) // as it comes from the other node
		if err != nil {
			t.Fatal(err)
		}
		there := &Traits{}
		if err := json.Unmarshal(b, there); err != nil {
			t.Fatal(err)
		}
		if got := said(t, Compare(alike(t, "fw-a", 100), there)); got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
		if got, back := said(t, Compare(there, alike(t, "fw-a", 100))), c.want; got != back {
			t.Errorf("%s, from the other side: found %q, want %q", name, got, back)
		}
	}
}

// TestTraits: a host is alike to itself, but for its priorities.
func TestTraits(t *testing.T) {
	f := well(t, settings+"node-name fw-a\n")
	f.reads(t, base)
	traits := TraitsOf(context.Background(), f, "1")
	if i := traits.Instances["INSIDE"]; i != (Instance{"eth1", 52, "", 50}) || traits.Sysctls[maxSysctl] == "" || traits.Kernel == "" || traits.MTU["eth2"] != 1500 {
		t.Errorf("%+v", traits)
	}
	if got := said(t, Compare(traits, traits)); got != "(same-priority)" {
		t.Error(got)
	}
}
