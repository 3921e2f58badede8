package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
	"ctsync/internal/show"
)

// enable is one line that makes the kernel track connections: it does so only where a rule asks for it.
const enable = `nft 'add table inet track; add chain inet track forward { type filter hook forward priority 0; }; ` +
	`add rule inet track forward ct state established accept'`

func (p *program) table() *cobra.Command {
	family := func(name string, l3 uint8) *cobra.Command {
		return leaf(name, "the kernel's table, without the daemon", none, func(ctx context.Context, _ []string) error {
			return p.listTable(ctx, l3)
		})
	}
	return group("table", "the kernel's connections", family("ipv4", flow.IPv4), family("ipv6", flow.IPv6))
}

// tablePiece is how many flows are read at once.
const tablePiece = 256

// listTable streams the kernel's table. An empty one is an error where nothing makes the kernel track.
func (p *program) listTable(ctx context.Context, l3 uint8) error {
	listing := show.Table(p.stdout, l3, p.json())
	err := kernel.Dump(make([]flow.Flow, tablePiece), func(flows []flow.Flow) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return listing.Rows(flows)
	})
	if e := listing.Close(); err == nil {
		err = e
	}
	var malformed kernel.MalformedError
	if errors.Is(err, kernel.ErrInterrupted) || errors.As(err, &malformed) {
		fmt.Fprintln(p.stderr, "ctsync: the listing is not whole:", err)
		return code(exitFailed)
	}
	if err != nil {
		return err
	}
	if listing.Count() == 0 && !tracks() {
		fmt.Fprintf(p.stderr, "\nWarning: Connection tracking is not enabled\n\nTo enable it, create a NAT or firewall rule, such as:\n%s\n", enable)
		return code(exitFailed)
	}
	return nil
}

// tracks is true where it cannot be told: a warning must not be wrong.
func tracks() bool {
	rules, err := kernel.ReadRuleset()
	return err != nil || rules.Tracks || rules.Unknown
}
