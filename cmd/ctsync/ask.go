package main

import (
	"context"

	"github.com/spf13/cobra"

	"ctsync/internal/daemon"
)

// takeFIFO is ctsync.service's, and no word for an operator. A configuration with faults is the daemon's to tell.
func (p *program) takeFIFO() *cobra.Command {
	c := leaf("take-fifo", "make root's notify FIFO the service's, as ctsync.service does before its start", none,
		func(context.Context, []string) error { return daemon.TakeFIFO(p.config, p.stdout) })
	c.Hidden = true
	return c
}

// giveRing is ctsync.service's, and no word for an operator.
func (p *program) giveRing() *cobra.Command {
	c := leaf("give-ring", "make the ring through which conntrack events come for the daemon, as ctsync.service does once after its start", none,
		func(ctx context.Context, _ []string) error {
			return exited(daemon.GiveRing(ctx, p.config, p.control, p.stdout, p.stderr))
		})
	c.Hidden = true
	return c
}

// askKeepalived is ctsync.service's, and no word for an operator.
func (p *program) askKeepalived() *cobra.Command {
	c := leaf("ask-keepalived", "have keepalived tell its state to the daemon, as ctsync.service does once after its start", none,
		func(ctx context.Context, _ []string) error {
			return exited(daemon.AskKeepalived(ctx, p.config, p.control, p.stdout, p.stderr))
		})
	c.Hidden = true
	return c
}

// exited is the error of a command whose answer had that exit code.
func exited(exit int, err error) error {
	if err == nil && exit != 0 {
		return code(exit)
	}
	return err
}
