package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ctsync/internal/config"
	"ctsync/internal/hostcheck"
	"ctsync/internal/keepalived"
)

// keepalived writes what keepalived must be told about ctsync.
func (p *program) keepalived() *cobra.Command {
	driver, readiness := "", false
	c := leaf("print", "write the lines for keepalived.conf that fit this configuration", none,
		func(context.Context, []string) error { return p.printKeepalived(driver, readiness) })
	c.Flags().StringVar(&driver, "driver", "", "fifo, dbus or scripts (default: the best one that ctsync.conf allows)")
	c.Flags().BoolVar(&readiness, "readiness", false, "follow readiness: a node that comes back takes over when it is in sync")
	c.Example = "  ctsync keepalived print > /etc/keepalived/ctsync.conf, and in keepalived.conf: include ctsync.conf"
	_ = c.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions(keepalived.Drivers(), cobra.ShellCompDirectiveNoFileComp))
	return group("keepalived", "keepalived's part", c)
}

func (p *program) printKeepalived(driver string, readiness bool) error {
	c, faults, err := config.Load(p.config)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		for _, f := range faults {
			fmt.Fprintln(p.stderr, f)
		}
		return code(exitFailed)
	}
	w, err := p.wanted(&c, driver)
	if err != nil {
		return err
	}
	if readiness {
		w.TrackFile = c.TrackFile
	}
	lines := w.Lines()
	if p.json() {
		return p.printJSON(struct {
			Driver string   `json:"driver"`
			Lines  []string `json:"lines"`
		}{string(w.Driver), lines})
	}
	_, err = fmt.Fprintln(p.stdout, strings.Join(lines, "\n"))
	return err
}

func (p *program) wanted(c *config.Config, driver string) (*keepalived.Wanted, error) {
	if c.Failover.Mechanism != config.VRRP {
		return nil, fmt.Errorf("keepalived print: failover-mechanism is %s: keepalived has no part in it", c.Failover)
	}
	w := &keepalived.Wanted{
		Driver: keepalived.Driver(driver), Group: c.Failover.Group, FIFO: c.NotifyFIFO, Owner: p.fifoOwner(c),
	}
	w.Program, w.Flags = p.script()
	switch {
	case driver == "":
		w.Driver = bestDriver(c)
	case driver == "fifo" && c.NotifyFIFO == "":
		return nil, fmt.Errorf("keepalived print: notify-fifo is off in %s: take the line out", p.config)
	case driver == "dbus" && !c.DBus:
		return nil, fmt.Errorf("keepalived print: dbus is off in %s: say `dbus on`", p.config)
	case driver != "fifo" && driver != "dbus" && driver != "scripts":
		return nil, usageError{fmt.Sprintf("--driver %s: %s are allowed", driver, strings.Join(keepalived.Drivers(), ", "))}
	}
	if tree, err := keepalived.Read(c.KeepalivedConfig); err == nil {
		w.Kept = tree.Group(w.Group)
		w.Members = tree.InstanceNames()
		w.Insecure = tree.InsecureScript() != nil
		if w.Kept != nil {
			w.Members = keepalived.Members(w.Kept)
		}
	}
	return w, nil
}

func bestDriver(c *config.Config) keepalived.Driver {
	switch {
	case c.NotifyFIFO != "":
		return keepalived.FIFO
	case c.DBus:
		return keepalived.DBus
	}
	return keepalived.Scripts
}

// fifoOwner is who owns the FIFO that is there, or will.
func (p *program) fifoOwner(c *config.Config) string {
	if owner := hostcheck.Owner(c.NotifyFIFO); owner != "" {
		return owner
	}
	return hostcheck.DaemonUser(p.socket())
}

// script is this program, and its flags where the configuration is another than the usual one.
func (p *program) script() (path, flags string) {
	path, err := os.Executable()
	if err != nil {
		path = "/usr/sbin/ctsync"
	}
	if p.config == defaultConfig {
		return path, ""
	}
	file, err := filepath.Abs(p.config)
	if err != nil {
		file = p.config
	}
	return path, "--config " + file
}
