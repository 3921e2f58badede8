package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Host is what CheckHost compares a configuration with.
type Host struct{ Interfaces []Interface }

// Interface is one network interface of the host.
type Interface struct {
	Name      string
	Multicast bool // IFF_MULTICAST
	Addrs     []netip.Addr
}

// ThisHost reads the interfaces of the network namespace that the caller is in.
func ThisHost() (Host, error) {
	found, err := net.Interfaces()
	if err != nil {
		return Host{}, fmt.Errorf("config: list interfaces: %w", err)
	}
	var h Host
	for _, i := range found {
		addrs, err := i.Addrs()
		if err != nil {
			continue // gone since it was listed: CheckHost says that it has no address
		}
		known := Interface{Name: i.Name, Multicast: i.Flags&net.FlagMulticast != 0}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				ip, _ := netip.AddrFromSlice(n.IP)
				known.Addrs = append(known.Addrs, ip.Unmap())
			}
		}
		h.Interfaces = append(h.Interfaces, known)
	}
	return h, nil
}

// CheckHost tells what the host lacks for the configuration to work: interfaces, their addresses, and the
// listen-addresses on them. The faults may be cured later without a new configuration, so none of them need
// keep a daemon from starting.
func (c Config) CheckHost(h Host) (faults []Fault) {
	for _, l := range c.Links {
		faults = append(faults, c.checkLink(h, l)...)
	}
	for _, a := range c.ListenAddress {
		faults = append(faults, c.checkListen(h, a)...)
	}
	sortFaults(faults)
	return faults
}

func (c Config) checkLink(h Host, l Link) (faults []Fault) {
	what := "interface " + l.Interface
	at := slices.IndexFunc(h.Interfaces, func(i Interface) bool { return i.Name == l.Interface })
	if at < 0 {
		return []Fault{c.hostFault(what, l.Interface, "there is no such interface", strings.Join(h.names(), ", "))}
	}
	i := h.Interfaces[at]
	if len(l.Peers) == 0 && c.MulticastGroup.IsValid() && !i.Multicast {
		faults = append(faults, c.hostFault(what, l.Interface, "cannot multicast: give it a peer", "an interface with the MULTICAST flag, or interface "+l.Interface+" peer ADDRESS"))
	}
	wanted := l.Peers
	if len(wanted) == 0 {
		wanted = []netip.Addr{c.MulticastGroup}
	}
	for _, remote := range wanted {
		if remote.IsValid() && !slices.ContainsFunc(i.Addrs, func(a netip.Addr) bool { return a.Is4() == remote.Is4() }) {
			faults = append(faults, c.hostFault(what, l.Interface,
				fmt.Sprintf("has no %s address to reach %v from", family(remote), remote), "an interface with an "+family(remote)+" address"))
		}
		if slices.Contains(h.addresses(), remote) {
			faults = append(faults, c.hostFault(what+" peer "+remote.String(), remote.String(),
				"is an address of this host: a node is not its own peer", allowedPeer))
		}
	}
	return faults
}

// checkListen: an address of an interface that is no sync link would be accepted by the kernel, and nothing
// would ever arrive.
func (c Config) checkListen(h Host, a netip.Addr) []Fault {
	what := "listen-address " + a.String()
	linked := func(name string) bool {
		return slices.ContainsFunc(c.Links, func(l Link) bool { return l.Interface == name })
	}
	var allowed, others []string
	for _, i := range h.Interfaces {
		has := slices.Contains(i.Addrs, a)
		switch {
		case has && linked(i.Name):
			return nil
		case has:
			others = append(others, i.Name)
		case linked(i.Name):
			for _, own := range i.Addrs {
				allowed = append(allowed, own.String())
			}
		}
	}
	problem := "no interface of this host has the address"
	if len(others) > 0 {
		problem = "belongs to " + strings.Join(others, ", ") + ", which is no sync interface"
	}
	return []Fault{c.hostFault(what, a.String(), problem, strings.Join(allowed, ", "))}
}

// KeyFault is the fault that the key file is not as it must be.
func (c Config) KeyFault(err error) Fault {
	problem := strings.TrimLeft(strings.TrimPrefix(err.Error(), "key-file"), ": ")
	return c.hostFault("key-file", "key-file", problem, "")
}

func (c Config) hostFault(what, word, problem, allowed string) Fault {
	return Fault{File: c.from.file, Line: c.from.lines[what], Word: word, Problem: problem, Allowed: allowed}
}

func (h Host) names() (names []string) {
	for _, i := range h.Interfaces {
		names = append(names, i.Name)
	}
	return names
}

func (h Host) addresses() (addrs []netip.Addr) {
	for _, i := range h.Interfaces {
		addrs = append(addrs, i.Addrs...)
	}
	return addrs
}
