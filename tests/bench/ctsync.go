package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ctsync is the program of this project, with or without a key for its sync link.
type ctsync struct {
	nodes
	program string
	sealed  bool
	socket  [2]string
	hot     bool
	lab     *lab
}

func (c *ctsync) start(l *lab, hot bool) error {
	c.lab, c.hot = l, hot
	standby := "standby warm"
	if hot {
		standby = "standby hot"
	}
	key, err := c.key()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(l.folder, "ctsync-") // of its own: the role is remembered beside the control socket
	if err != nil {
		return err
	}
	for i, ns := range []string{l.a, l.b} {
		path := filepath.Join(folder, "n"+strconv.Itoa(i))
		c.socket[i] = path + ".ctl"
		lines := append([]string{
			"node-name n" + strconv.Itoa(i), "failover-mechanism cluster group G", "interface sync0", standby,
			"event-listen-queue-size 64", "sync-queue-size 8", "track-file " + path + ".ready",
		}, key...)
		if err := os.WriteFile(path+".conf", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		// With the priority that its package gives it. conntrackd asks for a real-time one by itself.
		if c.nodes[i], err = l.start(ns, "nice", "-n", "-10", c.program, "daemon", "--config", path+".conf", "--control", c.socket[i]); err != nil {
			return err
		}
	}
	if err := c.begin(); err != nil {
		return fmt.Errorf("%w: %s", err, c.nodes[0].tail())
	}
	return nil
}

// key is the line that names a new key file, of a sealed pair.
func (c *ctsync) key() ([]string, error) {
	if !c.sealed {
		return nil, nil
	}
	path := filepath.Join(c.lab.folder, "key")
	if _, err := os.Stat(path); err == nil {
		return []string{"key-file " + path}, nil
	}
	return []string{"key-file " + path}, run(c.program, "keygen", path)
}

func (c *ctsync) begin() error {
	if err := await("ctsync to answer", 5*time.Second, func() bool { _, err := c.status(0); return err == nil }); err != nil {
		return err
	}
	if err := c.ask(0, "cluster", "start", "G"); err != nil {
		return err
	}
	return await("both nodes to be in sync", 10*time.Second, func() bool {
		a, err := c.status(0)
		b, bad := c.status(1)
		return err == nil && bad == nil && a.Code == 0 && b.Code == 0
	})
}

func (c *ctsync) ask(node int, words ...string) error {
	return run(c.program, append(words, "--control", c.socket[node])...)
}

// ctsyncStatus is what is read of `ctsync status --output json`.
type ctsyncStatus struct {
	Code     int `json:"verdict_code"`
	Internal struct{ Active int }
	External struct{ Active int }
	Activity struct {
		TakeoverDuration   float64 `json:"takeover_duration"` // seconds
		TakeoverForwarding float64 `json:"takeover_forwarding"`
		TakeoverFailed     int     `json:"takeover_failed"`
	}
}

func (c *ctsync) status(node int) (s ctsyncStatus, err error) {
	out, err := exec.Command(c.program, "status", "--output", "json", "--control", c.socket[node]).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // the exit code is the verdict
		return s, err
	}
	if len(out) == 0 {
		return s, fmt.Errorf("bench: ctsync does not answer")
	}
	return s, json.Unmarshal(out, &s)
}

func (c *ctsync) own() (int, error) {
	s, err := c.status(0)
	return s.Internal.Active, err
}

func (c *ctsync) theirs() (int, error) {
	if c.hot {
		return count(c.lab.b)
	}
	s, err := c.status(1)
	return s.External.Active, err
}

// takeover ends the active node's turn, and makes the other the active one. Both times are the node's own.
func (c *ctsync) takeover() (took takeover, err error) {
	if err := c.ask(0, "cluster", "stop", "G"); err != nil {
		return took, err
	}
	if err := c.ask(1, "cluster", "start", "G"); err != nil {
		return took, err
	}
	s, err := c.status(1)
	if s.Activity.TakeoverFailed > 0 {
		return took, fmt.Errorf("bench: %d flows could not be taken over", s.Activity.TakeoverFailed)
	}
	seconds := func(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
	return takeover{forwarding: seconds(s.Activity.TakeoverForwarding), whole: seconds(s.Activity.TakeoverDuration)}, err
}
