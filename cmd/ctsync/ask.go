package main

import (
	"context"
	"io"

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
	return p.afterStart("give-ring", "make the ring through which conntrack events come for the daemon, as ctsync.service does once after its start", daemon.GiveRing)
}

// askKeepalived is ctsync.service's, and no word for an operator.
func (p *program) askKeepalived() *cobra.Command {
	return p.afterStart("ask-keepalived", "have keepalived tell its state to the daemon, as ctsync.service does once after its start", daemon.AskKeepalived)
}

// afterStart is a command with which root helps a daemon that has just started.
func (p *program) afterStart(use, short string, do func(ctx context.Context, configPath, socket string, stdout, stderr io.Writer) (int, error)) *cobra.Command {
	c := leaf(use, short, none, func(ctx context.Context, _ []string) error {
		return exited(do(ctx, p.config, p.control, p.stdout, p.stderr))
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
