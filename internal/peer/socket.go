package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"ctsync/internal/rawio"
)

// binding is what a socket was opened with: when it differs from what the host has now, the socket is dead or
// wrong and a new one is needed.
type binding struct {
	index  int        // of the interface: a re-created one has another
	listen netip.Addr // the bound address
	source netip.Addr // what the kernel will take as the source, for the operator
}

// socket is one interface and port. Links of one interface to several peers share it.
type socket struct {
	*rawio.Socket
	bound binding

	counting sync.Mutex
	dropped  uint32 // of the kernel's counter, what newDrops has told
}

// openSocket makes a socket on interface name. group is the zero value in unicast.
func openSocket(name string, b binding, port uint16, group netip.Addr, cfg *Config) (*socket, error) {
	network := "udp6"
	if b.listen.Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = setOptions(int(fd), name, b.listen.Is4(), cfg) }); e != nil {
			return e
		}
		return err
	}}
	listen := b.listen
	if listen.IsLinkLocalUnicast() && listen.Is6() {
		listen = listen.WithZone(name)
	}
	pc, err := lc.ListenPacket(context.Background(), network, netip.AddrPortFrom(listen, port).String())
	if err != nil {
		return nil, err
	}
	if group.IsValid() {
		err = setMulticast(pc, b.index, group)
	}
	if err != nil {
		pc.Close()
		return nil, err
	}
	out, err := rawio.NewSocket(pc.(*net.UDPConn))
	if err != nil {
		return nil, err
	}
	return &socket{Socket: out, bound: b}, nil
}

// setOptions are the options that must be there before bind.
func setOptions(fd int, name string, v4 bool, cfg *Config) error {
	if err := unix.BindToDevice(fd, name); err != nil {
		return os.NewSyscallError("SO_BINDTODEVICE", err)
	}
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cfg.SendBuffer)
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cfg.ReceiveBuffer)
	if v4 {
		err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		return os.NewSyscallError("IP_MTU_DISCOVER", err)
	}
	err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	if err != nil {
		return os.NewSyscallError("IPV6_MTU_DISCOVER", err)
	}
	return os.NewSyscallError("IPV6_DONTFRAG", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1))
}

// setBuffer forces a buffer's size, or takes what net.core.wmem_max and rmem_max allow where that needs a
// privilege that is not there. A smaller buffer is no reason to refuse.
func setBuffer(fd, force, plain, size int) {
	if size > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
}

// setMulticast joins the group and keeps what is sent on the segment. The sockets listen on the wildcard
// address, so they are told to take only the groups that they joined themselves (IP_MULTICAST_ALL).
func setMulticast(c net.PacketConn, index int, group netip.Addr) error {
	ifi := &net.Interface{Index: index}
	var steps []func() error
	if group.Is4() {
		p := ipv4.NewPacketConn(c)
		steps = []func() error{
			func() error { return p.SetMulticastInterface(ifi) },
			func() error { return p.SetMulticastTTL(1) },
			func() error { return p.SetMulticastLoopback(false) },
			func() error { return setInt(c, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0) },
		}
	} else {
		p := ipv6.NewPacketConn(c)
		steps = []func() error{
			func() error { return p.SetMulticastInterface(ifi) },
			func() error { return p.SetMulticastHopLimit(1) },
			func() error { return p.SetMulticastLoopback(false) },
			func() error { return setInt(c, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0) },
		}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("multicast option: %w", err)
		}
	}
	return members(c, group).JoinGroup(ifi, &net.UDPAddr{IP: group.AsSlice()})
}

func setInt(c net.PacketConn, level, option, value int) error {
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) }); e != nil {
		return e
	}
	return err
}

// membership is what IPv4 and IPv6 sockets can both do about groups.
type membership interface {
	JoinGroup(*net.Interface, net.Addr) error
	LeaveGroup(*net.Interface, net.Addr) error
}

func members(c net.PacketConn, group netip.Addr) membership {
	if group.Is4() {
		return ipv4.NewPacketConn(c)
	}
	return ipv6.NewPacketConn(c)
}

// rejoin leaves the group and joins it again: the kernel then reports the membership anew, which a switch that
// lost its carrier may have forgotten (it would send nothing until the next query, if there is a querier).
func (s *socket) rejoin(group netip.Addr) error {
	c, err := s.Conn()
	if err != nil {
		return err
	}
	defer c.Close()
	ifi, addr := &net.Interface{Index: s.bound.index}, &net.UDPAddr{IP: group.AsSlice()}
	_ = members(c, group).LeaveGroup(ifi, addr)
	return members(c, group).JoinGroup(ifi, addr)
}

// newDrops are the datagrams that the kernel dropped for want of receive buffer since the last call, 0 when the
// socket is closed (SO_MEMINFO, Linux 4.12, include/uapi/linux/sock_diag.h).
func (s *socket) newDrops() uint64 {
	s.counting.Lock()
	defer s.counting.Unlock()
	now := s.dropped
	_ = s.Control(func(fd int) {
		var info [unix.SK_MEMINFO_VARS]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 {
			now = info[unix.SK_MEMINFO_DROPS]
		}
	})
	drops := now - s.dropped // wraps as the kernel's does
	s.dropped = now
	return uint64(drops)
}

// pathMTU is what the kernel knows of the path to dest, 0 where it does not say: a router on the way may carry
// less than the interface.
func pathMTU(name string, dest netip.AddrPort) int {
	family, level, option := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: dest.Addr().As16(), Port: int(dest.Port())}
	if dest.Addr().Is4() {
		family, level, option = unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
		to = &unix.SockaddrInet4{Addr: dest.Addr().As4(), Port: int(dest.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.BindToDevice(fd, name) != nil || unix.Connect(fd, to) != nil {
		return 0
	}
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		return 0
	}
	return mtu
}
