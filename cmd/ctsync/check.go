package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"ctsync/engine/flow"
	"ctsync/internal/config"
	"ctsync/internal/kernel"
)

func (p *program) check() *cobra.Command {
	return leaf("check", "what is wrong with this host, and the remedy; exit code 0: nothing", none,
		func(context.Context, []string) error { return p.checkHost() })
}

type findingJSON struct {
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// checkHost looks at what replication needs of the kernel: with the buffer of the configuration, or where
// that cannot be read of the default one, and with the flows that are there.
func (p *program) checkHost() error {
	c, _, err := config.Load(p.config)
	if err != nil {
		c = config.Default()
	}
	found := kernel.Check(kernel.Needs{ReceiveBuffer: c.EventQueue, Translated: translated()})
	if err := p.printFindings(found); err != nil {
		return err
	}
	if len(found) > 0 {
		return code(exitFailed)
	}
	return nil
}

func (p *program) printFindings(found []kernel.Finding) error {
	if p.json() {
		list := []findingJSON{}
		for _, f := range found {
			list = append(list, findingJSON{f.Text, f.Remedy})
		}
		return p.printJSON(list)
	}
	for _, f := range found {
		fmt.Fprintln(p.stdout, f)
	}
	if len(found) == 0 {
		fmt.Fprintln(p.stdout, "this host is ready")
	}
	return nil
}

// errEnough ends a dump.
var errEnough = errors.New("enough")

// translated are the families with flows that have NAT. What cannot be read is told by kernel.Check itself.
func translated() map[uint8]bool {
	families := map[uint8]bool{}
	_ = kernel.Dump(make([]flow.Flow, tablePiece), func(flows []flow.Flow) error {
		for i := range flows {
			f := &flows[i]
			if f.Status&(flow.SrcNAT|flow.DstNAT) != 0 {
				families[f.L3] = true
			}
		}
		if families[flow.IPv4] && families[flow.IPv6] {
			return errEnough
		}
		return nil
	})
	return families
}

// unit is the service that the package installs.
const unit = "ctsync.service"

// showLog is VyOS's `show log conntrack-sync`: the journal of this boot.
func (p *program) showLog() *cobra.Command {
	return group("log", "what the daemon said", leaf("conntrack-sync", "the daemon's journal since this boot", none,
		func(ctx context.Context, _ []string) error { return p.journal(ctx, "--boot") }))
}

// monitor is VyOS's `monitor log conntrack-sync`: the same, as it grows.
func (p *program) monitor() *cobra.Command {
	return group("monitor", "what happens", group("log", "what the daemon says", leaf("conntrack-sync",
		"the daemon's journal as it grows", none,
		func(ctx context.Context, _ []string) error { return p.journal(ctx, "--follow") })))
}

func (p *program) journal(ctx context.Context, how string) error {
	args := []string{"--unit", unit, how}
	if p.json() {
		args = append(args, "--output", "json")
	}
	cmd := exec.CommandContext(ctx, "journalctl", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, p.stdout, p.stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, &exit):
		return code(exitFailed)
	case err != nil:
		return fmt.Errorf("journal: %w: without systemd the daemon's messages are on its standard error", err)
	}
	return nil
}
