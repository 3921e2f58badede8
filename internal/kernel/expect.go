package kernel

import (
	"bytes"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// Expectations, by their own subsystem: NFNL_SUBSYS_CTNETLINK_EXP<<8 | enum ctnl_exp_msg_types.
const (
	msgExpNew    = unix.NFNL_SUBSYS_CTNETLINK_EXP << 8
	msgExpGet    = unix.NFNL_SUBSYS_CTNETLINK_EXP<<8 | 1
	msgExpDelete = unix.NFNL_SUBSYS_CTNETLINK_EXP<<8 | 2
)

// Attributes (enum ctattr_expect, ctattr_expect_nat).
const (
	ctaExpectMaster   = 1
	ctaExpectTuple    = 2
	ctaExpectMask     = 3
	ctaExpectTimeout  = 4
	ctaExpectID       = 5
	ctaExpectHelpName = 6
	ctaExpectZone     = 7
	ctaExpectFlags    = 8
	ctaExpectClass    = 9
	ctaExpectNAT      = 10
	ctaExpectFn       = 11

	ctaExpectNATDir   = 1
	ctaExpectNATTuple = 2
)

// decodeEntry reads a flow or an expectation, as the message's type says.
func decodeEntry(typ uint16, b []byte, family uint8, f *flow.Flow, x *flow.Extra) (flow.Has, error) {
	if typ>>8 == unix.NFNL_SUBSYS_CTNETLINK_EXP {
		return expectHas, decodeExpect(b, family, f, x)
	}
	return DecodeFlow(b, family, f, x)
}

// expectHas: a message on an expectation always tells all of it.
const expectHas = flow.HasTimeout | flow.HasMark | flow.HasProtoInfo | flow.HasStatus | flow.HasReply | flow.HasRare

// decodeExpect is DecodeFlow for an expectation. *x is overwritten, and f.Extra points to it. The kernel does not
// tell its zone (6.18), so that one of a master in a zone is taken for one without.
func decodeExpect(b []byte, family uint8, f *flow.Flow, x *flow.Extra) error {
	if family != flow.IPv4 && family != flow.IPv6 {
		return errFamily
	}
	*f, *x = flow.Flow{Extra: x}, flow.Extra{}
	f.L3, f.Kind = family, flow.KindExpect
	var key bool
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaExpectTuple:
			key, err = true, decodeTuple(v, family, &f.Key, &f.Tuple, flow.ZoneBoth)
		case ctaExpectTimeout:
			err = get32(v, &f.Timeout)
		case ctaExpectID:
			err = get32(v, &f.ID)
		default:
			err = decodeExpectRare(typ, v, family, x)
		}
		if err != nil {
			return err
		}
	}
	if !key || !x.HasMaster {
		return errTuple
	}
	f.Reply = f.Inverse()
	return nil
}

func decodeExpectRare(typ uint16, v []byte, family uint8, x *flow.Extra) error {
	e := &x.Expect
	switch typ {
	case ctaExpectMaster:
		x.HasMaster, x.Master.L3 = true, family
		return decodeTuple(v, family, &x.Master, &x.Master.Tuple, flow.ZoneBoth)
	case ctaExpectMask:
		var m flow.Flow
		err := decodeTuple(v, family, &m.Key, &m.Tuple, flow.ZoneBoth)
		e.MaskSrc, e.MaskL4 = m.Src, m.SrcL4
		return err
	case ctaExpectFlags:
		return get32(v, &e.Flags)
	case ctaExpectClass:
		return get32(v, &e.Class)
	case ctaExpectFn:
		return getName(v, e.Fn[:])
	case ctaExpectHelpName:
		return getName(v, x.Helper[:])
	case ctaExpectNAT:
		e.HasNAT = true
		return decodeExpectNAT(v, family, e)
	}
	return nil
}

func decodeExpectNAT(b []byte, family uint8, e *flow.Expect) error {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaExpectNATDir:
			var dir uint32
			err = get32(v, &dir)
			e.NATDir = uint8(dir)
		case ctaExpectNATTuple:
			var t flow.Flow
			err = decodeTuple(v, family, &t.Key, &t.Tuple, flow.ZoneBoth)
			e.NATAddr, e.NATL4 = t.Src, t.SrcL4
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// named says whether to name the helper. Kernels before 2026 take a class only with it, and give that helper to the
// announced flow too: which is right for what SIP's, RAS's and Q.931's announce of their own kind, and else does no
// harm (net/netfilter/nf_conntrack_sip.c, nf_conntrack_h323_main.c). Later ones take no notice of it.
func named(f *flow.Flow) bool {
	x := f.Extra
	is := func(name string) bool { return bytes.HasPrefix(x.Helper[:], []byte(name)) }
	callForwarding := bytes.HasPrefix(x.Expect.Fn[:], []byte("callforwarding"))
	return x.Expect.Class != 0 && x.Helper[0] != 0 || is("sip") || is("RAS") && f.L4 == flow.UDP || is("Q.931") && callForwarding
}

// getName reads a string that ends with a NUL, or with the attribute; to keeps at least one NUL.
func getName(v []byte, to []byte) error {
	if i := bytes.IndexByte(v, 0); i >= 0 {
		v = v[:i]
	}
	if len(v) >= len(to) {
		return errLength
	}
	copy(to, v)
	return nil
}

// appendExpectOp is appendOp for an expectation, but for finish.
func appendExpectOp(b []byte, seq uint32, flags uint16, op *flow.Op) []byte {
	f := &op.Flow
	switch op.Kind {
	case flow.OpCreate:
		b = appendHeader(b, msgExpNew, flags|unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, f.L3)
		return appendExpect(b, f)
	case flow.OpUpdate:
		b = appendHeader(b, msgExpNew, flags, seq, f.L3)
		return appendExpect(b, f)
	case flow.OpDelete:
		b = appendHeader(b, msgExpDelete, flags, seq, f.L3)
	default:
		b = appendHeader(b, msgExpGet, flags, seq, f.L3)
	}
	return appendExpectKey(b, f)
}

func appendExpectKey(b []byte, f *flow.Flow) []byte {
	b = appendTuple(b, ctaExpectTuple, &f.Key, &f.Tuple, 0)
	if f.Zone != 0 {
		b = put16(b, ctaExpectZone, f.Zone)
	}
	return b
}

// appendExpect: the kernel takes the timeout with an update only; a new one has that of its helper's policy.
func appendExpect(b []byte, f *flow.Flow) []byte {
	x := f.Extra
	if x == nil {
		x = &flow.Extra{}
		f = &flow.Flow{Key: f.Key, Value: f.Value, Extra: x}
	}
	e := &x.Expect
	b = appendTuple(b, ctaExpectMaster, &x.Master, &x.Master.Tuple, 0)
	b = appendExpectKey(b, f)
	mask := flow.Tuple{Src: e.MaskSrc, SrcL4: e.MaskL4, DstL4: 0xffff}
	for i := range mask.Dst {
		mask.Dst[i] = 0xff
	}
	b = appendTuple(b, ctaExpectMask, &f.Key, &mask, 0)
	b = put32(b, ctaExpectTimeout, max(f.Timeout, 1))
	b = put32(b, ctaExpectFlags, e.Flags)
	b = put32(b, ctaExpectClass, e.Class)
	if e.Fn[0] != 0 {
		n := bytes.IndexByte(e.Fn[:], 0)
		b = putBytes(b, ctaExpectFn, e.Fn[:n+1])
	}
	if named(f) {
		n := bytes.IndexByte(x.Helper[:], 0)
		b = putBytes(b, ctaExpectHelpName, x.Helper[:n+1])
	}
	if e.HasNAT {
		b = appendExpectNAT(b, x)
	}
	return b
}

func appendExpectNAT(b []byte, x *flow.Extra) []byte {
	at := len(b)
	b = begin(b, ctaExpectNAT)
	b = put32(b, ctaExpectNATDir, uint32(x.Expect.NATDir))
	t := flow.Tuple{Src: x.Expect.NATAddr, SrcL4: x.Expect.NATL4}
	b = appendTuple(b, ctaExpectNATTuple, &x.Master, &t, 0)
	return end(b, at)
}
