package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Instructions of classic BPF (include/uapi/linux/bpf_common.h).
const (
	bpfLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	bpfIfEq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bpfReturn = unix.BPF_RET | unix.BPF_K
)

// portOffset is where nlmsg_pid is. In an event it is the port of the socket whose request caused it, 0 for
// a packet.
const portOffset = 12

// maxPorts keeps the program well within BPF_MAXINSNS (4096).
const maxPorts = 1024

// ignoreProgram drops messages of the given ports and passes all others whole. BPF loads in network order,
// the field is in the host's: the constants are turned instead.
func ignoreProgram(ports []uint32) []unix.SockFilter {
	prog := []unix.SockFilter{{Code: bpfLoad, K: portOffset}}
	for _, p := range ports {
		var host [4]byte
		binary.NativeEndian.PutUint32(host[:], p)
		prog = append(prog,
			unix.SockFilter{Code: bpfIfEq, K: binary.BigEndian.Uint32(host[:]), Jf: 1},
			unix.SockFilter{Code: bpfReturn, K: 0})
	}
	return append(prog, unix.SockFilter{Code: bpfReturn, K: ^uint32(0)})
}

// attachIgnore attaches the program to fd, in place of one that may be there.
func attachIgnore(fd int, ports []uint32) error {
	if len(ports) > maxPorts {
		return fmt.Errorf("kernel: ignore ports: %d, at most %d", len(ports), maxPorts)
	}
	prog := ignoreProgram(ports)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("kernel: ignore ports: %w", err)
	}
	return nil
}
