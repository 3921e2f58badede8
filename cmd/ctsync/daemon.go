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
