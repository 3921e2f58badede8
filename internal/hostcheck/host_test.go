package hostcheck

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"ctsync/engine/flow"
	"ctsync/internal/config"
	"ctsync/internal/kernel"
)

// peers sets what the daemon says of its peers.
func (f *Facts) peers(json_ string) {
	f.Daemon.Peers = nil
	if err := json.Unmarshal([]byte(json_), &f.Daemon.Peers); err != nil {
		panic(err)
	}
}

// TestHost: everything that can be wrong besides keepalived's configuration, one at a time.
func TestHost(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		want  string
		facts func(*Facts)
	}{
		"nothing": {"", func(*Facts) {}},
		"not root": {"not-root keepalived-silent", func(f *Facts) {
			f.NotRoot, f.Daemon.VRRP.Source = true, ""
			f.Modules["nf_conntrack_netlink"] = false
		}},
		"nobody":  {"not-root", func(f *Facts) { f.NotRoot, f.Daemon, f.DaemonErr = true, nil, errors.New("permission denied") }},
		"no file": {"config-unread", func(f *Facts) { f.ConfigErr, f.Config = errors.New("no such file"), config.Default() }},
		"a fault": {"config-fault", func(f *Facts) {
			f.Faults = []config.Fault{{File: "ctsync.conf", Line: 3, Word: "x", Problem: "not known"}}
		}},
		"not written": {"not-configured", func(f *Facts) {
			f.Faults, f.Unconfigured, f.Daemon, f.DaemonErr = []config.Fault{{Word: "x"}}, true, nil, errors.New("nobody")
		}},
		"a warning":        {"(config-warning)", func(f *Facts) { f.Warnings = []string{"something"} }},
		"no key":           {"(link-unauthenticated)", func(f *Facts) { f.Config.KeyFile = "" }},
		"key is gone":      {"key-missing", func(f *Facts) { f.KeyFile.Mode = 0 }},
		"key for all":      {"key-rights", func(f *Facts) { f.KeyFile.Mode = 0o644 }},
		"key of the group": {"", func(f *Facts) { f.KeyFile.Mode = 0o640 }},
		"key of another group": {"key-owner", func(f *Facts) {
			f.Keepalived.DaemonUser, f.Keepalived.FIFO.User = "ctsync", "ctsync"
			f.KeyFile.Mode, f.KeyFile.Group = 0o640, "root"
			f.reads2(t)
		}},
		"key of its group": {"", func(f *Facts) {
			f.Keepalived.DaemonUser, f.Keepalived.FIFO.User = "ctsync", "ctsync"
			f.KeyFile.Mode, f.KeyFile.Group = 0o640, "ctsync"
			f.reads2(t)
		}},
		"key of root": {"key-owner", func(f *Facts) { f.Keepalived.DaemonUser, f.Keepalived.FIFO.User = "ctsync", "ctsync"; f.reads2(t) }},
		"key folder":  {"key-folder", func(f *Facts) { f.KeyFile.Dir.Mode = fs.ModeDir | 0o777 }},
		"events off":  {"events-off", func(f *Facts) { f.Kernel = []kernel.Finding{{Kind: kernel.EventsOff, Text: "x", Remedy: "y"}} }},
		"no tracking": {"not-tracking", func(f *Facts) {
			f.Untracked = &Untracked{}
			f.Kernel = []kernel.Finding{{Kind: kernel.NotTracking, Text: "x", Remedy: "y"}}
		}},
		"no module":     {"module-missing", func(f *Facts) { f.Modules["nf_conntrack_netlink"] = false }},
		"no helper":     {"helper-missing", func(f *Facts) { f.Config.ExpectSync = []string{"ftp"} }},
		"a small hash":  {"(hash-small)", func(f *Facts) { f.Sysctls["net.netfilter.nf_conntrack_buckets"] = 16384 }},
		"loose":         {"(tcp-loose)", func(f *Facts) { f.Sysctls["net.netfilter.nf_conntrack_tcp_loose"] = 1 }},
		"liberal":       {"(tcp-liberal)", func(f *Facts) { f.Sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"] = 1 }},
		"no forwarding": {"(no-forwarding)", func(f *Facts) { f.Sysctls["net.ipv4.ip_forward"] = 0 }},
		"IPv6 only":     {"(no-forwarding)", func(f *Facts) { f.Sysctls["net.ipv4.ip_forward"], f.Sysctls["net.ipv6.conf.all.forwarding"] = 0, 1 }},
		"conntrackd":    {"conntrackd", func(f *Facts) { f.Rival = 42 }},
		"clock":         {"(clock)", func(f *Facts) { f.ClockSynced = &no }},
		"link down":     {"link-down", func(f *Facts) { f.Links[0].Up = false }},
		"no carrier":    {"link-carrier", func(f *Facts) { f.Links[0].Carrier = false }},
		"tiny MTU":      {"link-mtu", func(f *Facts) { f.Links[0].MTU = 576 }},
		"not running":   {"not-running", func(f *Facts) { f.Daemon, f.DaemonErr = nil, errors.New("nobody") }},
		"nobody heard":  {"no-peer", func(f *Facts) { f.peers(`[]`) }},
		"silent peer":   {"no-peer", func(f *Facts) { f.peers(`[{"name":"b","state":"silent"}]`) }},
		"one of two": {"", func(f *Facts) {
			f.peers(`[{"name":"b","state":"silent"},{"name":"c","state":"syncing","sealed":true}]`)
		}},
		"not sealed":              {"peer-unsealed", func(f *Facts) { f.peers(`[{"name":"b","state":"in sync"}]`) }},
		"an operator said it":     {"role-by-hand", func(f *Facts) { f.Daemon.VRRP.Source = "operator" }},
		"keepalived said nothing": {"keepalived-silent", func(f *Facts) { f.Daemon.VRRP.Source = "" }},
		"overruns":                {"(overruns)", func(f *Facts) { f.Daemon.Kernel.Overruns = 3 }},
		"kernel refuses":          {"flows-refused", func(f *Facts) { f.Daemon.Kernel.Failed = map[string]int{"a clash": 2} }},
		"wrong key": {"(datagrams-refused)", func(f *Facts) {
			f.Daemon.Messages.Refused = map[string]uint64{"wrong key or forged": 2, "of no interest": 1}
		}},
		"large ones lost":   {"path-mtu", func(f *Facts) { f.Paths = []Path{{"b", 9000, true, false}} }},
		"no ping":           {"", func(f *Facts) { f.Paths = []Path{{"b", 9000, false, false}} }},
		"VRRP in the table": {"vrrp-tracked", func(f *Facts) { f.Tracked.VRRP = true }},
		"no notrack":        {"sync-tracked vrrp-tracked", func(f *Facts) { f.Untracked = &Untracked{} }},
		"rules unknown":     {"", func(f *Facts) { f.Untracked = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			f := well(t, settings)
			f.reads(t, base)
			c.facts(f)
			if got := said(t, Examine(f)); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// reads2 is base with the FIFO's owner.
func (f *Facts) reads2(t *testing.T) {
	f.reads(t, strings.Replace(base, "notify.fifo", "notify.fifo ctsync ctsync", 1))
}

// TestDaemon: what the program prints is what is read here.
func TestDaemon(t *testing.T) {
	text, err := os.ReadFile("../show/testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	var d Daemon
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Node != "fw1" || d.Verdict != "degraded" || d.Code != 1 || d.Kernel.Overruns != 302 || len(d.Kernel.Failed) != 2 || d.VRRP.Source != "fifo" ||
		d.Messages.Refused["foreign cluster"] != 505 || len(d.Peers) != 2 || d.Peers[1].State != "silent" || !d.Peers[0].Sealed || d.Peers[0].Address == "" || d.Links[0].Interface != "eth0" {
		t.Errorf("%+v", d)
	}
}

// TestRefusals: a remedy is for a reason that there is.
func TestRefusals(t *testing.T) {
	var source strings.Builder
	for _, path := range []string{"../../engine/wire/wire.go", "../../engine/wire/seal.go", "../../engine/trust.go"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	for reason := range refusals {
		if !strings.Contains(source.String(), `errors.New("`+reason+`")`) {
			t.Errorf("no datagram is refused as %q", reason)
		}
	}
}

// TestUntracked reads nft's listing.
func TestUntracked(t *testing.T) {
	c := configured(t, settings)
	for rules, want := range map[string]Untracked{
		"": {}, "table ip raw {\n}": {}, "tcp dport 80 notrack": {},
		"meta l4proto 112 notrack":                                   {VRRP: true},
		"meta l4proto vrrp counter packets 0 bytes 0 notrack":        {VRRP: true},
		"ip protocol { vrrp, ah } notrack":                           {VRRP: true},
		"ip daddr 224.0.0.18 notrack":                                {VRRP: true},
		`iifname "eth2" udp dport 3780 notrack`:                      {Sync: true},
		"udp dport { 3780, 3781 } notrack":                           {Sync: true},
		`iifname "eth2" notrack`:                                     {Sync: true},
		`iifname "eth*" notrack`:                                     {Sync: true},
		`iifname { "lo", "eth2" } counter packets 1 bytes 2 notrack`: {Sync: true},
		`iifname { "lo", "eth2" } tcp dport 80 notrack`:              {},
		`iifname "eth1" notrack`:                                     {},
		"udp dport 37800 notrack":                                    {},
		"counter packets 3 bytes 100 notrack":                        {true, true},
		"udp dport @sync notrack":                                    {true, true},
		"ip protocol 112 accept":                                     {},
	} {
		if got := untrackedBy("\t\t"+rules+"\n", &c); *got != want {
			t.Errorf("%s: %+v", rules, *got)
		}
	}
}

// TestModules: helpers are VyOS's words.
func TestModules(t *testing.T) {
	for word := range helperModules {
		if _, faults := config.Parse("", strings.NewReader(settings+"expect-sync "+word)); len(faults) > 0 {
			t.Error(faults)
		}
	}
}

// TestOldEntry: an entry of VRRP that no packet refreshes any more is no proof that it is tracked.
func TestOldEntry(t *testing.T) {
	for _, c := range []struct {
		left uint32
		want bool
	}{{600, true}, {592, true}, {570, false}} {
		f := &Facts{Sysctls: map[string]int{genericTimeout: 600}}
		f.seen(&flow.Flow{Key: flow.Key{L4: vrrp}, Value: flow.Value{Timeout: c.left}}, nil)
		if f.Tracked.VRRP != c.want {
			t.Errorf("%d of 600 seconds left: %v, want %v", c.left, f.Tracked.VRRP, c.want)
		}
	}
}
