package engine

import (
	"bytes"

	"ctsync/engine/flow"
)

// PPTP's data is GRE whose header has one key, that of the receiver. The kernel that heard the call being made knows
// the sender's too (its keymap), and finds the flow and the expectation by both. No other kernel can be told, so
// that a copy with both meets no packet. What a node replicates of such an expectation is therefore the one
// that any kernel can use: the source's key left open, translated by the function that has a name, and
// staying, since each direction becomes a flow of its own. It is written into the node's own kernel too, once
// the first packet has used up the helper's own, and goes with the control connection.

// tunnelTime is how long the data of a call may be idle, in seconds (PPTP_GRE_STREAM_TIMEOUT, 5 hours).
const tunnelTime = 5 * 60 * 60

var (
	pptp         = []byte("pptp")
	followMaster = [24]byte([]byte("nat-follow-master\x00\x00\x00\x00\x00\x00\x00"))
)

// portable makes of PPTP's expectation f the one that any kernel can use. All others are as they were.
func portable(f *flow.Flow) {
	if !isTunnel(&f.Key, f.Extra) || f.SrcL4 == 0 {
		return
	}
	f.SrcL4, f.Timeout = 0, tunnelTime
	f.Reply = f.Inverse()
	x := &f.Extra.Expect
	x.MaskL4, x.Flags = 0, x.Flags|flow.ExpectPermanent
	if !x.HasNAT {
		return
	}
	x.Fn = followMaster
	if x.NATDir == 0 {
		x.NATL4 = f.DstL4 // the key says who receives it, and the receiver's is not translated this way
	}
}

// isTunnel says that this is an expectation of PPTP's data.
func isTunnel(k *flow.Key, x *flow.Extra) bool {
	return k.Kind == flow.KindExpect && k.L4 == flow.GRE && x != nil && bytes.HasPrefix(x.Helper[:], pptp)
}

// tunnel says that entry r should be an expectation of PPTP's data. The helper's own stands in its way where the
// call was made, and does as well there.
func (e *Engine) tunnel(r ref) bool {
	_, c := e.target(r)
	return c != nil && isTunnel(&e.tbl.Entry(r).Key, e.extras.get(c.Value.extra))
}

// goesOn says that the expectation r, which the kernel has no more, was used and is needed yet: the helper's own,
// not one that was written, while its control connection lives.
func (e *Engine) goesOn(r ref, own *copyOf) bool {
	x := e.extras.get(own.Value.extra)
	if e.role.is == Standby || !isTunnel(&e.tbl.Entry(r).Key, x) {
		return false
	}
	m, master := e.ownMaster(x)
	return master != nil && e.tbl.Entry(m).Kern&kPresent != 0
}
