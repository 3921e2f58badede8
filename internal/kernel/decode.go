package kernel

import "ctsync/engine/flow"

// DecodeFlow reads the attributes of one conntrack message into *f. b is the message after its netlink and
// nfnetlink headers, family the nfgen_family of the latter. has says which optional attributes were there.
//
// Attributes that are not known are skipped, at every level, so that a newer kernel does no harm; what is
// cut short, of a wrong length, or without a whole original tuple is refused, and *f is then undefined. The
// reply tuple stays as the kernel holds it, with NAT. *x is overwritten and f.Extra points to it if the
// message holds something rare; else both are left alone and f.Extra is nil. Nothing points into b.
func DecodeFlow(b []byte, family uint8, f *flow.Flow, x *flow.Extra) (has flow.Has, err error) {
	if family != flow.IPv4 && family != flow.IPv6 {
		return 0, errFamily
	}
	*f = flow.Flow{}
	f.L3 = family
	key := false
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return 0, err
		}
		b = rest
		switch typ {
		case ctaTupleOrig:
			err = decodeTuple(v, family, &f.Key, &f.Tuple, flow.ZoneOrig)
			key = true
		case ctaTupleReply:
			err = decodeTuple(v, family, &f.Key, &f.Reply, flow.ZoneReply)
			has |= flow.HasReply
		case ctaStatus:
			err = get32(v, &f.Status)
			has |= flow.HasStatus
		case ctaTimeout:
			err = get32(v, &f.Timeout)
			has |= flow.HasTimeout
		case ctaMark:
			err = get32(v, &f.Mark)
			has |= flow.HasMark
		case ctaID:
			err = get32(v, &f.ID)
		case ctaZone:
			err = get16(v, &f.Zone)
		case ctaProtoInfo:
			err = decodeProtoInfo(v, f, x)
			has |= flow.HasProtoInfo
		default:
			err = decodeRare(typ, v, f, x)
		}
		if err != nil {
			return 0, err
		}
	}
	if !key {
		return 0, errTuple
	}
	if f.Extra != nil && f.Extra.HasMaster {
		// The kernel looks masters up in the zone of the flow itself and sends none for them.
		f.Extra.Master.Zone, f.Extra.Master.ZoneDir = f.Zone, f.ZoneDir
	}
	return has, nil
}

// rare gives the flow its Extra, emptied the first time.
func rare(f *flow.Flow, x *flow.Extra) *flow.Extra {
	if f.Extra == nil {
		*x = flow.Extra{}
		f.Extra = x
	}
	return x
}

func decodeRare(typ uint16, v []byte, f *flow.Flow, x *flow.Extra) error {
	switch typ {
	case ctaHelp:
		return decodeHelp(v, f, x)
	case ctaLabels:
		return decodeLabels(v, f, x)
	case ctaTupleMaster:
		x = rare(f, x)
		x.HasMaster = true
		x.Master.L3 = f.L3
		return decodeTuple(v, f.L3, &x.Master, &x.Master.Tuple, flow.ZoneOrig)
	case ctaSeqAdjOrig:
		return decodeSeqAdj(v, f, x, 0)
	case ctaSeqAdjReply:
		return decodeSeqAdj(v, f, x, 1)
	case ctaSynProxy:
		return decodeSynProxy(v, f, x)
	}
	return nil
}

// decodeTuple reads one direction into *t; protocol and zone go into *k. A zone inside a tuple is one of
// that direction only, dir.
func decodeTuple(b []byte, family uint8, k *flow.Key, t *flow.Tuple, dir uint8) error {
	if decodePlain(b, family, k, t) {
		return nil
	}
	return decodeAnyTuple(b, family, k, t, dir)
}

func decodeAnyTuple(b []byte, family uint8, k *flow.Key, t *flow.Tuple, dir uint8) error {
	var ip, proto bool
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaTupleIP:
			ip, err = true, decodeIP(v, family, t)
		case ctaTupleProto:
			proto, err = true, decodeProto(v, k, t)
		case ctaTupleZone:
			k.ZoneDir, err = dir, get16(v, &k.Zone)
		}
		if err != nil {
			return err
		}
	}
	if !ip || !proto {
		return errTuple
	}
	return nil
}

func decodeIP(b []byte, family uint8, t *flow.Tuple) error {
	src, dst, size := uint16(ctaIPv4Src), uint16(ctaIPv4Dst), 4
	if family == flow.IPv6 {
		src, dst, size = ctaIPv6Src, ctaIPv6Dst, 16
	}
	found := 0
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		if typ != src && typ != dst {
			continue
		}
		if len(v) != size {
			return errLength
		}
		found++
		if typ == src {
			copy(t.Src[:], v)
		} else {
			copy(t.Dst[:], v)
		}
	}
	if found != 2 {
		return errTuple
	}
	return nil
}

func decodeProto(b []byte, k *flow.Key, t *flow.Tuple) error {
	var icmpType, icmpCode uint8
	found := false
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaProtoNum:
			found, err = true, get8(v, &k.L4)
		case ctaProtoSrcPort, ctaProtoICMPID, ctaProtoICMPv6ID:
			err = get16(v, &t.SrcL4)
		case ctaProtoDstPort:
			err = get16(v, &t.DstL4)
		case ctaProtoICMPType, ctaProtoICMPv6Type:
			err = get8(v, &icmpType)
		case ctaProtoICMPCode, ctaProtoICMPv6Code:
			err = get8(v, &icmpCode)
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return errTuple
	}
	if k.L4 == flow.ICMP || k.L4 == flow.ICMPv6 {
		t.DstL4 = uint16(icmpType)<<8 | uint16(icmpCode)
	}
	return nil
}

func decodeProtoInfo(b []byte, f *flow.Flow, x *flow.Extra) error {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaProtoInfoTCP:
			err = decodeTCP(v, &f.Value)
		case ctaProtoInfoSCTP:
			err = decodeSCTP(v, f, x)
		case ctaProtoInfoDCCP:
			err = decodeDCCP(v, &f.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func decodeTCP(b []byte, val *flow.Value) error {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaTCPState:
			err = get8(v, &val.State)
		case ctaTCPWScaleOrig:
			err = get8(v, &val.WScale[0])
		case ctaTCPWScaleReply:
			err = get8(v, &val.WScale[1])
		case ctaTCPFlagsOrig:
			err = getFlags(v, &val.TCPFlags[0])
		case ctaTCPFlagsReply:
			err = getFlags(v, &val.TCPFlags[1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// getFlags reads a struct nf_ct_tcp_flags: flags, then a mask which the kernel leaves 0.
func getFlags(v []byte, to *uint8) error {
	if len(v) != 2 {
		return errLength
	}
	*to = v[0]
	return nil
}

func decodeSCTP(b []byte, f *flow.Flow, x *flow.Extra) error {
	var tags [2]uint32
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaSCTPState:
			err = get8(v, &f.State)
		case ctaSCTPVTagOrig:
			err = get32(v, &tags[0])
		case ctaSCTPVTagReply:
			err = get32(v, &tags[1])
		}
		if err != nil {
			return err
		}
	}
	if tags != [2]uint32{} {
		rare(f, x).VTag = tags
	}
	return nil
}

// decodeDCCP: kernels from 6.17 on do not track DCCP any more.
func decodeDCCP(b []byte, val *flow.Value) error {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		if typ != ctaDCCPState {
			continue
		}
		if err := get8(v, &val.State); err != nil {
			return err
		}
	}
	return nil
}
