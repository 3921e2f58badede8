package rawio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests to the kernel over netlink: it has carried them out when the call returns, and its answers are there to be read.

// Write writes b, which is taken whole or not at all. The kernel works meanwhile, some microseconds for each request in b: keep
// that well under a millisecond, and tell the scheduler (write(2) by package unix) where somebody else may hold the lock it takes.
func Write(fd int, b []byte) error {
	_, err := call(unix.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), 0)
	return err
}

// ReadNow reads one datagram that is there already; EAGAIN if there is none.
func ReadNow(fd int, into []byte) (int, error) {
	return call(unix.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(into)), len(into), unix.MSG_DONTWAIT)
}
