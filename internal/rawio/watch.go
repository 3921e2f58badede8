package rawio

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Watch waits until one of its files can be read. It is an epoll instance in the runtime's poller: of a file of its own that one wants to
// know, too, when it can be written, and each datagram that has left a socket would wake a thread. Wait has one caller at a time.
type Watch struct {
	file *os.File
	conn syscall.RawConn
}

// NewWatch watches a file, which has to outlive it.
func NewWatch(fd int) (*Watch, error) {
	w, err := newWatch()
	if err != nil {
		return nil, fmt.Errorf("rawio: watch: %w", err)
	}
	if err := w.Add(fd); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func newWatch() (*Watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os would not give it to the poller
		unix.Close(fd)
		return nil, err
	}
	w := &Watch{file: os.NewFile(uintptr(fd), "watch")}
	if w.conn, err = w.file.SyscallConn(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Add watches another file from now on; it may be called beside Wait.
func (w *Watch) Add(fd int) (err error) {
	closed := w.conn.Control(func(own uintptr) {
		err = unix.EpollCtl(int(own), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	if err = cmp.Or(closed, err); err != nil {
		return fmt.Errorf("rawio: watch: %w", err)
	}
	return nil
}

// Wait returns once ready says so, which is asked first, and again each time that a file has something new. After Close the error is
// net.ErrClosed, after the deadline os.ErrDeadlineExceeded.
func (w *Watch) Wait(ready func(uintptr) bool) error {
	err := w.conn.Read(ready)
	if err != nil && !os.IsTimeout(err) {
		return net.ErrClosed
	}
	return err
}

// SetDeadline is of every Wait from now on.
func (w *Watch) SetDeadline(t time.Time) error { return w.file.SetReadDeadline(t) }

// Close ends a Wait under way and all later ones.
func (w *Watch) Close() { _ = w.file.Close() }
