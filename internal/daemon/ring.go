package daemon

import (
	"context"
	"fmt"
	"io"

	"ctsync/internal/control"
	"ctsync/internal/kernel"
)

// GiveRing makes the ring through which conntrack events come and gives it to the daemon. It is for root, right after the start of a daemon that
// is not and cannot make it. socket is the daemon's if not the configured one. The exit code is that of the daemon's answer.
func GiveRing(ctx context.Context, configPath, socket string, stdout, stderr io.Writer) (exit int, err error) {
	if socket == "" {
		cfg, err := load(configPath)
		if err != nil {
			return exitFailed, err
		}
		socket = cfg.Control
	}
	r, err := kernel.MakeRing()
	if err != nil {
		return exitFailed, fmt.Errorf("conntrack events go on to come through the socket's queue, which takes twice the CPU: %w", err)
	}
	defer r.Close()
	return control.Call(ctx, socket, control.Request{Verb: []string{"ring"}, Files: r.Files()}, stdout, stderr)
}

// giveRing takes what GiveRing gives. Who could give another could have the daemon hear of connections that are none.
func (d *Daemon) giveRing(c *call) int {
	if !c.root {
		return c.failed("ring: only root may give one")
	}
	files := c.files
	c.files = nil
	r, err := kernel.RingOf(files)
	if err != nil {
		return c.failed("ring: %v", err)
	}
	if d.kernel.events.Stats().Ring {
		r.Close()
		return exitOK
	}
	if err := d.kernel.events.UseRing(r); err != nil {
		return c.failed("ring: %v", err)
	}
	d.log.Info("conntrack events come through a ring")
	return exitOK
}
