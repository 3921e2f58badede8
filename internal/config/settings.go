package config

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const allowedMechanism = "cluster group NAME, vrrp sync-group NAME"

// setting is one word of the configuration. The texts are those of the reference.
type setting struct {
	name    string
	syntax  string                   // what follows the name; empty: nothing
	initial string                   // what holds without it
	allowed string                   // its range
	read    reader                   // the values of one line into the parser's Config
	write   func(c *Config) []string // what follows the name, one element a line; nil: no line
}

// settings are in the order of the reference: VyOS's words first, then ctsync's own.
var settings = []setting{
	{
		name: "accept-protocol", syntax: "PROTOCOL[,PROTOCOL...]", initial: "all",
		allowed: "tcp, udp, icmp, sctp (also icmp6, dccp, gre, esp, ah, udplite), or all",
		read:    chosen(protocolWords(), acceptProtocol), write: writeProtocols,
	},
	{
		name: "event-listen-queue-size", syntax: "MB", initial: "8", allowed: allowedMegabyte,
		read:  single(megabytes, func(c *Config, v int) { c.EventQueue = v }),
		write: func(c *Config) []string { return quoted(strconv.Itoa(c.EventQueue / megabyte)) },
	},
	{
		name: "expect-sync", syntax: "HELPER[,HELPER...]", initial: "off",
		allowed: "all, ftp, h323, nfs, sip, sqlnet",
		read:    chosen(expectWords(), expectSync), write: writeExpect,
	},
	{
		name: "failover-mechanism", syntax: "vrrp sync-group NAME | cluster group NAME", initial: "none: required",
		allowed: allowedMechanism,
		read:    readMechanism, write: writeMechanism,
	},
	{
		name: "ignore-address", syntax: "[ipv4|ipv6] ADDRESS-OR-PREFIX[,...]", initial: "none beyond the node's own, virtual and sync addresses",
		allowed: "an IPv4 or IPv6 address or prefix, as 192.0.2.1 or 2001:db8::/32",
		read:    readIgnored, write: writeIgnored,
	},
	{
		name: "interface", syntax: "IF [peer ADDRESS] [port NUMBER]", initial: "none: required; port 3780",
		allowed: "the name of an interface, then peer ADDRESS, port NUMBER (1 to 65535)",
		read:    readLink, write: writeLinks,
	},
	{
		name: "listen-address", syntax: "ADDRESS[,ADDRESS...]", initial: "the interface's first address of the right family",
		allowed: "an IPv4 or IPv6 address of the sync interface",
		read:    list(readListen), write: writeListen,
	},
	{
		name: "mcast-group", syntax: "ADDRESS", initial: "225.0.0.50",
		allowed: "an IPv4 or IPv6 multicast address, as 225.0.0.50 or ff12::3780",
		read:    single(group, func(c *Config, v netip.Addr) { c.MulticastGroup = v }), write: writeGroup,
	},
	{
		name: "sync-queue-size", syntax: "MB", initial: "1", allowed: allowedMegabyte,
		read:  single(megabytes, func(c *Config, v int) { c.SyncQueue = v }),
		write: func(c *Config) []string { return quoted(strconv.Itoa(c.SyncQueue / megabyte)) },
	},
	{
		name: "purge-timeout", syntax: "SECONDS", initial: "60", allowed: allowedSeconds,
		read:  single(seconds, func(c *Config, v time.Duration) { c.PurgeTimeout = v }),
		write: func(c *Config) []string { return quoted(secondsWord(c.PurgeTimeout)) },
	},
	{
		name: "startup-resync", initial: "always done", allowed: "no value",
		read: valueless(func(c *Config) { c.StartupResync = true }), write: func(c *Config) []string { return bare(c.StartupResync) },
	},
	{
		name: "disable-external-cache", initial: "standby hot, which is the same", allowed: "no value",
		read: valueless(func(*Config) {}), write: func(*Config) []string { return nil }, // said by standby
	},
	{
		name: "disable-syslog", initial: "messages from log-level up", allowed: "no value",
		read: valueless(func(c *Config) { c.DisableSyslog = true }), write: func(c *Config) []string { return bare(c.DisableSyslog) },
	},
	{
		name: "standby", syntax: "hot|warm", initial: "hot", allowed: "hot, warm",
		read:  single(standby, func(c *Config, v Standby) { c.Standby = v }),
		write: func(c *Config) []string { return quoted(c.Standby.String()) },
	},
	{
		name: "cluster-id", syntax: "TEXT", initial: "the failover group's name", allowed: allowedText,
		read:  single(text, func(c *Config, v string) { c.ClusterID = v }),
		write: func(c *Config) []string { return quoted(c.ClusterID) },
	},
	{
		name: "node-name", syntax: "TEXT", initial: "the host's name", allowed: allowedName,
		read:  single(nodeName, func(c *Config, v string) { c.NodeName = v }),
		write: func(c *Config) []string { return quoted(c.NodeName) },
	},
	{
		name: "notify-fifo", syntax: "PATH|off", initial: defaultNotifyFIFO + " with vrrp, off with cluster",
		allowed: allowedPath + defaultNotifyFIFO + ", or off",
		read:    single(pathOrOff, func(c *Config, v string) { c.NotifyFIFO = v }),
		write:   func(c *Config) []string { return quoted(orOff(c.NotifyFIFO)) },
	},
	{
		name: "notify-fifo-owner", syntax: "USER", initial: "root, as whom keepalived runs", allowed: allowedAccount,
		read:  single(account, func(c *Config, v string) { c.NotifyFIFOOwner = v }),
		write: func(c *Config) []string { return quoted(c.NotifyFIFOOwner) },
	},
	{
		name: "dbus", syntax: "on|off", initial: "on with vrrp, off with cluster", allowed: "on, off",
		read:  single(onOff, func(c *Config, v bool) { c.DBus = v }),
		write: func(c *Config) []string { return quoted(onOffWord(c.DBus)) },
	},
	{
		name: "keepalived-config", syntax: "PATH", initial: defaultKeepalived + " with vrrp",
		allowed: allowedPath + defaultKeepalived,
		read:    single(path(maxPath), func(c *Config, v string) { c.KeepalivedConfig = v }),
		write:   func(c *Config) []string { return quoted(c.KeepalivedConfig) },
	},
	{
		name: "keepalived-pid", syntax: "PATH", initial: defaultKeepalivedPID + " with vrrp",
		allowed: allowedPath + defaultKeepalivedPID,
		read:    single(path(maxPath), func(c *Config, v string) { c.KeepalivedPID = v }),
		write:   func(c *Config) []string { return quoted(c.KeepalivedPID) },
	},
	{
		name: "track-file", syntax: "PATH", initial: "/run/ctsync-track/ready", allowed: allowedPath + "/run/ctsync-track/ready",
		read:  single(path(maxPath), func(c *Config, v string) { c.TrackFile = v }),
		write: func(c *Config) []string { return quoted(c.TrackFile) },
	},
	{
		name: "commit-timeout", syntax: "SECONDS", initial: "what each flow has of its own", allowed: allowedSeconds,
		read:  single(seconds, func(c *Config, v time.Duration) { c.CommitTimeout = v }),
		write: writeCommitTimeout,
	},
	{
		name: "sync-after", syntax: "SECONDS", initial: "0", allowed: "0 to 3600, in seconds (0: at once)",
		read:  single(age, func(c *Config, v time.Duration) { c.SyncAfter = v }),
		write: func(c *Config) []string { return quoted(secondsWord(c.SyncAfter)) },
	},
	{
		name: "sync-after-packets", syntax: "NUMBER", initial: "none: the age alone counts", allowed: "1 to 1000000",
		read:  single(packets, func(c *Config, v uint64) { c.SyncAfterPackets = v }),
		write: writePackets,
	},
	{
		name: "accept-tcp-state", syntax: "STATE[,STATE...]", initial: "all",
		allowed: "syn-sent, syn-recv, established, fin-wait, close-wait, last-ack, time-wait, close, or all",
		read:    chosen(tcpStateWords(), acceptTCPState), write: writeTCPStates,
	},
	{
		name: "metrics", syntax: "ADDRESS:PORT|off", initial: "off", allowed: "ADDRESS:PORT, as 127.0.0.1:9780 or [::1]:9780, or off",
		read:  single(endpoint, func(c *Config, v netip.AddrPort) { c.Metrics = v }),
		write: writeMetrics,
	},
	{
		name: "log-level", syntax: "LEVEL", initial: "info", allowed: "debug, info, warn, error",
		read:  single(level, func(c *Config, v slog.Level) { c.LogLevel = v }),
		write: func(c *Config) []string { return quoted(levelWord(c.LogLevel)) },
	},
	{
		name: "control", syntax: "PATH", initial: "/run/ctsync/ctsync.ctl", allowed: allowedPath + "/run/ctsync/ctsync.ctl, of at most 107 bytes",
		read:  single(path(maxSocket), func(c *Config, v string) { c.Control = v }),
		write: func(c *Config) []string { return quoted(c.Control) },
	},
	{
		name: "control-group", syntax: "GROUP", initial: "none: root only", allowed: allowedAccount,
		read:  single(account, func(c *Config, v string) { c.ControlGroup = v }),
		write: func(c *Config) []string { return quoted(c.ControlGroup) },
	},
	{
		name: "key-file", syntax: "PATH", initial: "none: the sync link is not authenticated", allowed: allowedPath + "/etc/ctsync/key",
		read:  single(path(maxPath), func(c *Config, v string) { c.KeyFile = v }),
		write: func(c *Config) []string { return quoted(c.KeyFile) },
	},
	{
		name: "seal", syntax: "required|permissive", initial: "required where there is a key-file", allowed: "required, permissive",
		read:  single(seal, func(c *Config, v bool) { c.Permissive = v }),
		write: writeSeal,
	},
}

func acceptProtocol(c *Config, word string) {
	for _, known := range protocols {
		if known.word == word && !slices.Contains(c.AcceptProtocol, known.number) {
			c.AcceptProtocol = append(c.AcceptProtocol, known.number)
		}
	}
	order := protocolWords()
	slices.SortFunc(c.AcceptProtocol, func(a, b Protocol) int {
		return cmp.Compare(slices.Index(order, a.String()), slices.Index(order, b.String()))
	})
}

func acceptTCPState(c *Config, word string) {
	if word == all || slices.Contains(c.AcceptTCPState, word) {
		return
	}
	order := tcpStateWords()
	c.AcceptTCPState = append(c.AcceptTCPState, word)
	slices.SortFunc(c.AcceptTCPState, func(a, b string) int {
		return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
	})
}

func writeTCPStates(c *Config) []string {
	if len(c.AcceptTCPState) == 0 {
		return quoted(all)
	}
	return quoted(strings.Join(c.AcceptTCPState, ","))
}

func expectSync(c *Config, word string) {
	if slices.Contains(c.ExpectSync, word) {
		return
	}
	c.ExpectSync = append(c.ExpectSync, word)
	slices.Sort(c.ExpectSync) // the order of the reference is the alphabet's
}

func writeProtocols(c *Config) []string {
	if len(c.AcceptProtocol) == 0 {
		return quoted(all)
	}
	var words []string
	for _, p := range c.AcceptProtocol {
		words = append(words, p.String())
	}
	return quoted(strings.Join(words, ","))
}

func writeExpect(c *Config) []string { return quoted(strings.Join(c.ExpectSync, ",")) }

func writeMechanism(c *Config) []string {
	switch c.Failover.Mechanism {
	case VRRP:
		return []string{"vrrp sync-group " + quote(c.Failover.Group)}
	case Cluster:
		return []string{"cluster group " + quote(c.Failover.Group)}
	}
	return nil
}

func writeIgnored(c *Config) (lines []string) {
	for _, p := range c.IgnoreAddress {
		lines = append(lines, quote(prefixWord(p)))
	}
	return lines
}

func writeLinks(c *Config) (lines []string) {
	for _, l := range c.Links {
		name := quote(l.Interface)
		for _, peer := range l.Peers {
			lines = append(lines, name+" peer "+quote(peer.String()))
		}
		lines = append(lines, name+" port "+quote(strconv.Itoa(int(l.Port))))
	}
	return lines
}

func writeListen(c *Config) (lines []string) {
	for _, a := range c.ListenAddress {
		lines = append(lines, quote(a.String()))
	}
	return lines
}

func writeGroup(c *Config) []string {
	if !c.MulticastGroup.IsValid() {
		return nil
	}
	return quoted(c.MulticastGroup.String())
}

func writeCommitTimeout(c *Config) []string {
	if c.CommitTimeout == 0 {
		return nil
	}
	return quoted(secondsWord(c.CommitTimeout))
}

func writePackets(c *Config) []string {
	if c.SyncAfterPackets == 0 {
		return nil
	}
	return quoted(strconv.FormatUint(c.SyncAfterPackets, 10))
}

func writeMetrics(c *Config) []string {
	if !c.Metrics.IsValid() {
		return quoted(off)
	}
	return quoted(c.Metrics.String())
}

func secondsWord(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func onOffWord(on bool) string {
	if on {
		return "on"
	}
	return off
}

// quoted is one value, or none where there is nothing to say.
func quoted(word string) []string {
	if word == "" {
		return nil
	}
	return []string{quote(word)}
}

// bare is a setting without value.
func bare(on bool) []string {
	if on {
		return []string{""}
	}
	return nil
}
