package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// node is one ctsync daemon in a namespace, with what it takes to ask it and to start it anew.
type node struct {
	*process
	lab               *lab
	ns, program, base string // base: what its files' names begin with
}

// newNode writes the configuration of a daemon and starts it. Its files are in folder.
func newNode(l *lab, ns, program, folder, name string, settings ...string) (*node, error) {
	n := &node{lab: l, ns: ns, program: program, base: filepath.Join(folder, name)}
	lines := append([]string{
		"node-name " + name, "failover-mechanism cluster group G", "event-listen-queue-size 64", "sync-queue-size 8",
		"track-file " + n.readyFile(),
	}, settings...)
	if err := os.WriteFile(n.base+".conf", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return n, n.start()
}

// running is the daemon, nil before it was started.
func (n *node) running() *process {
	if n == nil {
		return nil
	}
	return n.process
}

func (n *node) control() string   { return n.base + ".ctl" }
func (n *node) readyFile() string { return n.base + ".ready" }

// start starts the daemon, with the priority that its package gives it. conntrackd asks for a real-time one by itself.
func (n *node) start() (err error) {
	n.process, err = n.lab.start(n.ns, "nice", "-n", "-10", n.program, "daemon", "--config", n.base+".conf", "--control", n.control())
	return err
}

// ready says what its readiness file does. Reading it disturbs nobody.
func (n *node) ready() bool {
	b, err := os.ReadFile(n.readyFile())
	return err == nil && strings.TrimSpace(string(b)) == "100"
}

func (n *node) answers() error {
	return await("ctsync to answer", 5*time.Second, func() bool { _, err := n.status(); return err == nil })
}

// standBy tells it that it is a standby. Before that it says nothing of its readiness.
func (n *node) standBy() error {
	return await("ctsync to obey", 5*time.Second, func() bool { return n.ask("cluster", "stop", "G") == nil })
}

func (n *node) ask(words ...string) error {
	return run(n.program, append(words, "--control", n.control())...)
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

func (n *node) status() (s ctsyncStatus, err error) {
	out, err := exec.Command(n.program, "status", "--output", "json", "--control", n.control()).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // the exit code is the verdict
		return s, err
	}
	if len(out) == 0 {
		return s, fmt.Errorf("bench: ctsync does not answer")
	}
	return s, json.Unmarshal(out, &s)
}
