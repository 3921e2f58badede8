package rawio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadStart reads a file from its start, not more than fits: one that never waits, such as a sysctl.
func ReadStart(fd int, into []byte) (int, error) {
	return call(unix.SYS_PREAD64, fd, unsafe.Pointer(unsafe.SliceData(into)), len(into), 0)
}

// call makes a system call that takes a descriptor, memory, its size and one number more, again while a signal ends it.
func call(number uintptr, fd int, at unsafe.Pointer, size int, more uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(number, uintptr(fd), uintptr(at), uintptr(size), more, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
