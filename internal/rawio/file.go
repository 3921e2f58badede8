package rawio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadStart reads a file from its start, not more than fits: one that never waits, such as a sysctl.
func ReadStart(fd int, into []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
