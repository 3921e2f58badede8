package kernel

import (
	"bytes"

	"ctsync/engine/flow"
)

// decodeHelp reads the helper's name, which ends with a NUL. A name too long for the kernel itself
// (NF_CT_HELPER_NAME_LEN is 16 with its NUL) is refused.
func decodeHelp(b []byte, f *flow.Flow, x *flow.Extra) error {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		if typ != ctaHelpName {
			continue
		}
		if i := bytes.IndexByte(v, 0); i >= 0 {
			v = v[:i]
		}
		x = rare(f, x)
		if len(v) >= len(x.Helper) {
			return errLength
		}
		x.Helper = [16]byte{}
		copy(x.Helper[:], v)
	}
	return nil
}

// decodeLabels: up to 128 bits (XT_CONNLABEL_MAXBIT), in the order of the kernel's memory. All zero is the
// same as none.
func decodeLabels(v []byte, f *flow.Flow, x *flow.Extra) error {
	if len(v) > len(x.Labels) || len(v)%4 != 0 {
		return errLength
	}
	for _, c := range v {
		if c != 0 {
			x = rare(f, x)
			x.Labels = [16]byte{}
			copy(x.Labels[:], v)
			return nil
		}
	}
	return nil
}

// decodeSeqAdj: all zero is the same as none, here and for the SYN proxy, which the kernel reports for every
// flow that was created over netlink.
func decodeSeqAdj(b []byte, f *flow.Flow, x *flow.Extra, dir int) error {
	var adj flow.SeqAdj
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaSeqAdjPos:
			err = get32(v, &adj.Pos)
		case ctaSeqAdjBefore:
			err = get32(v, &adj.Before)
		case ctaSeqAdjAfter:
			err = get32(v, &adj.After)
		}
		if err != nil {
			return err
		}
	}
	if adj != (flow.SeqAdj{}) {
		x = rare(f, x)
		x.HasSeqAdj, x.SeqAdj[dir] = true, adj
	}
	return nil
}

func decodeSynProxy(b []byte, f *flow.Flow, x *flow.Extra) error {
	var p flow.SynProxy
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return err
		}
		b = rest
		switch typ {
		case ctaSynProxyISN:
			err = get32(v, &p.ISN)
		case ctaSynProxyITS:
			err = get32(v, &p.ITS)
		case ctaSynProxyTSOff:
			err = get32(v, &p.TSOff)
		}
		if err != nil {
			return err
		}
	}
	if p != (flow.SynProxy{}) {
		x = rare(f, x)
		x.HasSynProxy, x.SynProxy = true, p
	}
	return nil
}
