package hostcheck

import (
	"io/fs"

	"ctsync/internal/config"
	"ctsync/internal/keepalived"
	"ctsync/internal/kernel"
)

// Facts are what is known of a host. A nil map, pointer or slice is what could not be found out.
type Facts struct {
	ConfigPath   string
	ConfigErr    error         // it cannot be read
	Config       config.Config // the default one with ConfigErr or Faults
	Faults       []config.Fault
	Unconfigured bool // the configuration has nothing but comments
	NotRoot      bool // this process is not root, and sees little of the host

	Warnings []string

	Kernel  []kernel.Finding
	Sysctls map[string]int  // by name with dots
	Modules map[string]bool // loaded or built in
	Rival   int             // the process id of a conntrackd in this network namespace, 0 none

	ClockSynced *bool
	Links       []Link
	KeyFile     *File
	Daemon      *Daemon // what the running daemon says
	DaemonErr   error   // why it says nothing
	Paths       []Path  // to the peers that are heard

	Tracked   Tracked
	Untracked *Untracked // by the rules; nil: they could not be listed

	Keepalived Keepalived
}

// File is what the file system says of one path.
type File struct {
	Path  string
	Mode  fs.FileMode // 0: it is not there
	UID   int
	User  string // by name, else by number
	Group string // likewise
	Dir   *File  // the folder it is in
}

// there says whether something is at the path.
func (f *File) there() bool { return f != nil && f.Mode != 0 }

// Link is one interface of the sync link.
type Link struct {
	Name    string
	Exists  bool
	Up      bool // by the administrator
	Carrier bool
	MTU     int
}

// Path is what a probe with datagrams of the link's whole size found on the way to a peer.
type Path struct {
	Peer         string
	MTU          int
	Small, Whole bool // answered
}

// Tracked are entries in the kernel's table of what should not be there.
type Tracked struct{ VRRP, Sync bool }

// Untracked is what the rules exempt from tracking.
type Untracked struct{ VRRP, Sync bool }

// Keepalived is what is known of it.
type Keepalived struct {
	Program    *keepalived.Program
	Err        error // why Program is not known
	Path       string
	Config     *keepalived.Configuration
	ConfigErr  error
	Refuses    string // what `keepalived -t` says against the configuration
	PID        int    // 0: it does not run
	UsesConfig string // the file that the running one was started with
	FIFO       *File
	TrackDir   *File
	Scripts    map[string]*File // programs that it would run, by path
	ScriptUser bool             // there is a user keepalived_script
	DaemonUser string           // whom the daemon runs as, by name; empty: unknown
}

// Daemon is the part of `ctsync status --output json` that is looked at.
type Daemon struct {
	Node    string `json:"node"`
	Verdict string `json:"verdict"`
	Code    int    `json:"verdict_code"`
	Why     string `json:"why"`
	Kernel  struct {
		Overruns uint64         `json:"overruns"`
		Failed   map[string]int `json:"failed"`
	} `json:"kernel"`
	VRRP struct {
		State  string `json:"state"`
		Source string `json:"source"`
	} `json:"vrrp"`
	Messages struct {
		Refused map[string]uint64 `json:"refused"`
	} `json:"messages"`
	Peers []struct {
		Name    string `json:"name"`
		Address string `json:"address"`
		State   string `json:"state"`
		Sealed  bool   `json:"sealed"`
	} `json:"peers"`
	Links []struct {
		Interface  string `json:"interface"`
		Up         bool   `json:"up"`
		State      string `json:"state"`
		SendErrors uint64 `json:"send_errors"`
	} `json:"links"`
}
