package rawio

import (
	"net/netip"
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
	return b
}

// NewNamedBatch is one that tells who sent each datagram, too.
func NewNamedBatch(datagrams, size int) *Batch {
	b := NewBatch(datagrams, size)
	b.names = make([]unix.RawSockaddrInet6, datagrams)
	return b
}

func readable(fd int) bool {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	var now unix.Timespec
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n == 1
}

// take takes up to want datagrams that are there already; EAGAIN if there is none.
func (b *Batch) take(fd, want int) (int, error) {
	for i := range b.names[:min(want, len(b.names))] {
		h := &b.headers[i].hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.names[i])), unix.SizeofSockaddrInet6 // the kernel has set the length of the last
	}
	return call(unix.SYS_RECVMMSG, fd, unsafe.Pointer(&b.headers[0]), want, unix.MSG_DONTWAIT)
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
