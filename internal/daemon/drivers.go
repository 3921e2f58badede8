package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ctsync/engine"
	"ctsync/internal/config"
	native "ctsync/internal/journal"
	"ctsync/notify"
	"ctsync/vrrp"
)

// drivers are the channels by which keepalived is heard. Each can drive alone.
type drivers struct {
	cfg      *config.Config
	log      *slog.Logger
	fifo     *notify.FIFO
	dbus     *notify.DBus
	liveness *notify.Liveness

	reading sync.Mutex
	members []string // of the group, as last read
}

// openDrivers opens what the configuration names. With a cluster manager nothing is listened to but
// `ctsync cluster`.
func openDrivers(cfg *config.Config, log *slog.Logger) (*drivers, error) {
	d := &drivers{cfg: cfg, log: log}
	if cfg.Failover.Mechanism != config.VRRP {
		return d, nil
	}
	report := func(err error) { log.Warn("keepalived", "error", err) }
	if cfg.NotifyFIFO != "" {
		fifo, err := openFIFO(cfg)
		if err != nil {
			return nil, err
		}
		fifo.OnError = report
		d.fifo = fifo
	}
	if cfg.DBus {
		d.dbus = &notify.DBus{OnError: func(err error) { log.Info("keepalived on D-Bus", "error", err) }}
	}
	d.liveness = &notify.Liveness{PIDFile: cfg.KeepalivedPID}
	return d, nil
}

func openFIFO(cfg *config.Config) (*notify.FIFO, error) {
	if err := os.MkdirAll(filepath.Dir(cfg.NotifyFIFO), 0o755); err != nil {
		return nil, fmt.Errorf("daemon: folder of the notify FIFO: %w", err)
	}
	if cfg.NotifyFIFOOwner == "" {
		return notify.OpenFIFO(cfg.NotifyFIFO)
	}
	u, err := user.Lookup(cfg.NotifyFIFOOwner)
	if err != nil {
		return nil, fmt.Errorf("daemon: notify-fifo-owner %s: %w", cfg.NotifyFIFOOwner, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("daemon: notify-fifo-owner %s has the user id %q: %w", cfg.NotifyFIFOOwner, u.Uid, err)
	}
	return notify.OpenFIFO(cfg.NotifyFIFO, uid)
}

// firstMembers are the group's instances as far as keepalived's configuration tells.
func (d *drivers) firstMembers() []string {
	if d.cfg.Failover.Mechanism != config.VRRP || d.cfg.KeepalivedConfig == "" {
		return nil
	}
	names, err := notify.Members(d.cfg.KeepalivedConfig, d.cfg.Failover.Group)
	switch {
	case errors.Is(err, notify.ErrNoGroup):
		d.log.Warn("keepalived's configuration has not the group that is followed: nothing it says will be about it", native.Key, native.HostFault,
			"error", err, "remedy", "Give failover-mechanism the name of keepalived's vrrp_sync_group, or the group this one's.")
	case err != nil:
		d.log.Info("the group's members are learned from keepalived's notices", "reason", err)
	}
	d.members = names
	return names
}

// close ends the FIFO, where run has ended or never ran.
func (d *drivers) close() {
	if d.fifo != nil {
		d.fifo.Close()
	}
}

// run listens until the parts' context ends.
func (d *drivers) run(l *loop, start func(func(context.Context) error)) {
	deliver := func(n vrrp.Notice) {
		if readAgain(n) {
			d.readMembers(l)
		}
		l.step(&engine.Notice{Notice: n})
	}
	if s := d.ordered(); s != vrrp.Unknown {
		deliver(vrrp.Notice{Source: vrrp.SourceCluster, Kind: vrrp.Group, Name: d.cfg.Failover.Group, State: s})
	}
	if d.fifo != nil {
		start(func(ctx context.Context) error { return d.fifo.Run(ctx, deliver) })
	}
	if d.dbus != nil {
		start(func(ctx context.Context) error { return d.dbus.Run(ctx, deliver) })
	}
	if d.liveness != nil {
		start(func(ctx context.Context) error {
			return d.liveness.Run(ctx, func(n vrrp.Notice) {
				if n.State == vrrp.Gone {
					d.log.Warn("keepalived is gone: start it again if it was not stopped on purpose", native.Key, native.KeepalivedGone)
				}
				deliver(n)
			})
		})
		start(func(ctx context.Context) error { d.ask(ctx, l, deliver); return nil })
	}
}

// ordered is what a cluster manager has said last, before this daemon.
func (d *drivers) ordered() vrrp.State {
	if d.cfg.Failover.Mechanism != config.Cluster {
		return vrrp.Unknown
	}
	return recallOrder(orderPath(d.cfg.Control), d.cfg.Failover.Group)
}

// readAgain says that keepalived has read its configuration: it was started, or it tells so on the D-Bus.
func readAgain(n vrrp.Notice) bool {
	return n.Kind == vrrp.Daemon && n.State == vrrp.Unknown &&
		(n.Event == vrrp.EventReloaded || n.Event == vrrp.EventRestarted || n.Event == "")
}

// readMembers hands on what keepalived's configuration says. Without an answer what was known stands.
func (d *drivers) readMembers(l *loop) {
	names, err := notify.Members(d.cfg.KeepalivedConfig, d.cfg.Failover.Group)
	d.reading.Lock()
	defer d.reading.Unlock()
	if err != nil || slices.Equal(names, d.members) {
		return
	}
	d.members = names
	d.log.Info("the group's members", "members", strings.Join(names, ", "))
	l.step(&engine.Members{Names: names})
}

// Times of asking. What was written to the FIFO while no daemon read it is there at once.
const (
	askAfter  = 100 * time.Millisecond
	askAtMost = 5 * time.Second
)

// ask has keepalived tell the group's state as long as nothing else does: a daemon that starts after it finds
// nothing in the FIFO until the next change.
func (d *drivers) ask(ctx context.Context, l *loop, deliver func(vrrp.Notice)) {
	said := ""
	for wait := askAfter; sleep(ctx, wait); wait = min(2*wait, askAtMost) {
		if l.heardOfGroup() {
			wait = askAfter
			continue
		}
		n, err := notify.Ask(ctx, d.cfg.KeepalivedPID, d.cfg.Failover.Group)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			deliver(n)
		case err.Error() != said:
			said = err.Error()
			d.log.Debug("the state of the group is not known yet", "reason", err)
		}
	}
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
