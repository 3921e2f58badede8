package kernel

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Registers of ringProgram.
const (
	regMessage = asm.R6 // struct __sk_buff; where LoadAbs looks for it
	regRouting = asm.R7
	regLength  = asm.R8
	regRecord  = asm.R9
)

// recordSizes are how long a record may be, our header included: a length has to be known when the program is
// verified. An event has between 200 and 350 bytes, with every extension 650.
var recordSizes = []int32{256 - recordHeader, 512 - recordHeader, 1024 - recordHeader}

// shortest is a message with both headers, two nested attributes and IPv6 addresses: an event is longer.
const shortest = 80

// ringProgram is the event socket's program: it drops what program does, and copies the rest where the route says (ringReader).
func ringProgram(records, routing int) (prog asm.Instructions) {
	prog = append(prog,
		asm.Mov.Reg(regMessage, asm.R1),
		asm.LoadMapValue(regRouting, routing, 0),
		asm.LoadMem(regLength, regMessage, 0, asm.Word), // __sk_buff.len
		asm.JLT.Imm(regLength, unix.NLMSG_HDRLEN, "pass"),
		asm.LoadMem(asm.R9, regRouting, ignoredOffset, asm.Word),
		asm.JEq.Imm(asm.R9, 0, "all ports"),
		asm.LoadAbs(portOffset, asm.Word),
		asm.JEq.Reg(asm.R0, asm.R9, "drop"),
		asm.LoadMem(asm.R1, regRouting, someOffset, asm.Word).WithSymbol("all ports"),
		asm.JEq.Imm(asm.R1, 0, "accept"),
	)
	prog = append(prog, chooseProtocol()...)
	prog = append(prog,
		asm.LoadMem(asm.R1, regRouting, routeOffset, asm.Word).WithSymbol("accept"),
		asm.JEq.Imm(asm.R1, routeQueue, "pass"),
	)
	for i, size := range recordSizes {
		prog = append(prog, copyInto(records, size, fmt.Sprintf("size%d", i), fmt.Sprintf("size%d", i+1))...)
	}
	return append(prog,
		// It fits into no record.
		asm.StoreImm(regRouting, routeOffset, routeQueue, asm.Word).WithSymbol(fmt.Sprintf("size%d", len(recordSizes))),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("pass"),
		asm.Return(),

		// It is in the ring: wake who asked for it, and only one of those who come at the same time does.
		asm.LoadMem(asm.R1, regRouting, routeOffset, asm.Word).WithSymbol("copied"),
		asm.JNE.Imm(asm.R1, routeWake, "drop"),
		asm.Mov.Imm(asm.R0, routeWake),
		asm.Mov.Imm(asm.R1, routeRing),
		compareAndSwap(regRouting, asm.R1, routeOffset),
		asm.JNE.Imm(asm.R0, routeWake, "drop"),
		asm.StoreImm(asm.RFP, -recordLength, 0, asm.Word), // a record with nothing in it
		asm.StoreImm(asm.RFP, -recordLength+4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, records),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -recordLength),
		asm.Mov.Imm(asm.R3, recordLength),
		asm.Mov.Imm(asm.R4, unix.BPF_RB_FORCE_WAKEUP),
		asm.FnRingbufOutput.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("drop"),
		asm.Return(),
	)
}

// copyInto copies the message into a record of that size, if it is not longer than that.
func copyInto(records int, size int32, here, next string) asm.Instructions {
	return asm.Instructions{
		asm.JGT.Imm(regLength, size-recordLength, next).WithSymbol(here),
		asm.LoadMapPtr(asm.R1, records),
		asm.Mov.Imm(asm.R2, size),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, fmt.Sprintf("size%d", len(recordSizes))), // full
		asm.Mov.Reg(regRecord, asm.R0),
		asm.StoreMem(regRecord, 0, regLength, asm.Word),
		asm.Mov.Reg(asm.R1, regMessage),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, regRecord),
		asm.Add.Imm(asm.R3, recordLength),
		asm.Mov.Reg(asm.R4, regLength),
		asm.FnSkbLoadBytes.Call(),
		asm.Mov.Reg(asm.R1, regRecord),
		asm.Mov.Imm(asm.R2, unix.BPF_RB_NO_WAKEUP),
		asm.FnRingbufSubmit.Call(),
		asm.Ja.Label("copied"),
	}
}

// compareAndSwap puts src there if R0 is what is there; R0 is what was. Linux 5.12.
func compareAndSwap(to, src asm.Register, offset int16) asm.Instruction {
	ins := asm.CmpXchg.Mem(to, src, asm.Word, offset)
	ins.Constant = 0xf0 | 0x01 // BPF_CMPXCHG: the assembler (v0.22.0) leaves it out, and the instruction would add
	return ins
}

// chooseProtocol is protocolProgram. It knows where the kernel puts the protocol (ctnetlink_dump_tuples), and accepts what looks otherwise.
func chooseProtocol() asm.Instructions {
	const tuple, address = headers, headers + unix.SizeofNlAttr
	prog := asm.Instructions{
		asm.JLT.Imm(regLength, shortest, "accept"),
		asm.LoadAbs(typeOffset, asm.Half),
		asm.JEq.Imm(asm.R0, int32(turned(msgNew)), "flow"),
		asm.JNE.Imm(asm.R0, int32(turned(msgDelete)), "accept"), // an expectation
		asm.LoadAbs(tuple+2, asm.Half).WithSymbol("flow"),
		asm.JNE.Imm(asm.R0, int32(turned(ctaTupleOrig|nested)), "accept"),
		asm.LoadAbs(address+2, asm.Half),
		asm.JNE.Imm(asm.R0, int32(turned(ctaTupleIP|nested)), "accept"),
		asm.LoadAbs(address, asm.Half),
		asm.JEq.Imm(asm.R0, int32(turned(addressV4)), "v4"),
		asm.JNE.Imm(asm.R0, int32(turned(addressV6)), "accept"),
	}
	prog = append(prog, loadProtocol(address+addressV6, "v6")...)
	prog = append(prog, loadProtocol(address+addressV4, "v4")...)
	return append(prog,
		asm.And.Imm(asm.R0, 0xff).WithSymbol("protocol"), // which the verifier does not know
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.RSh.Imm(asm.R1, 3),
		asm.Add.Reg(asm.R1, regRouting),
		asm.LoadMem(asm.R1, asm.R1, protocolsOffset, asm.Byte),
		asm.And.Imm(asm.R0, 7),
		asm.RSh.Reg(asm.R1, asm.R0),
		asm.And.Imm(asm.R1, 1),
		asm.JEq.Imm(asm.R1, 0, "drop"),
	)
}

// loadProtocol loads the number in CTA_TUPLE_PROTO, which begins there.
func loadProtocol(at int32, symbol string) asm.Instructions {
	return asm.Instructions{
		asm.LoadAbs(at+2, asm.Half).WithSymbol(symbol),
		asm.JNE.Imm(asm.R0, int32(turned(ctaTupleProto|nested)), "accept"),
		asm.LoadAbs(at+unix.SizeofNlAttr+2, asm.Half),
		asm.JNE.Imm(asm.R0, int32(turned(ctaProtoNum)), "accept"),
		asm.LoadAbs(at+2*unix.SizeofNlAttr, asm.Byte),
		asm.Ja.Label("protocol"),
	}
}

// Lengths of CTA_TUPLE_IP: it and two addresses with their headers.
const (
	addressV4 = 3*unix.SizeofNlAttr + 2*4
	addressV6 = 3*unix.SizeofNlAttr + 2*16
)
