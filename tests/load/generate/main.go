// Generate makes connection tracking work in the network namespace it is started in, and prints what it did as
// one line of JSON.
//
//	generate flows    -shape established -n 200000 -rate 60000
//	generate packets  -client c0,02:00:00:00:00:01 -server s0,02:00:00:00:00:02 -n 50000 -rate 20000
//	generate receive  -n 200000
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"ctsync/tests/load"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	kinds := map[string]func([]string) (load.Report, error){"flows": flows, "packets": packets, "receive": receive}
	if len(args) == 0 || kinds[args[0]] == nil {
		return fmt.Errorf("what to generate: flows, packets or receive, then -help")
	}
	r, err := kinds[args[0]](args[1:])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func flows(args []string) (load.Report, error) {
	var p load.Plan
	f := flag.NewFlagSet("flows", flag.ExitOnError)
	shape := f.String("shape", "established", "established, short, udp or mixed")
	f.IntVar(&p.First, "first", 0, "number of the first connection")
	f.IntVar(&p.Count, "n", 200000, "connections")
	f.IntVar(&p.Rate, "rate", 60000, "events/s, 0: as fast as it goes")
	f.IntVar(&p.Batch, "batch", 0, "operations at a time, 0: one at a fixed rate, 128 as fast as it goes")
	f.IntVar(&p.Gap, "gap", 1000, "connections between two steps of one")
	f.BoolVar(&p.Delete, "delete", false, "delete them instead")
	f.Parse(args)
	var err error
	if p.Shape, err = load.ShapeOf(*shape); err != nil {
		return load.Report{}, err
	}
	return load.Run(p)
}

func packets(args []string) (load.Report, error) {
	var p load.PacketPlan
	f := flag.NewFlagSet("packets", flag.ExitOnError)
	f.Func("client", "interface,hardware address of the router: the clients' side", wire(&p.Client))
	f.Func("server", "the same of the servers' side", wire(&p.Server))
	f.IntVar(&p.First, "first", 0, "number of the first connection")
	f.IntVar(&p.Count, "n", 50000, "connections")
	f.IntVar(&p.Rate, "rate", 20000, "connections/s, 0: as fast as it goes")
	f.Parse(args)
	return load.Packets(p)
}

func wire(w *load.Wire) func(string) error {
	return func(s string) (err error) {
		name, mac, _ := strings.Cut(s, ",")
		w.Interface = name
		w.Router, err = net.ParseMAC(mac)
		return err
	}
}

func receive(args []string) (load.Report, error) {
	f := flag.NewFlagSet("receive", flag.ExitOnError)
	n := f.Int("n", 200000, "events")
	buffer := f.Int("buffer", 64<<20, "bytes of queue")
	ring := f.Bool("ring", true, "through a BPF ring, else through the socket's queue alone")
	limit := f.Duration("limit", 3*time.Second, "how long to wait for the next one")
	f.Parse(args)
	return load.Receive(*n, *buffer, *ring, *limit, func() { fmt.Fprintln(os.Stderr, "ready") })
}
