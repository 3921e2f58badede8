package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"ctsync/tests/load"
)

// segment measures an active node with n standbys, all of them on one switch, by multicast and by unicast.
func (g *growth) segment(n int) error {
	nss, err := g.lab.segment(n + 1)
	if err != nil {
		return err
	}
	defer g.lab.removeSegment()
	for _, unicast := range []bool{false, true} {
		if err := g.among(nss, unicast); err != nil {
			return err
		}
	}
	return nil
}

// segmentAddress is that of node i on the switch.
func segmentAddress(i int) string { return "10.200.0." + strconv.Itoa(i+1) }

// among starts a daemon in each namespace, the first of them active, and gives it work.
func (g *growth) among(nss []string, unicast bool) error {
	folder, err := os.MkdirTemp(g.lab.folder, "segment-")
	if err != nil {
		return err
	}
	var ns []*node
	var ps []*process
	defer func() {
		for _, p := range ps {
			p.stop()
		}
	}()
	for i, name := range nss {
		if err := run("ip", "netns", "exec", name, "conntrack", "-F"); err != nil {
			return err
		}
		n, err := newNode(g.lab, name, g.program, folder, "n"+strconv.Itoa(i), append(links(len(nss), i, unicast), "standby warm")...)
		if err != nil {
			return err
		}
		ns, ps = append(ns, n), append(ps, n.process)
	}
	if err := ns[0].answers(); err != nil {
		return err
	}
	if err := ns[0].ask("cluster", "start", "G"); err != nil {
		return err
	}
	for _, n := range ns[1:] {
		if err := n.standBy(); err != nil {
			return err
		}
	}
	if err := allReady(ns); err != nil {
		return err
	}
	if err := g.share(ns, ps, unicast); err != nil || unicast {
		return err
	}
	last := ns[len(ns)-1]
	took, _, err := g.beginAnew(last, ps[0])
	ps[len(ps)-1] = last.process
	if err == nil {
		g.add(alongPeers, "sync", len(nss)-1, milliseconds(took))
	}
	return err
}

// links are the settings of node i of n.
func links(n, i int, unicast bool) (lines []string) {
	if !unicast {
		return []string{"interface sync0"}
	}
	for j := range n {
		if j != i {
			lines = append(lines, "interface sync0 peer "+segmentAddress(j))
		}
	}
	return lines
}

func allReady(ns []*node) error {
	return await("all nodes to be in sync", 20*time.Second, func() bool {
		for _, n := range ns {
			if !n.ready() {
				return false
			}
		}
		return true
	})
}

// share gives the active node flows, and takes its cost and the first standby's.
func (g *growth) share(ns []*node, ps []*process, unicast bool) error {
	peers, suffix := len(ns)-1, ""
	if unicast {
		suffix = "-unicast"
	}
	active, standby := ps[0].cpu(), ps[1].cpu()
	made, err := g.lab.generate(ns[0].ns, work{shape: "established", n: g.flows, rate: g.rate, batch: load.Burst})
	if err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	if err := allReady(ns); err != nil {
		return err
	}
	idleAgain(ps...)
	perEvent := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(made.Events) }
	g.add(alongPeers, "fill-active"+suffix, peers, perEvent(ps[0].cpu()-active))
	g.add(alongPeers, "fill-standby"+suffix, peers, perEvent(ps[1].cpu()-standby))
	for _, n := range ns[1:] {
		s, err := n.status()
		if err != nil || s.External.Active != g.flows {
			return fmt.Errorf("bench: %s has %d of %d flows (%v)", n.ns, s.External.Active, g.flows, err)
		}
	}
	if unicast {
		return nil
	}
	g.add(alongPeers, "rss-active", peers, float64(ps[0].rss())/1e6)
	g.add(alongPeers, "rss-standby", peers, float64(ps[1].rss())/1e6)
	active, standby = ps[0].cpu(), ps[1].cpu()
	time.Sleep(g.idle)
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / g.idle.Seconds() }
	g.add(alongPeers, "idle-active", peers, percent(ps[0].cpu()-active))
	g.add(alongPeers, "idle-standby", peers, percent(ps[1].cpu()-standby))
	return nil
}

// segment makes n namespaces with a sync link to one switch, which is a bridge in the outside.
func (l *lab) segment(n int) ([]string, error) {
	if err := run("ip", "-n", l.outside, "link", "add", "switch", "up", "type", "bridge", "mcast_snooping", "0"); err != nil {
		return nil, err
	}
	for i := range n {
		ns, port := l.outside+"-"+strconv.Itoa(i), "p"+strconv.Itoa(i)
		if err := run("ip", "netns", "add", ns); err != nil {
			return l.more, err
		}
		l.more = append(l.more, ns)
		if err := run("ip", "link", "add", "sync0", "netns", ns, "type", "veth", "peer", "name", port, "netns", l.outside); err != nil {
			return l.more, err
		}
		if err := run("ip", "-n", l.outside, "link", "set", port, "master", "switch", "up"); err != nil {
			return l.more, err
		}
		if err := run("ip", "-n", ns, "link", "set", "sync0", "up"); err != nil {
			return l.more, err
		}
		if err := l.router(ns, i+1); err != nil {
			return l.more, err
		}
	}
	return l.more, nil
}

// removeSegment deletes the cables first: those of a namespace go only some time after it.
func (l *lab) removeSegment() {
	for i, ns := range l.more {
		_ = run("ip", "-n", l.outside, "link", "delete", "p"+strconv.Itoa(i))
		_ = run("ip", "netns", "delete", ns)
	}
	l.more = nil
	_ = run("ip", "-n", l.outside, "link", "delete", "switch")
}
