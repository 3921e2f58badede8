package hostcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/config"
	"ctsync/internal/kernel"
)

// Sources are where facts come from besides the host itself.
type Sources struct {
	Config  string // path of ctsync.conf
	Control string // path of the daemon's control socket

	// Status is the daemon's answer to `status --output json`.
	Status func(context.Context) ([]byte, error)
}

// Gather looks at the host, in the network namespace of the caller. It changes nothing; to each peer that the daemon
// hears it sends a few ICMP echo requests. It takes a few seconds at most.
func Gather(ctx context.Context, from Sources) *Facts {
	f := &Facts{ConfigPath: from.Config, Config: config.Default(), NotRoot: os.Geteuid() != 0}
	f.readConfig()
	f.Rival = processNamed("conntrackd")
	f.ClockSynced = clockSynced()
	f.gatherLinks()
	if f.Config.KeyFile != "" {
		f.KeyFile = followed(f.Config.KeyFile)
	}
	f.askDaemon(ctx, from)
	f.gatherSysctls()
	f.gatherTable()
	f.Untracked = readUntracked(ctx, &f.Config)
	f.gatherPaths()
	f.gatherKeepalived(ctx, from.Control)
	return f
}

func (f *Facts) readConfig() {
	c, faults, err := config.Load(f.ConfigPath)
	switch {
	case err != nil:
		f.ConfigErr = err
	case len(faults) > 0:
		f.Faults, f.Unconfigured = faults, config.SaysNothing(f.ConfigPath)
	default:
		f.Config, f.Warnings = c, c.Warnings()
		if h, err := config.ThisHost(); err == nil {
			f.Faults = c.CheckHost(h)
		}
	}
}

// tablePiece is how many flows are read at once.
const tablePiece = 256

// gatherTable comes after the sysctls. It reads the whole table for what should not be in it, and lets the kernel's check know what is.
func (f *Facts) gatherTable() {
	needs := kernel.Needs{ReceiveBuffer: f.Config.EventQueue, Counters: f.Config.SyncAfterPackets > 0, Translated: map[uint8]bool{}}
	err := kernel.Dump(make([]flow.Flow, tablePiece), func(flows []flow.Flow) error {
		for i := range flows {
			f.seen(&flows[i], needs.Translated)
		}
		return nil
	})
	var malformed kernel.MalformedError
	read := err == nil || errors.Is(err, kernel.ErrInterrupted) || errors.As(err, &malformed)
	f.Kernel = kernel.Check(needs)
	f.Modules = modules(read)
}

const (
	vrrp           = 112 // IANA
	genericTimeout = "net.netfilter.nf_conntrack_generic_timeout"
)

// refreshed says that a packet of VRRP has met its entry lately. Else the entry is from before a rule exempted it, and lives on for
// up to ten minutes.
func (f *Facts) refreshed(e *flow.Flow) bool {
	const lately = 10 // seconds: several adverts
	return int(e.Timeout)+lately >= f.Sysctls[genericTimeout]
}

func (f *Facts) seen(e *flow.Flow, translated map[uint8]bool) {
	if e.Status&(flow.SrcNAT|flow.DstNAT) != 0 {
		translated[e.L3] = true
	}
	switch e.L4 {
	case vrrp:
		f.Tracked.VRRP = f.Tracked.VRRP || f.refreshed(e)
	case flow.UDP:
		f.Tracked.Sync = f.Tracked.Sync || f.isSync(e)
	}
}

func (f *Facts) isSync(e *flow.Flow) bool {
	src, dst := e.Src.Netip(e.L3), e.Dst.Netip(e.L3)
	return slices.ContainsFunc(f.Config.Links, func(l config.Link) bool {
		return e.DstL4 == l.Port && (dst == f.Config.MulticastGroup || slices.Contains(l.Peers, dst) || slices.Contains(l.Peers, src))
	})
}

// modules says of those that matter whether they are there. A kernel that tells of none has them built in.
func modules(dumped bool) map[string]bool {
	known := map[string]bool{"nf_conntrack_netlink": dumped}
	_, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	known["nf_conntrack"] = err == nil
	_, err = os.Stat("/proc/modules")
	for _, m := range helperModules {
		known[m] = err != nil || exists("/sys/module/"+m) || builtin(m)
	}
	return known
}

func builtin(module string) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	b, _ := os.ReadFile("/lib/modules/" + unix.ByteSliceToString(u.Release[:]) + "/modules.builtin")
	return strings.Contains(string(b), "/"+module+".ko")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (f *Facts) gatherSysctls() {
	f.Sysctls = map[string]int{}
	for _, name := range []string{
		"net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", "net.netfilter.nf_conntrack_tcp_loose",
		"net.netfilter.nf_conntrack_tcp_be_liberal", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", genericTimeout,
	} {
		b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			f.Sysctls[name] = n
		}
	}
}

// processNamed is a process of that name in this network namespace.
func processNamed(name string) int {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return 0
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, c := range comms {
		comm, _ := os.ReadFile(c)
		if strings.TrimSpace(string(comm)) != name {
			continue
		}
		dir := filepath.Dir(c)
		if ns, err := os.Readlink(filepath.Join(dir, "ns/net")); err == nil && ns == own {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	return 0
}

// clockSynced asks the kernel, which the time daemons tell (adjtimex(2)).
func clockSynced() *bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return nil
	}
	synced := state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
	return &synced
}

func (f *Facts) gatherLinks() {
	for _, l := range f.Config.Links {
		link := Link{Name: l.Interface}
		if i, err := net.InterfaceByName(l.Interface); err == nil {
			link = Link{l.Interface, true, i.Flags&net.FlagUp != 0, i.Flags&net.FlagRunning != 0, i.MTU}
		}
		f.Links = append(f.Links, link)
	}
}

// askFor bounds the daemon's answer.
const askFor = 3 * time.Second

func (f *Facts) askDaemon(ctx context.Context, from Sources) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	answer, err := from.Status(ctx)
	if err == nil {
		f.Daemon = &Daemon{}
		err = json.Unmarshal(answer, f.Daemon)
	}
	if err != nil {
		f.Daemon, f.DaemonErr = nil, err
	}
}

// gatherPaths probes the way to each peer that is heard.
func (f *Facts) gatherPaths() {
	if f.Daemon == nil {
		return
	}
	var asked []netip.Addr
	for _, p := range f.Daemon.Peers {
		at, err := netip.ParseAddrPort(p.Address)
		if err != nil || p.State == "silent" || slices.Contains(asked, at.Addr()) {
			continue
		}
		asked = append(asked, at.Addr())
		if mtu := f.mtuTowards(at.Addr()); mtu > 0 {
			small, whole := probe(at.Addr(), mtu)
			f.Paths = append(f.Paths, Path{Peer: fmt.Sprintf("%s (%s)", p.Name, at.Addr()), MTU: mtu, Small: small, Whole: whole})
		}
	}
}

// mtuTowards is that of the link whose network has the address, or of the only link.
func (f *Facts) mtuTowards(a netip.Addr) int {
	for _, l := range f.Links {
		i, err := net.InterfaceByName(l.Name)
		if err != nil {
			continue
		}
		addrs, _ := i.Addrs()
		for _, own := range addrs {
			if n, ok := own.(*net.IPNet); ok && n.Contains(a.WithZone("").AsSlice()) && (a.Zone() == "" || a.Zone() == l.Name) {
				return l.MTU
			}
		}
	}
	if len(f.Links) == 1 {
		return f.Links[0].MTU
	}
	return 0
}
