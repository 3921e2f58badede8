package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"ctsync/internal/control"
	"ctsync/internal/hostcheck"
)

func (p *program) check() *cobra.Command {
	traits, with := false, ""
	c := leaf("check", "what is wrong with this host, before a failover shows it, and the remedy; exit code 0: nothing", none,
		func(ctx context.Context, _ []string) error { return p.checkHost(ctx, traits, with) })
	c.Flags().BoolVar(&traits, "traits", false, "print what the nodes must have alike, for --with on another one, instead of findings")
	c.Flags().StringVar(&with, "with", "", "compare with another node's --traits too: a `FILE`, or - for standard input")
	c.Example = "  ssh fw-b ctsync check --traits | ctsync check --with -"
	return c
}

type findingJSON struct {
	ID     string `json:"id"`    // stable
	Level  string `json:"level"` // problem or hint
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
	Where  string `json:"where"` // file:line, or empty
}

// checkHost fails if there is a problem; hints are told only.
func (p *program) checkHost(ctx context.Context, traits bool, with string) error {
	facts := hostcheck.Gather(ctx, hostcheck.Sources{Config: p.config, Control: p.socket(), Status: p.statusJSON})
	if traits {
		return p.printJSON(hostcheck.TraitsOf(ctx, facts, versionText()))
	}
	found := hostcheck.Examine(facts)
	if with != "" {
		other, err := readTraits(with)
		if err != nil {
			return err
		}
		found = append(found, hostcheck.Compare(hostcheck.TraitsOf(ctx, facts, versionText()), other)...)
	}
	if err := p.printFindings(found); err != nil {
		return err
	}
	if hostcheck.Problems(found) > 0 {
		return code(exitFailed)
	}
	return nil
}

func readTraits(path string) (*hostcheck.Traits, error) {
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	t := &hostcheck.Traits{}
	if err == nil {
		err = json.Unmarshal(text, t)
	}
	if err != nil || t.Node == "" {
		return nil, fmt.Errorf("check: --with %s: %w: give what `ctsync check --traits` prints on the other node", path, cmp.Or(err, errors.New("no node is named")))
	}
	return t, nil
}

// statusJSON is the daemon's answer to `status --output json`. Its exit code is the verdict, which is no error.
func (p *program) statusJSON(ctx context.Context) ([]byte, error) {
	var out, said bytes.Buffer
	if _, err := control.Call(ctx, p.socket(), control.Request{Verb: []string{"status"}, Output: "json"}, &out, &said); err != nil {
		return nil, err
	}
	if out.Len() == 0 {
		return nil, errors.New(strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}

func (p *program) printFindings(found []hostcheck.Finding) error {
	if p.json() {
		list := []findingJSON{}
		for _, f := range found {
			list = append(list, findingJSON{f.ID, f.Level.String(), f.Text, f.Remedy, f.Where})
		}
		return p.printJSON(list)
	}
	for _, f := range found {
		where := ""
		if f.Where != "" {
			where = " (" + f.Where + ")"
		}
		fmt.Fprintf(p.stdout, "%s [%s]: %s%s\n    do: %s\n", f.Level, f.ID, f.Text, where, f.Remedy)
	}
	if hostcheck.Problems(found) == 0 {
		fmt.Fprintln(p.stdout, "this host is ready")
	}
	return nil
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
