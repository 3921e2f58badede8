package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Ctsync is the daemon under test, with lines of configuration that add to the usual ones or, where they set the
// same, replace them. The program is the one that the
// environment's CTSYNC names, else build/ctsync of this checkout: see `make build`.
func Ctsync(lines ...string) Kind {
	return func(r *Router) Daemon {
		c := &ctsync{
			router:  r,
			lines:   lines,
			drivers: r.lab.options.Drivers,
			program: os.Getenv("CTSYNC"),
			config:  filepath.Join(r.Folder, "ctsync.conf"),
			control: filepath.Join(r.Folder, "control"),
			fifo:    filepath.Join(r.Folder, "notify.fifo"),
			ready:   filepath.Join(r.Folder, "ready"),
		}
		if c.drivers == (Drivers{}) {
			c.drivers.FIFO = true
		}
		if c.program == "" {
			c.program = filepath.Join(moduleRoot(), "build", "ctsync")
		}
		return c
	}
}

type ctsync struct {
	router                                *Router
	lines                                 []string
	drivers                               Drivers
	program, config, control, fifo, ready string
	process                               *Process
}

// moduleRoot is the folder of go.mod at or above the working directory.
func moduleRoot() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// Config is the router's configuration.
func (c *ctsync) Config() string {
	lines := []string{
		"node-name " + c.router.Name,
		"failover-mechanism vrrp sync-group " + Group,
		"track-file " + c.ready,
		"event-listen-queue-size 64",
	}
	for _, link := range c.router.Syncs() {
		lines = append(lines, "interface "+link)
	}
	fifo, dbus := "off", "off"
	if c.drivers.FIFO {
		fifo = c.fifo
	}
	if c.drivers.DBus {
		dbus = "on"
	}
	lines = append(lines, "notify-fifo "+fifo, "dbus "+dbus)
	return strings.Join(append(c.without(lines), c.lines...), "\n") + "\n"
}

// without leaves out what the lines of our own set.
func (c *ctsync) without(lines []string) []string {
	setting := func(line string) string {
		word, _, _ := strings.Cut(line, " ")
		return word
	}
	return slices.DeleteFunc(lines, func(line string) bool {
		return slices.ContainsFunc(c.lines, func(own string) bool { return setting(own) == setting(line) })
	})
}

func (c *ctsync) Name() string      { return "ctsync" }
func (c *ctsync) Process() *Process { return c.process }

func (c *ctsync) Start() error {
	if _, err := exec.LookPath(c.program); err != nil {
		return fmt.Errorf("lab: the program under test: %w: run make build, or set CTSYNC to it", err)
	}
	if err := os.WriteFile(c.config, []byte(c.Config()), 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	var err error
	if c.process, err = c.router.start(c.router.busEnv(), c.program, "daemon", "--config", c.config, "--control", c.control); err != nil {
		return err
	}
	err = waitFor("ctsync to answer", 10*time.Second, func() bool { return c.Statistics() != "" || !c.process.Alive() })
	if err != nil || !c.process.Alive() {
		return fmt.Errorf("lab: ctsync on %s does not run:%s", c.router.Name, c.process.Tail(20))
	}
	return nil
}

func (c *ctsync) Stop() error { return c.process.Stop(10 * time.Second) }
func (c *ctsync) Kill9()      { c.process.Kill9() }

// Ask runs one of the program's commands against the router's daemon.
func (c *ctsync) Ask(words ...string) (string, error) {
	return c.router.Run(c.program, append(words, "--control", c.control)...)
}

// Ask is a command to the router's ctsync; an error where another daemon runs.
func (r *Router) Ask(words ...string) (string, error) {
	c, ok := r.Daemon.(interface {
		Ask(words ...string) (string, error)
	})
	if !ok {
		return "", fmt.Errorf("lab: %s runs %s, not ctsync", r.Name, r.Daemon.Name())
	}
	return c.Ask(words...)
}

func (c *ctsync) Statistics() string {
	out, err := c.Ask("show", "conntrack-sync", "statistics")
	if err != nil {
		return ""
	}
	return out
}

// Synced asks for the verdict: status exits 0 when everything is in sync.
func (c *ctsync) Synced() bool {
	_, err := c.Ask("status")
	return err == nil
}

func (c *ctsync) Hooks() Hooks {
	h := Hooks{DBus: c.drivers.DBus, TrackFile: c.ready}
	if c.drivers.FIFO {
		h.FIFO = c.fifo
	}
	if c.drivers.Script {
		notify := func(state, arg string) string {
			return fmt.Sprintf("%s \"%s notify GROUP %s %s --control %s\"", state, c.program, Group, arg, c.control)
		}
		h.Group = []string{
			notify("notify_master", "MASTER"), notify("notify_backup", "BACKUP"),
			notify("notify_fault", "FAULT"), notify("notify_stop", "STOP"),
		}
	}
	return h
}

// Milestone reads the journal's line of a role change.
func (c *ctsync) Milestone(l Line) Step {
	switch {
	case strings.Contains(l.Text, "role: taking over"):
		return Noticed
	case strings.Contains(l.Text, "role: active"):
		return ReadyToForward
	}
	return NoStep
}
