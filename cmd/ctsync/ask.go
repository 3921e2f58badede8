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

// askKeepalived is ctsync.service's, and no word for an operator.
func (p *program) askKeepalived() *cobra.Command {
	c := leaf("ask-keepalived", "have keepalived tell its state to the daemon, as ctsync.service does once after its start", none,
		func(ctx context.Context, _ []string) error {
			exit, err := daemon.AskKeepalived(ctx, p.config, p.control, p.stdout, p.stderr)
			if err != nil {
				return err
			}
			if exit != 0 {
				return code(exit)
			}
			return nil
		})
	c.Hidden = true
	return c
}
