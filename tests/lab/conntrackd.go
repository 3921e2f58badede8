package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Conntrackd is conntrackd in its reliable mode (FTFW) with both caches, driven by notify scripts: the set-up
// that its own documentation shows for a primary and a backup.
func Conntrackd(r *Router) Daemon {
	return &conntrackd{router: r, config: filepath.Join(r.Folder, "conntrackd.conf"), script: filepath.Join(r.Folder, "notify.sh")}
}

type conntrackd struct {
	router         *Router
	config, script string
	process        *Process
}

const conntrackdConfig = `Sync {
	Mode FTFW {
		DisableExternalCache no
	}
	Multicast {
		IPv4_address 225.0.0.50
		Group 3780
		IPv4_interface %[1]s
		Interface sync0
		SndSocketBuffer 8388608
		RcvSocketBuffer 8388608
		Checksum on
	}
}
General {
	HashSize 65536
	HashLimit 1048576
	LogFile off
	Syslog off
	Systemd off
	LockFile %[2]s/conntrackd.lock
	UNIX {
		Path %[2]s/conntrackd.ctl
	}
	NetlinkBufferSize 8388608
	NetlinkBufferSizeMaxGrowth 67108864
	Scheduler {
		Type RR
		Priority 1
	}
	Filter From Userspace {
		Protocol Accept {
			TCP
			UDP
			ICMP
			IPv6-ICMP
		}
		Address Ignore {
			IPv4_address 127.0.0.1
			IPv4_address %[1]s
			IPv4_address %[3]s
			IPv4_address %[4]s
			IPv4_address %[5]s
			IPv4_address %[6]s
			IPv6_address %[7]s
			IPv6_address %[8]s
		}
	}
}
`

// conntrackdNotify does for each VRRP state what conntrackd needs: a primary commits what it heard, forgets it,
// reads its own table and sends that to the peer; a backup asks the peer for all and has its own table purged
// later; a faulty one only purges.
const conntrackdNotify = `#!/bin/sh
ask() { conntrackd -C %[1]s "$1" >/dev/null 2>&1; }
echo "$1 begin $(date +%%s.%%N)" >>%[2]s
case $1 in
master) for step in -c -f -R -B; do ask $step; done ;;
backup) ask -t; ask -n ;;
*) ask -t ;;
esac
echo "$1 end $(date +%%s.%%N)" >>%[2]s
`

func (c *conntrackd) Name() string      { return "conntrackd" }
func (c *conntrackd) Process() *Process { return c.process }

func (c *conntrackd) Start() error {
	r := c.router
	config := fmt.Sprintf(conntrackdConfig, r.SyncAddress(0).Addr(), r.Folder,
		r.WANAddress().Addr(), r.LANAddress().Addr(), LANVIP, r.Peer.SyncAddress(0).Addr(),
		r.WANAddress6().Addr(), r.LANAddress6().Addr())
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	script := fmt.Sprintf(conntrackdNotify, c.config, c.log())
	if err := os.WriteFile(c.script, []byte(script), 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	os.Remove(filepath.Join(r.Folder, "conntrackd.lock")) // one that was killed leaves it
	var err error
	if c.process, err = r.start(nil, "conntrackd", "-C", c.config); err != nil {
		return err
	}
	err = waitFor("conntrackd to answer", 5*time.Second, func() bool { return c.Statistics() != "" || !c.process.Alive() })
	if err != nil || !c.process.Alive() {
		return fmt.Errorf("lab: conntrackd on %s does not run:%s", r.Name, c.process.Tail(8))
	}
	return nil
}

func (c *conntrackd) log() string { return filepath.Join(c.router.Folder, "notify.log") }

func (c *conntrackd) Stop() error { return c.process.Stop(10 * time.Second) }
func (c *conntrackd) Kill9()      { c.process.Kill9() }

func (c *conntrackd) Hooks() Hooks {
	return Hooks{Group: []string{
		fmt.Sprintf("notify_master \"%s master\"", c.script),
		fmt.Sprintf("notify_backup \"%s backup\"", c.script),
		fmt.Sprintf("notify_fault \"%s fault\"", c.script),
	}}
}

func (c *conntrackd) Statistics() string {
	out, err := c.router.Run("conntrackd", "-C", c.config, "-s")
	if err != nil {
		return ""
	}
	return out
}

var conntrackdActive = regexp.MustCompile(`(?s)cache (internal|external):\s+current active connections:\s+(\d+)`)

// Synced compares how many connections the peer's kernel, the peer's own cache and this node's cache of the peer
// hold. The first two may differ by the few that are not replicated.
func (c *conntrackd) Synced() bool {
	peer, ok := c.router.Peer.Daemon.(*conntrackd)
	if !ok {
		return false
	}
	out, err := c.router.Peer.Run("conntrack", "-C")
	kernel, bad := strconv.Atoi(strings.TrimSpace(out))
	own, theirs := cacheSizes(peer.Statistics())["internal"], cacheSizes(c.Statistics())["external"]
	return err == nil && bad == nil && own+own/20+5 >= kernel && theirs >= own
}

func cacheSizes(statistics string) map[string]int {
	sizes := map[string]int{}
	for _, m := range conntrackdActive.FindAllStringSubmatch(statistics, -1) {
		sizes[m[1]], _ = strconv.Atoi(m[2])
	}
	return sizes
}

// Milestone reads the process's log: conntrackd says when a commit begins and when it has ended.
func (c *conntrackd) Milestone(l Line) Step {
	switch {
	case strings.Contains(l.Text, "committing all external caches"):
		return Noticed
	case strings.Contains(l.Text, "commit has taken"):
		return ReadyToForward
	}
	return NoStep
}
