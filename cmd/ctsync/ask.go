package main

import (
	"context"

	"github.com/spf13/cobra"

	"ctsync/internal/daemon"
)

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
