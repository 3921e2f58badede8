package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"ctsync/engine"
	"ctsync/internal/config"
	"ctsync/internal/control"
	"ctsync/notify"
	"ctsync/vrrp"
)

// AskKeepalived has keepalived tell the group's state and hands it to the daemon. It is
// for root, right after the start of a daemon that is not: keepalived's process takes signals from no other, and
// the FIFO has nothing to read until the next change. socket is the daemon's if not the configured one. The
// exit code is that of the daemon's answer; where keepalived does not run there is nothing to tell, which is no error.
func AskKeepalived(ctx context.Context, configPath, socket string, stdout, stderr io.Writer) (exit int, err error) {
	cfg, err := load(configPath)
	if err != nil {
		return exitFailed, err
	}
	if cfg.Failover.Mechanism != config.VRRP {
		return exitOK, nil
	}
	n, err := askPatiently(ctx, &cfg)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrProcessDone) {
		return exitOK, nil
	}
	if err != nil {
		fmt.Fprintln(stdout, err)
		return exitOK, nil
	}
	if socket == "" {
		socket = cfg.Control
	}
	return control.Call(ctx, socket, control.Request{Verb: []string{"asked", n.Name, n.State.String()}}, stdout, stderr)
}

// TakeFIFO makes the notify FIFO the daemon's where keepalived has made it as root. It is for root, before the start of a daemon that
// is not.
func TakeFIFO(configPath string, stdout io.Writer) error {
	cfg, err := load(configPath)
	if err != nil || cfg.Failover.Mechanism != config.VRRP || cfg.NotifyFIFO == "" {
		return err
	}
	taken, err := notify.TakeFIFO(cfg.NotifyFIFO)
	if taken {
		fmt.Fprintf(stdout, "keepalived was started first and made the FIFO %s for itself: it is this service's now. Name the owner in keepalived.conf: `ctsync keepalived print`\n", cfg.NotifyFIFO)
	}
	return err
}

// askFor is how long a keepalived is asked that has just been started, and must not be disturbed yet.
const askFor = 4 * time.Second

func askPatiently(ctx context.Context, cfg *config.Config) (vrrp.Notice, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	for {
		n, err := notify.Ask(ctx, cfg.KeepalivedPID, cfg.Failover.Group)
		if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrProcessDone) || !sleep(ctx, askAfter) {
			return n, err
		}
	}
}

// asked delivers what AskKeepalived found: the state at that moment, which is no driver that could disagree later.
func (d *Daemon) asked(c *call) int {
	if d.cfg.Failover.Mechanism != config.VRRP || len(c.rest) != 2 {
		return c.failed("asked: want a sync group's name and its state, and failover-mechanism vrrp")
	}
	s, ok := vrrp.ParseState(c.rest[1])
	if !ok {
		return c.failed("asked: %q is no state of keepalived's", c.rest[1])
	}
	d.loop.step(&engine.Notice{Notice: vrrp.Notice{Source: vrrp.SourceProcess, Kind: vrrp.Group, Name: c.rest[0], State: s}})
	return exitOK
}
