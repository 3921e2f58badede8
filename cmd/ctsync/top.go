package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ctsync/internal/config"
	"ctsync/internal/top"
)

func (p *program) top() *cobra.Command {
	return leaf("top", "a live view of the daemon in a terminal; q ends it", none,
		func(ctx context.Context, _ []string) error { return p.runTop(ctx) })
}

var errNoTerminal = errors.New("top: this is no terminal: use `ctsync status`, or `ctsync status --output json` for a program")

func (p *program) runTop(ctx context.Context) error {
	out, ok := p.stdout.(*os.File)
	if p.json() || !ok || !terminal(out) || !terminal(os.Stdin) {
		return errNoTerminal
	}
	from := top.Sources{Status: p.topStatus}
	if p.socket() == config.Default().Control { // the journal is the service's, not that of another daemon
		from.Events = func(ctx context.Context, deliver func(top.Event)) error { return top.Follow(ctx, unit, deliver) }
	}
	return top.Run(ctx, from)
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (p *program) topStatus(ctx context.Context) (*top.Status, error) {
	answer, err := p.statusJSON(ctx)
	if err != nil {
		return nil, err
	}
	var st top.Status
	if err := json.Unmarshal(answer, &st); err != nil {
		return nil, fmt.Errorf("top: the daemon's answer: %w", err)
	}
	return &st, nil
}
