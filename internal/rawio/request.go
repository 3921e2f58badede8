package rawio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests to the kernel over netlink: it has carried them out when the call returns, and its answers are there to be read.

// Write writes b, which is taken whole or not at all. The kernel works meanwhile, some microseconds for each request in b: keep
// that well under a millisecond, and tell the scheduler (write(2) by package unix) where somebody else may hold the lock it takes.
func Write(fd int, b []byte) error {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

// ReadNow reads one datagram that is there already; EAGAIN if there is none.
func ReadNow(fd int, into []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
