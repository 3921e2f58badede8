package kernel

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DropBPF gives CAP_BPF up in every thread, for good: OpenEvents needs it, and nothing later. Root keeps it, who could have it back
// anyway.
func DropBPF() error {
	if os.Geteuid() == 0 {
		return nil
	}
	h := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	sets := new([2]unix.CapUserData)
	if err := unix.Capget(h, &sets[0]); err != nil {
		return fmt.Errorf("kernel: give up CAP_BPF: %w", err)
	}
	s := &sets[unix.CAP_BPF/32]
	for _, set := range []*uint32{&s.Effective, &s.Permitted, &s.Inheritable} { // and so of the ambient ones, see capabilities(7)
		*set &^= 1 << (unix.CAP_BPF % 32)
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(h)), uintptr(unsafe.Pointer(sets)), 0)
	runtime.KeepAlive(h)
	runtime.KeepAlive(sets)
	if errno != 0 {
		return fmt.Errorf("kernel: give up CAP_BPF: %w", errno)
	}
	return nil
}
