package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ctsync is the program of this project, with or without a key for its sync link.
type ctsync struct {
	program string
	sealed  bool
	node    [2]*node
	hot     bool
	lab     *lab
}

func (c *ctsync) active() *process  { return c.node[0].running() }
func (c *ctsync) standby() *process { return c.node[1].running() }

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
		settings := append([]string{"interface sync0", standby}, key...)
		if c.node[i], err = newNode(l, ns, c.program, folder, "n"+strconv.Itoa(i), settings...); err != nil {
			return err
		}
	}
	if err := c.begin(); err != nil {
		return fmt.Errorf("%w: %s", err, c.active().tail())
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
	if err := c.node[0].answers(); err != nil {
		return err
	}
	if err := c.node[0].ask("cluster", "start", "G"); err != nil {
		return err
	}
	return await("both nodes to be in sync", 10*time.Second, func() bool {
		a, err := c.node[0].status()
		b, bad := c.node[1].status()
		return err == nil && bad == nil && a.Code == 0 && b.Code == 0
	})
}

func (c *ctsync) own() (int, error) {
	s, err := c.node[0].status()
	return s.Internal.Active, err
}

func (c *ctsync) theirs() (int, error) {
	if c.hot {
		return count(c.lab.b)
	}
	s, err := c.node[1].status()
	return s.External.Active, err
}

// takeover ends the active node's turn, and makes the other the active one. Both times are the node's own.
func (c *ctsync) takeover() (took takeover, err error) {
	if err := c.node[0].ask("cluster", "stop", "G"); err != nil {
		return took, err
	}
	if err := c.node[1].ask("cluster", "start", "G"); err != nil {
		return took, err
	}
	s, err := c.node[1].status()
	if s.Activity.TakeoverFailed > 0 {
		return took, fmt.Errorf("bench: %d flows could not be taken over", s.Activity.TakeoverFailed)
	}
	seconds := func(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
	return takeover{forwarding: seconds(s.Activity.TakeoverForwarding), whole: seconds(s.Activity.TakeoverDuration)}, err
}
