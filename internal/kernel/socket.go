package kernel

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// open opens and binds a NETLINK_NETFILTER socket in the network namespace of the calling thread. The
// acknowledgement of a failure echoes headers only (NETLINK_CAP_ACK).
func open() (fd int, port uint32, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, 0, fmt.Errorf("kernel: open netlink socket: %w", err)
	}
	if err = bind(fd, &port); err != nil {
		unix.Close(fd)
		return -1, 0, fmt.Errorf("kernel: open netlink socket: %w", err)
	}
	return fd, port, nil
}

func bind(fd int, port *uint32) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	*port = name.(*unix.SockaddrNetlink).Pid
	return nil
}

// setReceiveBuffer asks for size bytes and returns what is usable; forced is false if the privilege to
// exceed net.core.rmem_max was lacking (CAP_NET_ADMIN of the initial user namespace). The kernel books twice
// what it is asked for, and reports that.
func setReceiveBuffer(fd, size int) (usable int, forced bool, err error) {
	if size > 0 {
		forced = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil
		if !forced {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
				return 0, false, fmt.Errorf("kernel: set receive buffer: %w", err)
			}
		}
	}
	booked, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0, false, fmt.Errorf("kernel: read receive buffer: %w", err)
	}
	return booked / 2, forced, nil
}

// setReceiveTimeout makes a read end with EAGAIN after d.
func setReceiveTimeout(fd int, d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("kernel: set receive timeout: %w", err)
	}
	return nil
}

// read is read(2), which on a netlink socket takes one datagram, begun again where a signal broke it off.
func read(fd int, b []byte) (n int, err error) {
	for {
		if n, err = unix.Read(fd, b); err != unix.EINTR {
			return n, err
		}
	}
}

// write is write(2): one datagram to the kernel, which has carried out all of it on return.
func write(fd int, b []byte) (err error) {
	for {
		if _, err = unix.Write(fd, b); err != unix.EINTR {
			return err
		}
	}
}

// message is one netlink message; body points into the buffer it was read to.
type message struct {
	typ, flags uint16
	seq, port  uint32
	body       []byte
}

// nextMessage splits the first message off b, which must not be empty.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < netlinkHeader {
		return m, nil, errTruncated
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < netlinkHeader || n > len(b) {
		return m, nil, errTruncated
	}
	m = message{
		typ:   binary.NativeEndian.Uint16(b[4:]),
		flags: binary.NativeEndian.Uint16(b[6:]),
		seq:   binary.NativeEndian.Uint32(b[8:]),
		port:  binary.NativeEndian.Uint32(b[12:]),
		body:  b[netlinkHeader:n],
	}
	return m, b[min(align(n), len(b)):], nil
}

// conntrack splits the nfnetlink header off a ctnetlink message.
func (m *message) conntrack() (family uint8, attrs []byte, err error) {
	if len(m.body) < nfgenHeader {
		return 0, nil, errTruncated
	}
	return m.body[0], m.body[nfgenHeader:], nil
}

// errno is the result in an NLMSG_ERROR or NLMSG_DONE message; 0 is success. A NLMSG_DONE may lack it.
func (m *message) errno() (unix.Errno, error) {
	if len(m.body) < 4 {
		if m.typ == unix.NLMSG_DONE {
			return 0, nil
		}
		return 0, errTruncated
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(m.body))), nil
}
