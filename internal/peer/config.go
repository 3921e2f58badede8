package peer

import (
	"fmt"
	"net/netip"
)

// DefaultPort is the UDP port of a link that names none.
const DefaultPort = 3780

// DefaultGroup is the multicast group where Config.Group is the zero value.
var DefaultGroup = netip.AddrFrom4([4]byte{225, 0, 0, 50})

// maxInterfaceName is the longest interface name: IFNAMSIZ with its NUL is 16.
const maxInterfaceName = 15

// Config says which links there are.
type Config struct {
	Links  []Link
	Group  netip.Addr   // multicast group, IPv4 or IPv6; the zero value is DefaultGroup
	Port   uint16       // of links that name none; 0 is DefaultPort
	Listen []netip.Addr // unicast only: of these, a socket binds the one that its interface has

	SendBuffer, ReceiveBuffer int // bytes of each socket's buffers; 0 leaves the kernel's default

	// Log takes one line per change of a link. Nil drops them.
	Log func(format string, args ...any)
}

// Link is one way to the peers. Either all links are multicast or none is.
type Link struct {
	Interface string
	Peer      netip.Addr // the zero value: multicast
	Port      uint16     // of both ends; 0 is Config.Port
}

// withDefaults fills in what c left out and says what cannot work.
func (c Config) withDefaults() (Config, error) {
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if !c.Group.IsValid() {
		c.Group = DefaultGroup
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	c.Group = c.Group.Unmap().WithZone("")
	c.Listen = unmapped(c.Listen)
	c.Links = append([]Link(nil), c.Links...)
	for i := range c.Links {
		l := &c.Links[i]
		l.Peer = l.Peer.Unmap().WithZone("") // the interface is the zone
		if l.Port == 0 {
			l.Port = c.Port
		}
	}
	return c, c.check()
}

func unmapped(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		out[i] = a.Unmap().WithZone("")
	}
	return out
}

func (c *Config) check() error {
	if len(c.Links) == 0 {
		return fmt.Errorf("peer: no sync link: name at least one interface")
	}
	seen := map[Link]bool{}
	for _, l := range c.Links {
		if err := c.checkLink(l); err != nil {
			return err
		}
		if seen[l] {
			return fmt.Errorf("peer: interface %s is named twice for the same peer and port: remove one", l.Interface)
		}
		seen[l] = true
	}
	for _, a := range c.Listen {
		if !a.IsValid() || a.IsMulticast() || a.IsUnspecified() {
			return fmt.Errorf("peer: listen-address %s is not a unicast address: name an address of a sync interface", a)
		}
	}
	return nil
}

func (c *Config) checkLink(l Link) error {
	if l.Interface == "" || len(l.Interface) > maxInterfaceName {
		return fmt.Errorf("peer: %q is not an interface name: it has 1 to %d characters", l.Interface, maxInterfaceName)
	}
	if l.Peer.IsValid() != c.Links[0].Peer.IsValid() {
		return fmt.Errorf("peer: unicast and multicast cannot be mixed: give every interface a peer, or none")
	}
	if !l.Peer.IsValid() {
		if !c.Group.IsMulticast() {
			return fmt.Errorf("peer: mcast-group %s is not a multicast address: choose one of 224.0.0.0/4 or ff00::/8", c.Group)
		}
		return nil
	}
	if l.Peer.IsMulticast() || l.Peer.IsUnspecified() {
		return fmt.Errorf("peer: peer %s of interface %s is not a unicast address", l.Peer, l.Interface)
	}
	return nil
}
