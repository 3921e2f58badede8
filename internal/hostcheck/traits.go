package hostcheck

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/keepalived"
	"ctsync/internal/kernel"
)

// Traits are what the nodes of a group must have alike, for a comparison with those of another node.
type Traits struct {
	Node       string              `json:"node"`
	Version    string              `json:"version"` // of ctsync
	Kernel     string              `json:"kernel"`
	Keepalived string              `json:"keepalived"`
	Settings   []string            `json:"settings"` // of ctsync.conf, defaults included
	Sysctls    map[string]string   `json:"sysctls"`
	Helpers    []string            `json:"helpers"` // modules that are loaded
	NAT        []string            `json:"nat"`     // families with NAT chains
	MTU        map[string]int      `json:"mtu"`     // of sync interfaces
	Instances  map[string]Instance `json:"instances"`
	Rules      string              `json:"rules"` // a hash of the ruleset without counters and sets' elements; empty: unknown
}

// Instance is a member of keepalived's group.
type Instance struct {
	Interface string `json:"interface"`
	ID        int    `json:"id"`
	Advert    string `json:"advert"` // as written; empty: the default
	Priority  int    `json:"priority"`
}

// TraitsOf takes from the facts what is compared, and reads what a check of one host does not need. version is ctsync's.
func TraitsOf(ctx context.Context, f *Facts, version string) *Traits {
	t := &Traits{
		Node: f.Config.NodeName, Version: version, Kernel: kernelRelease(), Settings: f.Config.Lines(), Sysctls: conntrackSysctls(),
		Helpers: []string{}, NAT: []string{}, MTU: map[string]int{}, Instances: map[string]Instance{}, Rules: rulesHash(ctx),
	}
	if p := f.Keepalived.Program; p != nil {
		t.Keepalived = p.Version.String()
	}
	loaded, _ := filepath.Glob("/sys/module/nf_conntrack_*")
	for _, m := range loaded {
		if name := filepath.Base(m); slices.Contains(helperNames, name) {
			t.Helpers = append(t.Helpers, name)
		}
	}
	if r, err := kernel.ReadRuleset(); err == nil {
		for _, family := range []struct {
			l3   uint8
			name string
		}{{flow.IPv4, "ipv4"}, {flow.IPv6, "ipv6"}} {
			if r.NAT[family.l3] {
				t.NAT = append(t.NAT, family.name)
			}
		}
	}
	for _, l := range f.Links {
		t.MTU[l.Name] = l.MTU
	}
	t.instances(f)
	return t
}

// helperNames are the kernel's modules with helpers.
var helperNames = []string{
	"nf_conntrack_amanda", "nf_conntrack_ftp", "nf_conntrack_h323", "nf_conntrack_irc", "nf_conntrack_netbios_ns", "nf_conntrack_pptp",
	"nf_conntrack_sane", "nf_conntrack_sip", "nf_conntrack_snmp", "nf_conntrack_tftp",
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// conntrackSysctls are all of them that are set, and not counted.
func conntrackSysctls() map[string]string {
	found := map[string]string{}
	files, _ := filepath.Glob("/proc/sys/net/netfilter/nf_conntrack_*")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if name := filepath.Base(file); err == nil && name != "nf_conntrack_count" {
			found["net.netfilter."+name] = strings.TrimSpace(string(b))
		}
	}
	return found
}

func rulesHash(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, listFor)
	defer cancel()
	rules, err := exec.CommandContext(ctx, "nft", "--stateless", "--terse", "list", "ruleset").Output()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(rules)
	return hex.EncodeToString(sum[:8])
}

func (t *Traits) instances(f *Facts) {
	tree := f.Keepalived.Config
	if tree == nil {
		return
	}
	group := tree.Group(f.Config.Failover.Group)
	if group == nil {
		return
	}
	for _, name := range keepalived.Members(group) {
		m := tree.Instance(name)
		if m == nil {
			continue
		}
		i := Instance{ID: m.Number("virtual_router_id", 0), Priority: m.Number("priority", 100)}
		if s := m.Get("interface"); s != nil {
			i.Interface = s.Arg(1)
		}
		if s := m.Get("advert_int"); s != nil {
			i.Advert = s.Arg(1)
		}
		t.Instances[name] = i
	}
}

// number is a sysctl's value, or 0.
func (t *Traits) number(sysctl string) int {
	n, _ := strconv.Atoi(t.Sysctls[sysctl])
	return n
}
