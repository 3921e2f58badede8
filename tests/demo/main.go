// Demo builds two firewalls, a client and a server in network namespaces, runs live conversations through the
// pair, breaks the master in every way that there is and tells what became of each conversation. It exits 1 if
// any was lost.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"ctsync/tests/lab"
)

// settings are the command line's.
type settings struct {
	daemon  string
	nat     string
	further int
	ipv6    bool
	plan    lab.Plan
}

func main() {
	s := settings{}
	program := flag.String("program", filepath.Join("build", "ctsync"), "the program under test")
	flag.StringVar(&s.daemon, "daemon", "ctsync", "what replicates: ctsync, or to compare: conntrackd, none")
	flag.StringVar(&s.nat, "nat", "snat,masquerade", "kinds of translation to run with, one after the other")
	flag.IntVar(&s.further, "further", 0, "idle connections in the master's table besides the live ones")
	flag.BoolVar(&s.ipv6, "ipv6", true, "every second conversation over IPv6, with VRRP instances of its own")
	flag.IntVar(&s.plan.TCP, "tcp", 200, "TCP conversations that are mostly idle")
	flag.IntVar(&s.plan.Bulk, "bulk", 4, "TCP conversations that send all the time, both ways")
	flag.IntVar(&s.plan.UDP, "udp", 20, "UDP conversations")
	flag.IntVar(&s.plan.Ping, "ping", 10, "pings")
	flag.Parse()
	if path, err := filepath.Abs(*program); err == nil {
		os.Setenv("CTSYNC", path)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	d := newDemo(s)
	go func() {
		<-interrupted
		d.interrupt()
	}()
	if err := d.run(); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

// kind is the daemon that the command line names.
func (s *settings) kind() (lab.Kind, error) {
	switch s.daemon {
	case "ctsync":
		return lab.Ctsync(), nil
	case "conntrackd":
		return lab.Conntrackd, nil
	case "none":
		return lab.None, nil
	}
	return nil, fmt.Errorf("-daemon %s: one of ctsync, conntrackd, none", s.daemon)
}

// nats are the translations that the command line names.
func (s *settings) nats() ([]lab.NAT, error) {
	var nats []lab.NAT
	for word := range strings.SplitSeq(s.nat, ",") {
		switch word {
		case lab.SNAT.String():
			nats = append(nats, lab.SNAT)
		case lab.Masquerade.String():
			nats = append(nats, lab.Masquerade)
		default:
			return nil, fmt.Errorf("-nat %s: %s and %s, separated by commas", s.nat, lab.SNAT, lab.Masquerade)
		}
	}
	return nats, nil
}

var errLost = errors.New("connections were lost")
