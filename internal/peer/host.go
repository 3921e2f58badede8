package peer

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// iface is what the host says about an interface. Index 0: there is none.
type iface struct {
	index   int
	up      bool // administratively
	running bool // up, and the lower layer carries
	mtu     int
	addrs   []netip.Addr // usable as a source, in the kernel's order
}

// readIface asks the kernel for the interface of this name.
func readIface(name string) (iface, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return iface{}, nil
	}
	if err != nil {
		return iface{}, err
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return iface{}, err
	}
	attrs := link.Attrs()
	return iface{
		index:   attrs.Index,
		up:      attrs.Flags&net.FlagUp != 0,
		running: attrs.Flags&net.FlagUp != 0 && attrs.Flags&net.FlagRunning != 0,
		mtu:     attrs.MTU,
		addrs:   usable(list),
	}, nil
}

// unusable are the flags of an IPv6 address that no socket may bind: not yet proven unique, or proven not to be.
const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

func usable(list []netlink.Addr) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range list {
		if a.Flags&unusable != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0 {
			continue
		}
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// source is the address of i that can talk to dest, and whether there is one: the first of listen that i has,
// or where listen is empty any of the family.
func (i *iface) source(dest netip.Addr, listen []netip.Addr) (netip.Addr, bool) {
	for _, a := range i.addrs {
		if a.Is4() == dest.Is4() && (len(listen) == 0 || contains(listen, a)) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func contains(addrs []netip.Addr, a netip.Addr) bool {
	for _, b := range addrs {
		if a == b {
			return true
		}
	}
	return false
}
