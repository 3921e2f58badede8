package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"

	"ctsync/engine"
	"ctsync/engine/wire"
	"ctsync/internal/config"
	native "ctsync/internal/journal"
	"ctsync/internal/rawio"
)

// settleTime is how long a changed file must be quiet: editors write in several steps.
const settleTime = 200 * time.Millisecond

// awaitReloads takes SIGHUP from now on: before systemd is told that the daemon is ready.
func (d *Daemon) awaitReloads() chan os.Signal {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// watchConfig applies the configuration again when the file changes and on SIGHUP. A broken file is refused
// with its faults, and the old configuration goes on; an unchanged one does nothing.
func (d *Daemon) watchConfig(ctx context.Context, hup chan os.Signal) error {
	defer signal.Stop(hup)
	events, faults, stop := d.watchFiles()
	defer stop()
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			_ = d.reload() // it is in the journal
		case answer := <-d.reloads:
			answer <- d.reload()
		case ev := <-events:
			if name := filepath.Clean(ev.Name); name == filepath.Clean(d.path) || name == filepath.Clean(d.cfg.KeyFile) {
				quiet.Reset(settleTime)
			}
		case err := <-faults:
			d.log.Warn("the configuration file may have changed unseen: use SIGHUP", "error", err)
		case <-quiet.C:
			_ = d.reload()
		}
	}
}

// watchFiles watches the folders of the configuration and of the keys, as editors put a new file in the place of the
// old one. The channels are nil where that is not possible.
func (d *Daemon) watchFiles() (chan fsnotify.Event, chan error, func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("the configuration file is not watched: use SIGHUP", "error", err)
		return nil, nil, func() {}
	}
	for _, path := range []string{d.path, d.cfg.KeyFile} {
		if path == "" {
			continue
		}
		if err := w.Add(filepath.Dir(path)); err != nil {
			d.log.Warn("a file is not watched: use SIGHUP", "file", path, "error", err)
		}
	}
	return w.Events, w.Errors, func() { w.Close() }
}

// appliedLive are the settings that take effect without a restart.
var appliedLive = []string{"accept-protocol", "ignore-address", "accept-tcp-state", "sync-after", "sync-after-packets", "log-level", "disable-syslog", "key-file", "seal"}

// reload applies the configuration again, and says why not.
func (d *Daemon) reload() error {
	tell(sd.SdNotifyReloading + fmt.Sprintf("\nMONOTONIC_USEC=%d", rawio.Boottime().UnixMicro()))
	defer tell(sd.SdNotifyReady)
	next, err := load(d.path)
	if err != nil {
		d.refuse("the configuration is refused, the old one goes on", err)
		return err
	}
	next.Control = d.cfg.Control
	changed := d.cfg.Changed(next)
	if err := d.reloadKeys(next); err != nil {
		d.refuse("the keys are refused, the old ones go on", err)
		return err
	}
	d.refused = refusal{}
	if len(changed) == 0 {
		return nil
	}
	d.apply(next)
	d.log.Info("configuration read again", native.Key, native.Configured, "changed", strings.Join(changed, ", "))
	restart := slices.DeleteFunc(changed, func(s string) bool { return slices.Contains(appliedLive, s) })
	if len(restart) > 0 {
		d.log.Warn("changed settings take effect at the next start: systemctl restart ctsync", native.Key, native.RestartNeeded, "settings", strings.Join(restart, ", "))
	}
	return nil
}

// refusal is what was refused last, and when that was told.
type refusal struct {
	faults string
	at     time.Time
}

// sameFaults is for how long the same faults are not told again: the daemon sees a changed file itself, and the operator who
// changed it asks for a reload.
const sameFaults = 10 * time.Second

// refuse tells the faults, but not twice for one change.
func (d *Daemon) refuse(what string, err error) {
	if d.refused.faults == err.Error() && time.Since(d.refused.at) < sameFaults {
		return
	}
	d.refused = refusal{err.Error(), time.Now()}
	refused(d.log, what, err)
}

// reloaded has the configuration read again, and answers when it is in force or refused.
func (d *Daemon) reloaded(c *call) int {
	answer := make(chan error, 1)
	select {
	case d.reloads <- answer:
	case <-c.ctx.Done():
		return exitFailed
	}
	if err := <-answer; err != nil {
		return c.failed("refused, the old configuration goes on:\n%v", err)
	}
	return exitOK
}

// apply takes over what can be applied; the rest of the configuration stays, so that it is named again.
func (d *Daemon) apply(next config.Config) {
	d.cfg.AcceptProtocol, d.cfg.IgnoreAddress = next.AcceptProtocol, next.IgnoreAddress
	d.cfg.AcceptTCPState, d.cfg.SyncAfter, d.cfg.SyncAfterPackets = next.AcceptTCPState, next.SyncAfter, next.SyncAfterPackets
	d.cfg.LogLevel, d.cfg.DisableSyslog = next.LogLevel, next.DisableSyslog
	f := d.filter(&d.cfg)
	d.level.Set(next.LogLevel)
	d.loop.step(&engine.Filter{Filter: f})
}

// reloadKeys reads the key file of next again, which may have changed though its name has not.
func (d *Daemon) reloadKeys(next config.Config) error {
	if next.KeyFile == "" && d.cfg.KeyFile == "" {
		return nil
	}
	var keys []wire.Key
	if next.KeyFile != "" {
		var err error
		if keys, err = readKeys(next.KeyFile); err != nil {
			return err
		}
	}
	d.cfg.KeyFile, d.cfg.Permissive = next.KeyFile, next.Permissive
	d.loop.step(&engine.Keys{Keys: keys, Permissive: next.Permissive})
	return nil
}
