package main

import (
	"context"

	"github.com/spf13/cobra"

	"ctsync/internal/daemon"
)

func (p *program) daemon() *cobra.Command {
	return leaf("daemon", "run in the foreground until SIGTERM", none, func(ctx context.Context, _ []string) error {
		return daemon.Run(ctx, p.config, p.control)
	})
}

// notReady is ctsync.service's, and no word for an operator.
func (p *program) notReady() *cobra.Command {
	c := leaf("not-ready", "write the readiness of a node whose daemon has ended, as ctsync.service does", none,
		func(context.Context, []string) error { return daemon.NotReady(p.config, p.control) })
	c.Hidden = true
	return c
}
