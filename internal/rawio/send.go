package rawio

import (
	"net/netip"
	"sync"
	"syscall"
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

// Sender sends datagrams on a socket. It is safe for concurrent use.
type Sender struct {
	conn syscall.RawConn

	mu      sync.Mutex
	payload []byte
	to      *Destination
	errno   unix.Errno
	call    func(fd uintptr) // made once: a closure for each datagram would be garbage
}

// NewSender sends on c.
func NewSender(c syscall.RawConn) *Sender {
	s := &Sender{conn: c}
	s.call = s.send
	return s
}

// Send sends one datagram if there is room for it in the socket's buffer; EAGAIN if not.
func (s *Sender) Send(payload []byte, to *Destination) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.payload, s.to = payload, to
	if err := s.conn.Control(s.call); err != nil {
		return err
	}
	if s.errno != 0 {
		return s.errno
	}
	return nil
}

func (s *Sender) send(fd uintptr) {
	for {
		_, _, s.errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.payload))), uintptr(len(s.payload)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&s.to.name)), uintptr(s.to.length))
		if s.errno != unix.EINTR {
			return
		}
	}
}
