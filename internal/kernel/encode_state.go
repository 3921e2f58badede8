package kernel

import (
	"bytes"

	"ctsync/engine/flow"
)

// appendProtoInfo appends the state of the protocols that have one.
func appendProtoInfo(b []byte, f *flow.Flow) []byte {
	at := len(b)
	switch f.L4 {
	case flow.TCP:
		return end(appendTCP(begin(b, ctaProtoInfo), f), at)
	case flow.SCTP:
		// Without the tags, which the kernel demands together with the state, it would drop every chunk.
		if f.State == 0 || f.Extra == nil || f.Extra.VTag == [2]uint32{} {
			return b
		}
		return end(appendSCTP(begin(b, ctaProtoInfo), f), at)
	case flow.DCCP:
		if f.State == 0 {
			return b
		}
		return end(appendDCCP(begin(b, ctaProtoInfo), f), at)
	}
	return b
}

// tcpFlagsMask covers every flag that is written; one that the flow lacks is thereby cleared.
const tcpFlagsMask = flow.TCPFlagsKept | flow.TCPFlagBeLiberal

// appendTCP: window scales are taken by the kernel only with the flag that says that there is scaling, so
// the flags are always there. Liberal in both directions: the window that this kernel knows, if any, is
// out of date by the time it sees a packet.
func appendTCP(b []byte, f *flow.Flow) []byte {
	at := len(b)
	b = begin(b, ctaProtoInfoTCP)
	if f.State != flow.TCPNone {
		b = put8(b, ctaTCPState, f.State)
	}
	b = put8(b, ctaTCPWScaleOrig, f.WScale[0])
	b = put8(b, ctaTCPWScaleReply, f.WScale[1])
	b = putFlags(b, ctaTCPFlagsOrig, f.TCPFlags[0])
	b = putFlags(b, ctaTCPFlagsReply, f.TCPFlags[1])
	return end(b, at)
}

// putFlags appends a struct nf_ct_tcp_flags: flags, mask.
func putFlags(b []byte, typ uint16, flags uint8) []byte {
	flags = flags&flow.TCPFlagsKept | flow.TCPFlagBeLiberal
	return append(attr(b, typ, 2), flags, tcpFlagsMask, 0, 0)
}

func appendSCTP(b []byte, f *flow.Flow) []byte {
	at := len(b)
	b = begin(b, ctaProtoInfoSCTP)
	b = put8(b, ctaSCTPState, f.State)
	b = put32(b, ctaSCTPVTagOrig, f.Extra.VTag[0])
	b = put32(b, ctaSCTPVTagReply, f.Extra.VTag[1])
	return end(b, at)
}

// appendDCCP: the kernel demands a role with the state; the original direction is the client's (0,
// CT_DCCP_ROLE_CLIENT).
func appendDCCP(b []byte, f *flow.Flow) []byte {
	at := len(b)
	b = begin(b, ctaProtoInfoDCCP)
	b = put8(b, ctaDCCPState, f.State)
	b = put8(b, ctaDCCPRole, 0)
	return end(b, at)
}

// appendExtra appends all that is rare, for a create.
func appendExtra(b []byte, f *flow.Flow) []byte {
	x := f.Extra
	if x == nil {
		return b
	}
	if x.Helper != [16]byte{} {
		b = appendHelp(b, settable(&x.Helper))
	}
	if x.HasMaster {
		// No zone inside: the kernel looks the master up in the zone of the flow.
		b = appendTuple(b, ctaTupleMaster, &x.Master, &x.Master.Tuple, 0)
	}
	return appendChangeable(b, f)
}

// appendChangeable appends what is rare and may be changed later too. The labels are the last that the
// kernel looks at, which Writer relies on.
func appendChangeable(b []byte, f *flow.Flow) []byte {
	x := f.Extra
	if x == nil {
		return b
	}
	if x.HasSeqAdj {
		b = appendSeqAdj(b, ctaSeqAdjOrig, &x.SeqAdj[0])
		b = appendSeqAdj(b, ctaSeqAdjReply, &x.SeqAdj[1])
	}
	if x.HasSynProxy {
		b = appendSynProxy(b, &x.SynProxy)
	}
	if x.Labels != [16]byte{} || x.LabelsCleared {
		b = putBytes(b, ctaLabels, x.Labels[:])
	}
	return b
}

var (
	q931 = [16]byte{'Q', '.', '9', '3', '1'}
	h245 = [16]byte{'H', '.', '2', '4', '5'}
)

// settable is the helper to ask for. The kernel knows H.245's for UDP and uses it for TCP (nf_conntrack_h323_main.c),
// so that none can be given it by name: Q.931's finds nothing to read in what H.245 says, and lets what was announced
// before be expected.
func settable(helper *[16]byte) *[16]byte {
	if *helper == h245 {
		return &q931
	}
	return helper
}

// appendHelp: the kernel refuses a name without its NUL.
func appendHelp(b []byte, name *[16]byte) []byte {
	n := bytes.IndexByte(name[:], 0)
	if n < 0 {
		n = len(name) - 1
	}
	at := len(b)
	b = begin(b, ctaHelp)
	b = attr(b, ctaHelpName, n+1)
	b = append(b, name[:n]...)
	b = append(b, 0)
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return end(b, at)
}

func appendSeqAdj(b []byte, typ uint16, adj *flow.SeqAdj) []byte {
	at := len(b)
	b = begin(b, typ)
	b = put32(b, ctaSeqAdjPos, adj.Pos)
	b = put32(b, ctaSeqAdjBefore, adj.Before)
	b = put32(b, ctaSeqAdjAfter, adj.After)
	return end(b, at)
}

func appendSynProxy(b []byte, p *flow.SynProxy) []byte {
	at := len(b)
	b = begin(b, ctaSynProxy)
	b = put32(b, ctaSynProxyISN, p.ISN)
	b = put32(b, ctaSynProxyITS, p.ITS)
	b = put32(b, ctaSynProxyTSOff, p.TSOff)
	return end(b, at)
}
