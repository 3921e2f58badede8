package rawio

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Timer fires at times of Boottime, also while the machine slept. One of the runtime's would, each time that it is set or
// fires, wake a thread more, and the scheduler's monitor. Set is safe beside Wait, which has one caller at a time.
type Timer struct {
	file  *os.File
	conn  syscall.RawConn
	next  unix.ItimerSpec
	set   func(fd uintptr)
	fired func(fd uintptr) bool
	count [8]byte
}

// NewTimer makes a timer that is not set.
func NewTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("rawio: make a timer: %w", err)
	}
	t := &Timer{file: os.NewFile(uintptr(fd), "timer")}
	if t.conn, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, fmt.Errorf("rawio: make a timer: %w", err)
	}
	t.set, t.fired = t.setTime, t.read
	return t, nil
}

// Set has the timer fire at that time, at once if it is over, and not at an earlier one. One caller at a time.
func (t *Timer) Set(at time.Time) {
	t.next.Value = unix.NsecToTimespec(max(at.UnixNano(), 1)) // 0 would stop it
	_ = t.conn.Control(t.set)
}

func (t *Timer) setTime(fd uintptr) {
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&t.next)), 0, 0, 0)
}

// Wait waits until the timer fires; false is after Close.
func (t *Timer) Wait() bool { return t.conn.Read(t.fired) == nil }

func (t *Timer) read(fd uintptr) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&t.count)), uintptr(len(t.count)))
	return errno != unix.EAGAIN
}

// Close ends a Wait under way and all later ones.
func (t *Timer) Close() { _ = t.file.Close() }
