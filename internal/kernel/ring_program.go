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

// allOffset is where the second word of the routing is: not 0 lets events of every protocol come. The first one is the route.
const allOffset = 4

// recordSizes are how long a record may be, our header included: what is not said of a record's length has to be known when
// the program is verified. An event is between 200 and 350 bytes, with every extension 650.
var recordSizes = []int32{256 - recordHeader, 512 - recordHeader, 1024 - recordHeader}

// shortest is a message with both headers, two attributes of nested ones and an IPv6 address: an event is longer.
const shortest = 80

// ringProgram is the event socket's program: it drops what program does, and copies the rest where the route says (ring).
func ringProgram(records, routing int, ports []uint32, protocols []uint8) (prog asm.Instructions) {
	prog = append(prog,
		asm.Mov.Reg(regMessage, asm.R1),
		asm.LoadMapValue(regRouting, routing, 0),
		asm.LoadMem(regLength, regMessage, 0, asm.Word), // __sk_buff.len
		asm.LoadAbs(portOffset, asm.Word),
	)
	for _, p := range ports {
		prog = append(prog, asm.JEq.Imm32(asm.R0, int32(turned32(p)), "drop"))
	}
	if len(protocols) > 0 {
		prog = append(prog, ringProtocols(protocols)...)
	}
	prog = append(prog,
		asm.LoadMem(asm.R1, regRouting, 0, asm.Word).WithSymbol("accept"),
		asm.JEq.Imm(asm.R1, routeQueue, "pass"),
		asm.JLT.Imm(regLength, unix.NLMSG_HDRLEN, "pass"), // an empty one is a wake-up
	)
	for i, size := range recordSizes {
		prog = append(prog, copyInto(records, size, fmt.Sprintf("size%d", i), fmt.Sprintf("size%d", i+1))...)
	}
	return append(prog,
		// It fits into no record.
		asm.StoreImm(regRouting, 0, routeQueue, asm.Word).WithSymbol(fmt.Sprintf("size%d", len(recordSizes))),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("pass"),
		asm.Return(),

		// It is in the ring: wake who asked for it, and only one of those who come at the same time does.
		asm.LoadMem(asm.R1, regRouting, 0, asm.Word).WithSymbol("copied"),
		asm.JNE.Imm(asm.R1, routeWake, "drop"),
		asm.Mov.Imm(asm.R0, routeWake),
		asm.Mov.Imm(asm.R1, routeRing),
		compareAndSwap(regRouting, asm.R1),
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

// compareAndSwap puts src where to points if R0 is there; R0 is what was. Linux 5.12.
func compareAndSwap(to, src asm.Register) asm.Instruction {
	ins := asm.CmpXchg.Mem(to, src, asm.Word, 0)
	ins.Constant = 0xf0 | 0x01 // BPF_CMPXCHG: the assembler (v0.22.0) leaves it out, and the instruction would add
	return ins
}

// ringProtocols is protocolProgram. It knows where the kernel puts the protocol (ctnetlink_dump_tuples), and accepts what looks otherwise.
func ringProtocols(protocols []uint8) (prog asm.Instructions) {
	prog = asm.Instructions{
		asm.LoadMem(asm.R1, regRouting, allOffset, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "accept"),
		asm.JLT.Imm(regLength, shortest, "accept"),
		asm.LoadAbs(typeOffset, asm.Half),
		asm.JEq.Imm(asm.R0, int32(turned(msgNew)), "flow"),
		asm.JNE.Imm(asm.R0, int32(turned(msgDelete)), "accept"), // an expectation
	}
	const tuple, address = headers, headers + unix.SizeofNlAttr
	prog = append(prog, mustBe(tuple+2, ctaTupleOrig|nested, "flow")...)
	prog = append(prog, mustBe(address+2, ctaTupleIP|nested, "")...)
	prog = append(prog, asm.LoadAbs(address, asm.Half), asm.JEq.Imm(asm.R0, int32(turned(addressV4)), "v4"))
	prog = append(prog, mustBe(address, addressV6, "")...)
	for _, family := range []struct {
		name   string
		length int32
	}{{"v6", addressV6}, {"v4", addressV4}} {
		proto := address + family.length
		prog = append(prog, mustBe(proto+2, ctaTupleProto|nested, family.name)...)
		prog = append(prog, mustBe(proto+6, ctaProtoNum, "")...)
		prog = append(prog, asm.LoadAbs(proto+8, asm.Byte))
		for _, p := range protocols {
			prog = append(prog, asm.JEq.Imm(asm.R0, int32(p), "accept"))
		}
		prog = append(prog, asm.Ja.Label("drop"))
	}
	return prog
}

// Lengths of CTA_TUPLE_IP: it and two addresses with their headers.
const (
	addressV4 = 3*unix.SizeofNlAttr + 2*4
	addressV6 = 3*unix.SizeofNlAttr + 2*16
)

// mustBe accepts a message whose 16 bits there, in the host's order, are something else.
func mustBe(offset int32, want uint16, symbol string) asm.Instructions {
	load := asm.LoadAbs(offset, asm.Half)
	if symbol != "" {
		load = load.WithSymbol(symbol)
	}
	return asm.Instructions{load, asm.JNE.Imm(asm.R0, int32(turned(want)), "accept")}
}
