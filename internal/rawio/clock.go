package rawio

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Boottime is CLOCK_BOOTTIME, which goes on while the machine sleeps.
func Boottime() time.Time {
	var ts unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic("rawio: CLOCK_BOOTTIME: " + errno.Error()) // Linux has had it since 2.6.39
	}
	return time.Unix(ts.Unix())
}

// Nap sleeps for d, less if a signal comes: not longer than a garbage collection may be held up, a fraction of a
// millisecond. The runtime's own timers round up to a millisecond.
func Nap(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
