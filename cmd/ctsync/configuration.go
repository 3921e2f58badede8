package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ctsync/internal/config"
	"ctsync/internal/daemon"
	"ctsync/internal/hostcheck"
)

func (p *program) configuration() *cobra.Command {
	file := words{name: "one file", max: 1}
	noHost := false
	check := leaf("check [FILE]", "everything that is wrong with a configuration; exit code 0: nothing", file,
		func(_ context.Context, args []string) error { return p.checkConfig(p.file(args), !noHost) })
	check.Flags().BoolVar(&noHost, "no-host", false, "do not look at this host's interfaces and key file")
	show := leaf("show [FILE]", "the effective configuration, defaults included", file,
		func(_ context.Context, args []string) error { return p.showConfig(p.file(args)) })
	for _, c := range []*cobra.Command{check, show} {
		c.ValidArgsFunction = nil // files
	}
	return group("config", "check or show the configuration", check, show)
}

func (p *program) file(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return p.config
}

// checkedJSON is `config check --output json`.
type checkedJSON struct {
	File     string      `json:"file"`
	OK       bool        `json:"ok"`
	Faults   []faultJSON `json:"faults"`
	Warnings []string    `json:"warnings"`
}

type faultJSON struct {
	Line    int    `json:"line"` // from 1, 0: no single line
	Word    string `json:"word"`
	Problem string `json:"problem"`
	Allowed string `json:"allowed"`
}

func (p *program) checkConfig(path string, host bool) error {
	c, faults, err := config.Load(path)
	if err != nil {
		return err
	}
	if host && len(faults) == 0 {
		h, err := config.ThisHost()
		if err != nil {
			return err
		}
		faults = append(c.CheckHost(h), p.keyFaults(c)...)
	}
	var warnings []string
	if len(faults) == 0 {
		warnings = c.Warnings()
	}
	if err := p.printChecked(path, faults, warnings); err != nil {
		return err
	}
	if len(faults) > 0 {
		return code(exitFailed)
	}
	return nil
}

// keyFaults are those for which the daemon would refuse the key file, the rights of the service's user among them.
func (p *program) keyFaults(c config.Config) []config.Fault {
	if c.KeyFile == "" {
		return nil
	}
	if err := daemon.CheckKeyFile(c.KeyFile); err != nil {
		return []config.Fault{c.KeyFault(err)}
	}
	if os.Geteuid() != 0 {
		return nil // this user's own daemon is meant
	}
	var faults []config.Fault
	for _, f := range hostcheck.KeyOwner(c.KeyFile, hostcheck.DaemonUser(p.socket())) {
		faults = append(faults, c.KeyFault(fmt.Errorf("%s: %s", f.Text, f.Remedy)))
	}
	return faults
}

func (p *program) printChecked(path string, faults []config.Fault, warnings []string) error {
	if p.json() {
		j := checkedJSON{File: path, OK: len(faults) == 0, Faults: []faultJSON{}, Warnings: append([]string{}, warnings...)}
		for _, f := range faults {
			j.Faults = append(j.Faults, faultJSON{f.Line, f.Word, f.Problem, f.Allowed})
		}
		return p.printJSON(j)
	}
	for _, f := range faults {
		fmt.Fprintln(p.stderr, f)
	}
	for _, w := range warnings {
		fmt.Fprintln(p.stderr, "warning:", w)
	}
	if len(faults) == 0 {
		fmt.Fprintf(p.stdout, "%s: no faults\n", path)
	}
	return nil
}

func (p *program) showConfig(path string) error {
	c, faults, err := config.Load(path)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		for _, f := range faults {
			fmt.Fprintln(p.stderr, f)
		}
		return code(exitFailed)
	}
	if p.json() {
		return p.printJSON(struct {
			File  string   `json:"file"`
			Lines []string `json:"lines"`
		}{path, c.Lines()})
	}
	for _, line := range c.Lines() {
		fmt.Fprintln(p.stdout, line)
	}
	return nil
}

func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
