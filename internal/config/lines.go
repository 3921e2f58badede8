package config

import (
	"fmt"
	"log/slog"
	"strings"
)

// Lines is the effective configuration, every setting that has a value, as `set service conntrack-sync ...`
// lines in the order of the reference. Parse reads the same Config back.
func (c Config) Lines() (lines []string) {
	start := strings.Join(prefix, " ") + " "
	for _, s := range settings {
		for _, values := range s.write(&c) {
			lines = append(lines, strings.TrimSuffix(start+s.name+" "+values, " "))
		}
	}
	return lines
}

// Warnings tell what is accepted but does less than it says, or more than may be meant.
func (c Config) Warnings() (warnings []string) {
	if c.StartupResync {
		warnings = append(warnings, "startup-resync: has no effect: a node always asks its peers for everything when it starts")
	}
	if c.Unicast() && c.MulticastGroup.IsValid() {
		warnings = append(warnings, fmt.Sprintf("mcast-group: %v has no effect: the interfaces have peers (unicast)", c.MulticastGroup))
	}
	if !c.Unicast() && len(c.ListenAddress) > 0 {
		warnings = append(warnings, "listen-address: has no effect with multicast: the interface's own address is used")
	}
	for _, p := range c.IgnoreAddress {
		if p.Bits() == 0 {
			warnings = append(warnings, fmt.Sprintf("ignore-address: %v leaves no %s flow to replicate", p, family(p.Addr())))
		}
	}
	if c.DisableSyslog && c.LogLevel == slog.LevelWarn {
		warnings = append(warnings, "disable-syslog: messages below warn are not logged; warnings and errors still are")
	}
	if c.Permissive {
		warnings = append(warnings, "seal permissive: what is not sealed is believed too: set it to required when every node has the key")
	}
	if c.Metrics.IsValid() && !c.Metrics.Addr().IsLoopback() {
		warnings = append(warnings, fmt.Sprintf("metrics: %v can be read by whoever reaches it: there is no password", c.Metrics))
	}
	return warnings
}
