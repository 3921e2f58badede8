package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// The sync group and its instances.
const (
	Group        = "VG"
	InstanceWAN  = "VI_WAN"
	InstanceLAN  = "VI_LAN"
	InstanceWAN6 = "VI_WAN6"
	InstanceLAN6 = "VI_LAN6"
)

// Hooks are what keepalived's configuration must say for a daemon.
type Hooks struct {
	FIFO      string   // notify FIFO; empty: none
	DBus      bool     // keepalived and the daemon share a private system bus
	Global    []string // lines of global_defs
	Group     []string // lines of the sync group: its scripts
	Instance  []string // lines of each instance
	TrackFile string   // priority file: 100 while the node is synced, else 0; empty: none
}

// KeepalivedConfig is the router's configuration.
func (r *Router) KeepalivedConfig() string {
	hooks := r.Daemon.Hooks()
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("global_defs {")
	say("\trouter_id %s\n\tvrrp_version 3\n\tscript_user root\n\tenable_script_security", r.Name)
	// Neighbours learn at once, and again while the change settles.
	say("\tvrrp_garp_master_repeat 3\n\tvrrp_garp_master_delay 1\n\tvrrp_garp_master_refresh 1\n\tvrrp_garp_lower_prio_repeat 3")
	if hooks.FIFO != "" {
		say("\tvrrp_notify_fifo %s", hooks.FIFO)
	}
	if hooks.DBus {
		say("\tenable_dbus")
	}
	for _, line := range hooks.Global {
		say("\t%s", line)
	}
	say("}")
	if hooks.TrackFile != "" {
		say("track_file synced {\n\tfile %s\n\tweight 1\n}", hooks.TrackFile)
	}
	say("vrrp_sync_group %s {\n\tgroup {", Group)
	for _, i := range r.instances() {
		say("\t\t%s", i.name)
	}
	say("\t}")
	for _, line := range hooks.Group {
		say("\t%s", line)
	}
	if hooks.TrackFile != "" {
		say("\ttrack_file {\n\t\tsynced\n\t}")
	}
	say("}")
	for _, i := range r.instances() {
		say("vrrp_instance %s {\n\tstate BACKUP\n\tinterface %s\n\tvirtual_router_id %d\n\tpriority %d\n\tadvert_int %g",
			i.name, i.link, i.id, r.Priority, r.lab.options.Advert.Seconds())
		say("\tvirtual_ipaddress {\n\t\t%s\n\t}", strings.Join(i.addresses, "\n\t\t"))
		for _, line := range hooks.Instance {
			say("\t%s", line)
		}
		say("}")
	}
	return b.String()
}

// instance is one VRRP instance. One of IPv6 has a link-local address first (RFC 5798, section 5.2.9).
type instance struct {
	name, link string
	id         int
	addresses  []string
}

func (r *Router) instances() []instance {
	all := []instance{
		{InstanceWAN, WAN, 11, []string{WANVIP.String() + "/24"}},
		{InstanceLAN, LAN, 12, []string{LANVIP.String() + "/24"}},
	}
	if r.lab.options.IPv6 {
		all = append(all,
			instance{InstanceWAN6, WAN, 21, []string{"fe80::51:1/64", WANVIP6.String() + "/64"}},
			instance{InstanceLAN6, LAN, 22, []string{"fe80::10:1/64", LANVIP6.String() + "/64"}})
	}
	return all
}

// StartKeepalived starts keepalived with pid files of its own; it does not wait for a state.
func (r *Router) StartKeepalived() error {
	file := filepath.Join(r.Folder, "keepalived.conf")
	if err := os.WriteFile(file, []byte(r.KeepalivedConfig()), 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	pid := func(name string) string { return filepath.Join(r.Folder, name+".pid") }
	env := append(r.busEnv(), "TMPDIR="+r.Folder) // where it writes down its state when it is asked
	p, err := r.start(env, "keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp",
		"--use-file", file, "--pid", pid("keepalived"), "--vrrp_pid", pid("vrrp"))
	r.Keepalived = p
	return err
}

// StopKeepalived stops it gracefully: it gives the addresses away, then ends.
func (r *Router) StopKeepalived() error { return r.Keepalived.Stop(5 * time.Second) }

// Holds says whether the router has every virtual address.
func (r *Router) Holds() bool {
	for _, i := range r.instances() {
		for _, address := range i.addresses {
			if !r.has(i.link, netip.MustParsePrefix(address).Addr()) {
				return false
			}
		}
	}
	return true
}

func (r *Router) has(link string, address netip.Addr) bool {
	dev, err := r.links.LinkByName(link)
	if err != nil {
		return false
	}
	all, _ := r.links.AddrList(dev, netlink.FAMILY_ALL)
	for _, a := range all {
		if a.IP.Equal(address.AsSlice()) {
			return true
		}
	}
	return false
}

// WaitMaster waits until r has all virtual addresses and its peer has none.
func (l *Lab) WaitMaster(r *Router, limit time.Duration) error {
	err := waitFor(r.Name+" to hold all virtual addresses alone", limit, func() bool { return r.Holds() && !r.Peer.mayHold() })
	if err != nil {
		return fmt.Errorf("%w; keepalived says:%s", err, r.Keepalived.Tail(8))
	}
	return nil
}

// HoldsAny says whether the router has at least one virtual address.
func (r *Router) HoldsAny() bool {
	for _, i := range r.instances() {
		for _, address := range i.addresses {
			if r.has(i.link, netip.MustParsePrefix(address).Addr()) {
				return true
			}
		}
	}
	return false
}

// mayHold says whether a running keepalived has an address still, which it removes one by one: one that was killed leaves
// its own behind on links that are cut.
func (r *Router) mayHold() bool { return r.Keepalived.Alive() && r.HoldsAny() }
