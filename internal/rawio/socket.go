package rawio

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a datagram socket that the runtime's poller watches for what arrives and for nothing else (Watch). Safe for
// concurrent use; Receive and Wait have one caller at a time.
type Socket struct {
	watch *Watch

	into    *Batch // of the Receive under way
	want    int
	got     int
	err     error
	arrived func(uintptr) bool // made once: a closure for each wait would be garbage

	using sync.RWMutex // Close waits for who uses fd
	fd    int          // -1: closed
}

// NewSocket takes over the socket of c, bound and with all its options, and closes c.
func NewSocket(c *net.UDPConn) (*Socket, error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	e := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if e != nil || err != nil {
		return nil, fmt.Errorf("rawio: take over a socket: %w", cmp.Or(e, err))
	}
	return OwnSocket(fd)
}

// OwnSocket takes over the socket fd, and closes it if it cannot.
func OwnSocket(fd int) (*Socket, error) {
	w, err := NewWatch(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &Socket{watch: w, fd: fd}
	s.arrived = s.receiveOnce
	return s, nil
}

// Receive waits for datagrams and takes up to want of them. After Close the error is net.ErrClosed.
func (s *Socket) Receive(b *Batch, want int) (n int, err error) {
	s.into, s.want = b, want
	if err := s.watch.Wait(s.arrived); err != nil {
		return 0, err
	}
	return s.got, s.err
}

func (s *Socket) receiveOnce(uintptr) bool {
	s.got, s.err = s.Try(s.into, s.want)
	return s.err != unix.EAGAIN
}

// Wait is Watch's.
func (s *Socket) Wait(ready func(uintptr) bool) error { return s.watch.Wait(ready) }

// Watch has Wait watch another file, too, which has to stay open.
func (s *Socket) Watch(fd int) error { return s.watch.Add(fd) }

// SetDeadline is of every Wait and Receive from now on.
func (s *Socket) SetDeadline(t time.Time) error { return s.watch.SetDeadline(t) }

// Readable says whether there is something to receive, or an error to be told of, which a look at the data would take.
func (s *Socket) Readable() (is bool) {
	_ = s.Control(func(fd int) { is = readable(fd) })
	return is
}

// Try takes up to want datagrams that are there already; EAGAIN if there is none.
func (s *Socket) Try(b *Batch, want int) (n int, err error) {
	closed := s.Control(func(fd int) { n, err = b.take(fd, want) })
	if closed != nil {
		return 0, closed
	}
	return n, err
}

// Send sends one datagram. It waits for room in the socket's buffer, not longer than patience; then the error is
// os.ErrDeadlineExceeded.
func (s *Socket) Send(payload []byte, to *Destination, patience time.Duration) error {
	s.using.RLock()
	defer s.using.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	errno := s.send(payload, to)
	if errno == unix.EAGAIN {
		errno = s.sendLater(payload, to, time.Now().Add(patience))
	}
	switch errno {
	case 0:
		return nil
	case unix.EAGAIN:
		return os.ErrDeadlineExceeded
	}
	return errno
}

func (s *Socket) send(payload []byte, to *Destination) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(payload))), uintptr(len(payload)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&to.name)), uintptr(to.length))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// sendLater waits, and lets the scheduler know.
func (s *Socket) sendLater(payload []byte, to *Destination, until time.Time) unix.Errno {
	for {
		left := time.Until(until)
		if left <= 0 {
			return unix.EAGAIN
		}
		ts := unix.NsecToTimespec(left.Nanoseconds())
		_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, &ts, nil)
		if errno := s.send(payload, to); errno != unix.EAGAIN {
			return errno
		}
	}
}

// Control gives the socket to do.
func (s *Socket) Control(do func(fd int)) error {
	s.using.RLock()
	defer s.using.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	do(s.fd)
	return nil
}

// Conn is a second handle of the same socket, for what the net packages can do with it.
func (s *Socket) Conn() (c net.PacketConn, err error) {
	closed := s.Control(func(fd int) {
		var second int
		if second, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return
		}
		f := os.NewFile(uintptr(second), "sync link")
		defer f.Close()
		c, err = net.FilePacketConn(f)
	})
	return c, cmp.Or(closed, err)
}

// Close ends a Receive under way and all later calls.
func (s *Socket) Close() {
	s.using.Lock()
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
	s.using.Unlock()
	s.watch.Close()
}
