package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Instructions of classic BPF (include/uapi/linux/bpf_common.h).
const (
	bpfLoad     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	bpfLoadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	bpfLoadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_IND // at X and the constant
	bpfNumber   = unix.BPF_LD | unix.BPF_IMM
	bpfIndex    = unix.BPF_LDX | unix.BPF_IMM
	bpfToIndex  = unix.BPF_MISC | unix.BPF_TAX
	bpfIfEq     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bpfReturn   = unix.BPF_RET | unix.BPF_K
)

// Loads from these addresses search the attributes from offset A on for the type in X, and those inside of the
// attribute at A: they give an offset, 0 if there is none (include/uapi/linux/filter.h).
const (
	bpfFindAttr   = 0xfffff000 + 12 // SKF_AD_OFF + SKF_AD_NLATTR
	bpfFindInside = 0xfffff000 + 16 // SKF_AD_OFF + SKF_AD_NLATTR_NEST
)

// typeOffset is where nlmsg_type is.
const typeOffset = 4

// portOffset is where nlmsg_pid is. In an event it is the port of the socket whose request caused it, 0 for
// a packet.
const portOffset = 12

var (
	bpfPass = unix.SockFilter{Code: bpfReturn, K: ^uint32(0)}
	bpfDrop = unix.SockFilter{Code: bpfReturn, K: 0}
)

// program drops messages of the given port, and events of flows whose protocol is not among those given, if any are,
// and passes all others whole.
func program(ignore uint32, protocols []uint8) []unix.SockFilter {
	prog := ignoreProgram(ignore)
	if len(protocols) == 0 {
		return append(prog, bpfPass)
	}
	return append(prog, protocolProgram(protocols)...)
}

// ignoreProgram drops messages of the given port, of none if that is 0. BPF loads in network order, the field is in the host's: the constant
// is turned instead.
func ignoreProgram(port uint32) []unix.SockFilter {
	if port == 0 {
		return nil
	}
	return []unix.SockFilter{{Code: bpfLoad, K: portOffset}, {Code: bpfIfEq, K: turned32(port), Jf: 1}, bpfDrop}
}

// turned32 is a 32-bit constant in the host's order as BPF loads it.
func turned32(n uint32) uint32 {
	var host [4]byte
	binary.NativeEndian.PutUint32(host[:], n)
	return binary.BigEndian.Uint32(host[:])
}

// protocolProgram passes events of flows with one of the protocols, and everything that is no event of a flow or has no
// protocol: what cannot be decoded is to be counted.
func protocolProgram(protocols []uint8) []unix.SockFilter {
	prog := []unix.SockFilter{
		{Code: bpfLoadHalf, K: typeOffset},
		{Code: bpfIfEq, K: turned(msgNew), Jt: 2},
		{Code: bpfIfEq, K: turned(msgDelete), Jt: 1},
		bpfPass, // of an expectation
		{Code: bpfNumber, K: headers},
	}
	for depth, attr := range []uint32{ctaTupleOrig, ctaTupleProto, ctaProtoNum} {
		find := uint32(bpfFindInside)
		if depth == 0 {
			find = bpfFindAttr
		}
		prog = append(prog,
			unix.SockFilter{Code: bpfIndex, K: attr},
			unix.SockFilter{Code: bpfLoad, K: find},
			unix.SockFilter{Code: bpfIfEq, K: 0, Jf: 1},
			bpfPass)
	}
	prog = append(prog, unix.SockFilter{Code: bpfToIndex}, unix.SockFilter{Code: bpfLoadByte, K: unix.SizeofNlAttr})
	for _, p := range protocols {
		prog = append(prog, unix.SockFilter{Code: bpfIfEq, K: uint32(p), Jf: 1}, bpfPass)
	}
	return append(prog, bpfDrop)
}

// turned is a 16-bit constant in the host's order as BPF loads it.
func turned(n uint16) uint32 {
	var host [2]byte
	binary.NativeEndian.PutUint16(host[:], n)
	return uint32(binary.BigEndian.Uint16(host[:]))
}

// attach attaches the program to fd, in place of one that may be there.
func attach(fd int, ignore uint32, protocols []uint8) error {
	prog := program(ignore, protocols)
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("kernel: filter events: %w", err)
	}
	return nil
}
