package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Config is an effective configuration: what the file says, with the defaults filled in.
type Config struct {
	AcceptProtocol   []Protocol     // replicated protocols in the order of the reference; empty: every tracked one
	AcceptTCPState   []string       // words of the replicated states in the order of the reference; empty: every state
	EventQueue       int            // bytes of the conntrack event socket's receive buffer; 0: the kernel's default
	ExpectSync       []string       // VyOS's words in the order of the reference; {"all"}: every helper; empty: off
	Failover         Failover       // who drives: keepalived or a cluster manager
	IgnoreAddress    []netip.Prefix // masked and sorted; a single address has the full length
	Links            []Link         // at least one, in the order of the file
	ListenAddress    []netip.Addr   // local addresses of the links; empty: the interface's first of the right family
	MulticastGroup   netip.Addr     // invalid with unicast, unless the file names one (which Warnings tells)
	SyncQueue        int            // bytes of each sync link's send and receive buffer; 0: the kernel's default
	PurgeTimeout     time.Duration  // whole seconds
	StartupResync    bool           // accepted for VyOS's sake; it is always done
	DisableSyslog    bool           // LogLevel is at least warn
	Standby          Standby
	ClusterID        string         // in every datagram; default: the group's name
	NodeName         string         // empty after Parse without the setting; Load fills in the host's name
	NotifyFIFO       string         // empty: none
	NotifyFIFOOwner  string         // user that must own the FIFO; empty: whom keepalived runs as (root)
	DBus             bool           // listen to keepalived's signals, where there is a bus that has it
	KeepalivedConfig string         // read for the members of the sync group; empty without vrrp
	KeepalivedPID    string         // where keepalived writes its process id, to see it die; empty without vrrp
	TrackFile        string         // readiness for keepalived's track_file
	CommitTimeout    time.Duration  // whole seconds given to copies; 0: each keeps its own
	SyncAfter        time.Duration  // whole seconds that a flow must last to be replicated
	SyncAfterPackets uint64         // or packets that it must have had; 0: the age alone counts
	KeyFile          string         // shared keys of the sync link; empty: it is not authenticated
	Permissive       bool           // hear what is not sealed too, while a key is introduced
	Metrics          netip.AddrPort // invalid: off
	LogLevel         slog.Level
	Control          string // path of the control socket
	ControlGroup     string // group that may use the control socket (mode 0660); empty: root only

	from origin
}

// Link is one interface that carries the sync protocol.
type Link struct {
	Interface string
	Peers     []netip.Addr // unicast; empty: multicast. Without zone: the interface is the zone.
	Port      uint16
}

// Mechanism is who decides which node forwards.
type Mechanism uint8

// Mechanisms. NoMechanism is never in a Config without faults.
const (
	NoMechanism Mechanism = iota
	VRRP                  // keepalived, by FIFO, D-Bus or `ctsync notify`
	Cluster               // a cluster manager, by `ctsync cluster start|stop GROUP`
)

// Failover is the failover mechanism and the name of its group.
type Failover struct {
	Mechanism Mechanism
	Group     string
}

// String is the setting as the file spells it, without quotes.
func (f Failover) String() string {
	switch f.Mechanism {
	case VRRP:
		return "vrrp sync-group " + f.Group
	case Cluster:
		return "cluster group " + f.Group
	}
	return "none"
}

// Standby is what a node that does not forward does with the flows it hears.
type Standby uint8

// Hot puts them into the kernel as they arrive, Warm keeps them in the external cache until the takeover.
const (
	Hot Standby = iota
	Warm
)

func (s Standby) String() string {
	if s == Warm {
		return "warm"
	}
	return "hot"
}

// origin remembers where settings came from, for the faults of CheckHost. It is no part of what a
// configuration says.
type origin struct {
	file  string
	lines map[string]int // by setting and value, as "interface eth0"
}

// Defaults that more than one place needs. Those of VyOS keep their value.
const (
	defaultPort       = 3780
	defaultNotifyFIFO = "/run/ctsync/notify.fifo"
	defaultKeepalived = "/etc/keepalived/keepalived.conf"

	defaultKeepalivedPID = "/run/keepalived.pid"
	megabyte             = 1 << 20
)

var defaultGroup = netip.AddrFrom4([4]byte{225, 0, 0, 50})

// Default is the configuration of an empty file: complete but for the two required settings (interface and
// failover-mechanism) and for what follows from them.
func Default() Config {
	return Config{
		EventQueue:       8 * megabyte,
		MulticastGroup:   defaultGroup,
		SyncQueue:        1 * megabyte,
		PurgeTimeout:     60 * time.Second,
		NotifyFIFO:       defaultNotifyFIFO,
		DBus:             true,
		KeepalivedConfig: defaultKeepalived,
		KeepalivedPID:    defaultKeepalivedPID,
		TrackFile:        "/run/ctsync-track/ready",
		LogLevel:         slog.LevelInfo,
		Control:          "/run/ctsync/ctsync.ctl",
	}
}

// Unicast says whether the links have peers; else they use the multicast group.
func (c Config) Unicast() bool {
	return slices.ContainsFunc(c.Links, func(l Link) bool { return len(l.Peers) > 0 })
}

// Equal says whether both configurations say the same, wherever they were read from.
func (c Config) Equal(other Config) bool { return len(c.Changed(other)) == 0 }

// Changed names the settings in which the two configurations differ, in the order of the reference.
func (c Config) Changed(other Config) (names []string) {
	for _, s := range settings {
		if !slices.Equal(s.write(&c), s.write(&other)) {
			names = append(names, s.name)
		}
	}
	return names
}
