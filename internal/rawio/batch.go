package rawio

import (
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is the memory of one recvmmsg(2). One goroutine owns it.
type Batch struct {
	headers []mmsghdr
	iovecs  []unix.Iovec
	names   []unix.RawSockaddrInet6 // none: nobody asks who sent it
	buffer  []byte
	size    int

	fd     uintptr
	want   int
	gather time.Duration
	got    int
	errno  unix.Errno
	ready  func(fd uintptr) bool // both made once: a closure for each call would be garbage
	now    func(fd uintptr)
}

// mmsghdr is struct mmsghdr; the compiler pads it as C does.
type mmsghdr struct {
	hdr    unix.Msghdr
	length uint32
}

// NewBatch has room for so many datagrams of size bytes; what is longer is cut.
func NewBatch(datagrams, size int) *Batch {
	b := &Batch{
		headers: make([]mmsghdr, datagrams), iovecs: make([]unix.Iovec, datagrams),
		buffer: make([]byte, datagrams*size), size: size,
	}
	for i := range b.headers {
		b.iovecs[i].Base = &b.buffer[i*size]
		b.iovecs[i].SetLen(size)
		b.headers[i].hdr.Iov = &b.iovecs[i]
		b.headers[i].hdr.SetIovlen(1)
	}
	b.ready, b.now = b.receiveOnce, func(fd uintptr) { b.fd = fd; b.receive() }
	return b
}

// NewNamedBatch is one that tells who sent each datagram, too.
func NewNamedBatch(datagrams, size int) *Batch {
	b := NewBatch(datagrams, size)
	b.names = make([]unix.RawSockaddrInet6, datagrams)
	return b
}

// Receive waits for datagrams, or the file's read deadline, or its end; when there is one, it waits for gather so that
// there may be more; and takes up to want.
func (b *Batch) Receive(c syscall.RawConn, want int, gather time.Duration) (int, error) {
	b.want, b.gather = want, gather
	if err := c.Read(b.ready); err != nil {
		return 0, err
	}
	return b.taken()
}

func (b *Batch) receiveOnce(fd uintptr) bool {
	b.fd = fd
	if b.gather > 0 {
		if !readable(fd) {
			return false
		}
		Nap(b.gather)
	}
	b.receive()
	return b.errno != unix.EAGAIN
}

// readable says whether there is something to receive, or an error to be told of, which a look at the data would take.
func readable(fd uintptr) bool {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	var now unix.Timespec
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n == 1
}

// Try takes up to want datagrams that are there already; EAGAIN if there is none.
func (b *Batch) Try(c syscall.RawConn, want int) (int, error) {
	b.want = want
	if err := c.Control(b.now); err != nil {
		return 0, err
	}
	return b.taken()
}

func (b *Batch) take(fd uintptr, want int) (int, error) {
	b.fd, b.want = fd, want
	b.receive()
	return b.taken()
}

func (b *Batch) taken() (int, error) {
	if b.errno != 0 {
		return 0, b.errno
	}
	return b.got, nil
}

func (b *Batch) receive() {
	for i := range b.names[:min(b.want, len(b.names))] {
		h := &b.headers[i].hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet6 // the kernel has set the length of the last
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, b.fd, uintptr(unsafe.Pointer(&b.headers[0])), uintptr(b.want), unix.MSG_DONTWAIT, 0, 0)
		b.got, b.errno = int(n), errno
		if errno != unix.EINTR {
			return
		}
	}
}

// Datagram is the i-th of the last batch, until the next. whole: it was not cut.
func (b *Batch) Datagram(i int) (data []byte, whole bool) {
	h := &b.headers[i]
	at := i * b.size
	return b.buffer[at : at+min(int(h.length), b.size)], h.hdr.Flags&unix.MSG_TRUNC == 0
}

// From is who sent the i-th of a named batch, without a zone; the zero value if that is no internet address.
func (b *Batch) From(i int) netip.AddrPort {
	name := &b.names[i]
	port := func(p *uint16) uint16 {
		at := (*[2]byte)(unsafe.Pointer(p)) // in network order
		return uint16(at[0])<<8 | uint16(at[1])
	}
	switch name.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port(&v4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port(&name.Port))
	}
	return netip.AddrPort{}
}
