package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"ctsync/engine"
	"ctsync/internal/metrics"
)

// supervise tells systemd how it goes: ready, one line of status when it changes, and the watchdog as long as the loop
// asks for it. The loop does not wait for systemd.
func (d *Daemon) supervise(ctx context.Context) error {
	tell(sd.SdNotifyReady)
	last := ""
	for {
		var lines []string
		if d.watch.dog {
			lines = append(lines, sd.SdNotifyWatchdog)
		}
		if now := "STATUS=" + statusLine(d.loop.status()); now != last {
			lines, last = append(lines, now), now
		}
		if len(lines) > 0 {
			tell(strings.Join(lines, "\n"))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.watch.systemd:
		}
	}
}

func tell(state string) { _, _ = sd.SdNotify(false, state) }

func notifyStopping() { tell(sd.SdNotifyStopping) }

// statusLine is role, peers and sync in one line.
func statusLine(s engine.Status) string {
	live := 0
	for _, p := range s.Peers {
		if p.Live {
			live++
		}
	}
	plural := "s"
	if live == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s, %d peer%s, %s: %s", s.Role, live, plural, s.Verdict, s.Why)
}

// rivalOverride lets ctsync run beside conntrackd, for comparisons.
const rivalOverride = "CTSYNC_BESIDE_CONNTRACKD"

// refuseRival refuses to run where conntrackd does: both would write the same table.
func refuseRival() error {
	if os.Getenv(rivalOverride) != "" {
		return nil
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil // without /proc nothing can be found out
	}
	if rival := rivalSocket(); rival != "" {
		return fmt.Errorf("daemon: conntrackd runs in this network namespace (it listens at %s): stop it with "+
			"`systemctl disable --now conntrackd`, or set %s=1 if both are meant to run", rival, rivalOverride)
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, c := range comms {
		name, err := os.ReadFile(c)
		if err != nil || strings.TrimSpace(string(name)) != "conntrackd" {
			continue
		}
		dir := filepath.Dir(c)
		if ns, err := os.Readlink(filepath.Join(dir, "ns/net")); err == nil && ns == own {
			return fmt.Errorf("daemon: conntrackd runs in this network namespace (process %s): stop it with "+
				"`systemctl disable --now conntrackd`, or set %s=1 if both are meant to run", filepath.Base(dir), rivalOverride)
		}
	}
	return nil
}

// rivalSocket is conntrackd's control socket in this network namespace, as conntrackd.conf usually names it. A
// service from which other processes are hidden (ProtectProc=) still sees it.
func rivalSocket() string {
	text, _ := os.ReadFile("/proc/self/net/unix")
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) > 0 && strings.HasSuffix(words[len(words)-1], "/conntrackd.ctl") {
			return words[len(words)-1]
		}
	}
	return ""
}

// scrape is what the metrics are made of.
func (d *Daemon) scrape() (engine.Status, []metrics.Link) {
	var links []metrics.Link
	for _, l := range d.links.Stats() {
		links = append(links, metrics.Link{
			Interface: l.Interface, Up: l.Up, BytesSent: l.BytesSent, BytesReceived: l.BytesReceived,
			PacketsSent: l.PacketsSent, PacketsReceived: l.PacketsReceived, SendErrors: l.SendErrors, ReceiveErrors: l.ReceiveErrors,
		})
	}
	return d.loop.status(), links
}
