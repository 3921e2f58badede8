package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func addrs(words ...string) (found []netip.Addr) {
	for _, w := range words {
		found = append(found, netip.MustParseAddr(w))
	}
	return found
}

var host1 = Host{Interfaces: []Interface{
	{Name: "lo", Addrs: addrs("127.0.0.1", "::1")},
	{Name: "eth0", Multicast: true, Addrs: addrs("192.0.2.1", "fe80::1")},
	{Name: "eth1", Multicast: true, Addrs: addrs("198.51.100.1")},
	{Name: "bare", Multicast: true},
	{Name: "wg0", Addrs: addrs("203.0.113.1")},
}}

func TestCheckHost(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"interface eth0", ""},
		{"interface eth0\nlisten-address 192.0.2.1", ""},
		{"interface eth0 peer fe80::2\ninterface eth1 peer 198.51.100.2", ""},
		{"interface wg0 peer 203.0.113.2", ""},
		{"interface eth7", "f:2: eth7: there is no such interface; allowed: lo, eth0, eth1, bare, wg0"},
		{"interface bare", "f:2: bare: has no IPv4 address to reach 225.0.0.50 from; allowed: an interface with an IPv4 address"},
		{"interface eth1\nmcast-group ff12::1", "f:2: eth1: has no IPv6 address to reach ff12::1 from; allowed: an interface with an IPv6 address"},
		{"interface eth1 peer fe80::2", "f:2: eth1: has no IPv6 address to reach fe80::2 from; allowed: an interface with an IPv6 address"},
		{"interface wg0", "f:2: wg0: cannot multicast: give it a peer; allowed: an interface with the MULTICAST flag, or interface wg0 peer ADDRESS"},
		{"interface eth0 peer 198.51.100.1", "f:2: 198.51.100.1: is an address of this host: a node is not its own peer; allowed: an IPv4 or IPv6 address of the other firewall"},
		{"interface eth0\nlisten-address 198.51.100.1", "f:3: 198.51.100.1: belongs to eth1, which is no sync interface; allowed: 192.0.2.1, fe80::1"},
		{"interface eth0\nlisten-address 10.0.0.1", "f:3: 10.0.0.1: no interface of this host has the address; allowed: 192.0.2.1, fe80::1"},
	} {
		config, faults := Parse("f", strings.NewReader("vrrp sync-group G\n"+c.text))
		if len(faults) > 0 {
			t.Fatalf("%s: %v", c.text, faults)
		}
		var got []string
		for _, f := range config.CheckHost(host1) {
			got = append(got, f.Error())
		}
		if all := strings.Join(got, "\n"); all != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, all, c.want)
		}
	}
}

func TestThisHost(t *testing.T) {
	h, err := ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := Parse("f", strings.NewReader("vrrp sync-group G\ninterface lo peer 192.0.2.1\n"))
	for _, f := range c.CheckHost(h) {
		if strings.Contains(f.Problem, "no such interface") {
			t.Errorf("the loopback interface was not found: %v", f)
		}
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ctsync.conf")
	if err := os.WriteFile(file, []byte(documented+"node-name fw-a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, faults, err := Load(file); err != nil || len(faults) > 0 || c.NodeName != "fw-a" {
		t.Errorf("%q, %v, %v", c.NodeName, faults, err)
	}
	if err := os.WriteFile(file, []byte(documented), 0o600); err != nil {
		t.Fatal(err)
	}
	name, _ := os.Hostname()
	if c, faults, err := Load(file); err != nil || len(faults) > 0 || c.NodeName != name {
		t.Errorf("%q instead of the host's name %q, %v, %v", c.NodeName, name, faults, err)
	}
	if _, _, err := Load(file + ".none"); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("a missing file: %v", err)
	}
}
