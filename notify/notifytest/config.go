package notifytest

import (
	"fmt"
	"strings"
)

// Instance is one VRRP instance of a configuration.
type Instance struct {
	Name string
	Link string // wan or lan
	VRID int
	Text string // further lines of its block
}

// The instances that a Config has by default, and one more.
var (
	WAN = Instance{Name: "VI_WAN", Link: "wan", VRID: 11}
	LAN = Instance{Name: "VI_LAN", Link: "lan", VRID: 12}
	DMZ = Instance{Name: "VI_DMZ", Link: "lan", VRID: 13}
)

// Config is what a keepalived.conf is made of. The virtual address of an instance is 10.77.VRID.100.
type Config struct {
	Group     string     // of all instances; default VG, "-" for none
	Instances []Instance // default WAN and LAN
	State     string     // at start; default BACKUP
	Priority  int        // default 100
	Advert    string     // seconds between adverts; default 0.1
	FIFO      string     // path of the notify FIFO; empty: none
	DBus      bool
	Global    string // further lines of global_defs
	GroupText string // further lines of the group's block
	Top       string // further blocks, ahead of the group
}

// VIP is the virtual address of an instance.
func (i Instance) VIP() string { return fmt.Sprintf("10.77.%d.100", i.VRID) }

// String is the configuration in keepalived's language.
func (c Config) String() string {
	if c.Priority == 0 {
		c.Priority = 100
	}
	if c.State == "" {
		c.State = "BACKUP"
	}
	if c.Advert == "" {
		c.Advert = "0.1"
	}
	if c.Group == "" {
		c.Group = "VG"
	}
	if c.Instances == nil {
		c.Instances = []Instance{WAN, LAN}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n router_id test\n script_user root\n enable_script_security\n vrrp_version 3\n")
	if c.FIFO != "" {
		fmt.Fprintf(&b, " vrrp_notify_fifo %s\n", c.FIFO)
	}
	if c.DBus {
		fmt.Fprintf(&b, " enable_dbus\n")
	}
	fmt.Fprintf(&b, " %s\n}\n%s\n", c.Global, c.Top)
	if c.Group != "-" {
		fmt.Fprintf(&b, "vrrp_sync_group %s {\n group {\n", c.Group)
		for _, i := range c.Instances {
			fmt.Fprintf(&b, "  %s\n", i.Name)
		}
		fmt.Fprintf(&b, " }\n %s\n}\n", c.GroupText)
	}
	for _, i := range c.Instances {
		fmt.Fprintf(&b, "vrrp_instance %s {\n state %s\n interface %s0\n virtual_router_id %d\n priority %d\n advert_int %s\n"+
			" virtual_ipaddress {\n  %s/24\n }\n %s\n}\n", i.Name, c.State, i.Link, i.VRID, c.Priority, c.Advert, i.VIP(), i.Text)
	}
	return b.String()
}
