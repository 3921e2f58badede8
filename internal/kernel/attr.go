package kernel

import (
	"encoding/binary"
	"errors"
)

// Reasons to refuse a message.
var (
	errTruncated = errors.New("kernel: decode: truncated attribute")
	errLength    = errors.New("kernel: decode: attribute of the wrong length")
	errTuple     = errors.New("kernel: decode: incomplete tuple")
	errFamily    = errors.New("kernel: decode: not an IPv4 or IPv6 flow")
)

// Attributes of a conntrack message (enum ctattr_type).
const (
	ctaTupleOrig   = 1
	ctaTupleReply  = 2
	ctaStatus      = 3
	ctaProtoInfo   = 4
	ctaHelp        = 5
	ctaNATSrc      = 6
	ctaTimeout     = 7
	ctaMark        = 8
	ctaCountOrig   = 9
	ctaCountReply  = 10
	ctaID          = 12
	ctaNATDst      = 13
	ctaTupleMaster = 14
	ctaSeqAdjOrig  = 15
	ctaSeqAdjReply = 16
	ctaZone        = 18
	ctaLabels      = 22
	ctaSynProxy    = 24
)

// Nested attributes: enum ctattr_tuple, ctattr_ip, ctattr_l4proto, ctattr_protoinfo and its children,
// ctattr_help, ctattr_nat, ctattr_protonat, ctattr_seqadj, ctattr_synproxy, ctattr_counters.
const (
	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaTupleZone  = 3

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum        = 1
	ctaProtoSrcPort    = 2
	ctaProtoDstPort    = 3
	ctaProtoICMPID     = 4
	ctaProtoICMPType   = 5
	ctaProtoICMPCode   = 6
	ctaProtoICMPv6ID   = 7
	ctaProtoICMPv6Type = 8
	ctaProtoICMPv6Code = 9

	ctaProtoInfoTCP  = 1
	ctaProtoInfoDCCP = 2
	ctaProtoInfoSCTP = 3

	ctaTCPState       = 1
	ctaTCPWScaleOrig  = 2
	ctaTCPWScaleReply = 3
	ctaTCPFlagsOrig   = 4
	ctaTCPFlagsReply  = 5

	ctaDCCPState = 1
	ctaDCCPRole  = 2

	ctaSCTPState     = 1
	ctaSCTPVTagOrig  = 2
	ctaSCTPVTagReply = 3

	ctaHelpName = 1

	ctaCountPackets = 1

	ctaNATv4Min = 1
	ctaNATv4Max = 2
	ctaNATProto = 3
	ctaNATv6Min = 4
	ctaNATv6Max = 5

	ctaProtoNATMin = 1
	ctaProtoNATMax = 2

	ctaSeqAdjPos    = 1
	ctaSeqAdjBefore = 2
	ctaSeqAdjAfter  = 3

	ctaSynProxyISN   = 1
	ctaSynProxyITS   = 2
	ctaSynProxyTSOff = 3
)

// Flags in an attribute's type (NLA_F_NESTED, NLA_TYPE_MASK).
const (
	nested   = 0x8000
	typeMask = 0x3fff
)

const attrHeader = 4

// next splits the first attribute off b, which must not be empty. Attributes are aligned to 4 bytes; the
// padding of the last one may be missing.
func next(b []byte) (typ uint16, value, rest []byte, err error) {
	if len(b) < attrHeader {
		return 0, nil, nil, errTruncated
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < attrHeader || n > len(b) {
		return 0, nil, nil, errTruncated
	}
	return binary.NativeEndian.Uint16(b[2:]) & typeMask, b[attrHeader:n], b[min(align(n), len(b)):], nil
}

func align(n int) int { return (n + 3) &^ 3 }

func get8(v []byte, to *uint8) error {
	if len(v) != 1 {
		return errLength
	}
	*to = v[0]
	return nil
}

func get16(v []byte, to *uint16) error {
	if len(v) != 2 {
		return errLength
	}
	*to = binary.BigEndian.Uint16(v)
	return nil
}

func get32(v []byte, to *uint32) error {
	if len(v) != 4 {
		return errLength
	}
	*to = binary.BigEndian.Uint32(v)
	return nil
}

// Appending: a header in the host's order, the value, padding.

func attr(b []byte, typ uint16, length int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attrHeader+length))
	return binary.NativeEndian.AppendUint16(b, typ)
}

func put8(b []byte, typ uint16, v uint8) []byte { return append(attr(b, typ, 1), v, 0, 0, 0) }

func put16(b []byte, typ, v uint16) []byte {
	return append(attr(b, typ, 2), byte(v>>8), byte(v), 0, 0)
}

func put32(b []byte, typ uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(attr(b, typ, 4), v)
}

// putBytes pads to the alignment.
func putBytes(b []byte, typ uint16, v []byte) []byte {
	b = append(attr(b, typ, len(v)), v...)
	for i := len(v); i&3 != 0; i++ {
		b = append(b, 0)
	}
	return b
}

// begin opens a nested attribute; end(b, at) closes the one that began where b was at long.
func begin(b []byte, typ uint16) []byte { return attr(b, typ|nested, 0) }

func end(b []byte, at int) []byte {
	binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at))
	return b
}
