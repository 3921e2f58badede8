package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ctsync/engine"
	"ctsync/internal/control"
)

// waitSynced is made for keepalived's startup_script, so it also waits for the daemon itself.
func (p *program) waitSynced() *cobra.Command {
	timeout := time.Minute
	c := leaf("wait-synced", "wait until everything is in sync; exit code 0, or that of status at the timeout", none,
		func(ctx context.Context, _ []string) error { return p.wait(ctx, timeout) })
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long at most; 0 for ever")
	c.Example = "  in keepalived.conf: startup_script \"/usr/sbin/ctsync wait-synced --timeout 30s\""
	return c
}

// retry is how often a daemon that is not there is asked.
const retry = 200 * time.Millisecond

func (p *program) wait(ctx context.Context, timeout time.Duration) error {
	if timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	for {
		exit, err := control.Call(ctx, p.socket(), control.Request{Verb: []string{"wait-synced"}, Output: p.output}, p.stdout, p.stderr)
		switch {
		case err == nil && exit == 0:
			return nil
		case err == nil:
			return code(exit)
		case ctx.Err() != nil:
			return p.gaveUp(timeout)
		case exit != control.ExitNotRunning:
			return err
		}
		select {
		case <-ctx.Done():
			fmt.Fprintln(p.stderr, "ctsync:", err)
			return code(control.ExitNotRunning)
		case <-time.After(retry):
		}
	}
}

// gaveUp says how things stand at the timeout.
func (p *program) gaveUp(timeout time.Duration) error {
	fmt.Fprintf(p.stderr, "ctsync: not in sync within %s: see ctsync status\n", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	exit, err := control.Call(ctx, p.socket(), control.Request{Verb: []string{"status"}, Output: p.output}, io.Discard, io.Discard)
	if errors.Is(err, control.ErrNotRunning) {
		return code(control.ExitNotRunning)
	}
	if exit == 0 || err != nil {
		return code(engine.Syncing)
	}
	return code(exit)
}
