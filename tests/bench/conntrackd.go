package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// conntrackd is Debian's, in its reliable mode over multicast, with its defaults but for sizes: a table that holds
// all, and the same queues as the other program's.
type conntrackd struct {
	nodes
	socket [2]string
	hot    bool
	lab    *lab
}

const conntrackdConfig = `Sync {
	Mode FTFW {
		DisableExternalCache %[3]s
	}
	Multicast {
		IPv4_address 225.0.0.50
		Group 3780
		IPv4_interface 10.200.0.%[1]d
		Interface sync0
		SndSocketBuffer 8388608
		RcvSocketBuffer 8388608
		Checksum on
	}
}
General {
	HashSize 262144
	HashLimit 4194304
	LogFile off
	Syslog off
	Systemd off
	LockFile %[2]s.lock
	UNIX {
		Path %[2]s
	}
	NetlinkBufferSize 67108864
	NetlinkBufferSizeMaxGrowth 67108864
	Filter From Userspace {
		Protocol Accept {
			TCP
			UDP
			ICMP
			IPv6-ICMP
		}
		Address Ignore {
			IPv4_address 127.0.0.1
			IPv4_address 10.200.0.1
			IPv4_address 10.200.0.2
		}
	}
}
`

func (c *conntrackd) start(l *lab, hot bool) error {
	c.lab, c.hot = l, hot
	direct := "no"
	if hot {
		direct = "yes"
	}
	for i, ns := range []string{l.a, l.b} {
		c.socket[i] = filepath.Join(l.folder, "conntrackd-"+strconv.Itoa(i))
		config := c.socket[i] + ".conf"
		text := fmt.Sprintf(conntrackdConfig, i+1, c.socket[i], direct)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return err
		}
		os.Remove(c.socket[i] + ".lock")
		var err error
		if c.nodes[i], err = l.start(ns, "conntrackd", "-C", config); err != nil {
			return err
		}
	}
	for i := range c.nodes {
		if err := await("conntrackd to answer", 5*time.Second, func() bool { _, err := c.ask(i, statistics); return err == nil }); err != nil {
			return fmt.Errorf("%w: %s", err, c.nodes[i].tail())
		}
	}
	time.Sleep(2500 * time.Millisecond) // the nodes greet each other once a second
	return nil
}

// Requests of its control socket: a number in the host's order, answered by text up to the end.
const (
	commit     = 18
	statistics = 21
)

func (c *conntrackd) ask(node int, request uint32) (string, error) {
	conn, err := net.Dial("unix", c.socket[node])
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(binary.NativeEndian.AppendUint32(nil, request)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return string(text), err
}

var activeEntries = regexp.MustCompile(`cache (internal|external):\s+current active connections:\s+(\d+)`)

func (c *conntrackd) cache(node int, which string) (int, error) {
	text, err := c.ask(node, statistics)
	if err != nil {
		return 0, err
	}
	for _, m := range activeEntries.FindAllStringSubmatch(text, -1) {
		if m[1] == which {
			return number(m[2]), nil
		}
	}
	return 0, fmt.Errorf("bench: conntrackd told of no %s cache: %s", which, text)
}

func (c *conntrackd) own() (int, error) { return c.cache(0, "internal") }

func (c *conntrackd) theirs() (int, error) {
	if c.hot {
		return count(c.lab.b)
	}
	return c.cache(1, "external")
}

// takeover commits; the node forwards when that is done, whatever else a script then does.
func (c *conntrackd) takeover() (takeover, error) {
	began := time.Now()
	_, err := c.ask(1, commit)
	took := time.Since(began)
	return takeover{forwarding: took, whole: took}, err
}
