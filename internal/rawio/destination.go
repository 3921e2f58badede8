package rawio

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Destination is where datagrams go, in the kernel's form.
type Destination struct {
	name   unix.RawSockaddrInet6 // or the shorter one of IPv4 in its memory
	length uint32
}

// NewDestination is to, over the interface with that index where the address means nothing without one (link-local IPv6).
func NewDestination(to netip.AddrPort, index uint32) (d Destination) {
	port := [2]byte{byte(to.Port() >> 8), byte(to.Port())}
	if to.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.name))
		v4.Family, v4.Port, v4.Addr = unix.AF_INET, *(*uint16)(unsafe.Pointer(&port)), to.Addr().As4()
		d.length = unix.SizeofSockaddrInet4
		return d
	}
	d.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: to.Addr().As16()}
	if to.Addr().IsLinkLocalUnicast() || to.Addr().IsLinkLocalMulticast() {
		d.name.Scope_id = index
	}
	d.length = unix.SizeofSockaddrInet6
	return d
}
