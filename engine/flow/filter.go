package flow

import (
	"bytes"
	"net/netip"
	"strings"
	"time"
)

// Filter says which flows are replicated. The zero value replicates all.
type Filter struct {
	Protocols [256]bool // replicated layer-4 protocols, where AnyProtocol is false
	Some      bool      // Protocols is in force

	// States are the replicated states of TCP flows, where SomeStates is set. One whose state is not known is not.
	States     [16]bool
	SomeStates bool

	After   time.Duration // how old a flow must be to be replicated,
	Packets uint64        // or how many packets it must have had, both directions together; 0: any number does not do

	Ignore []netip.Prefix
	own    map[Host]bool // addresses of this node, always ignored
	ranges *ranges       // all of these; nil: to be made

	// Helpers are those whose expectations are replicated, or all of them. A name stands for those with a port
	// too, which the kernel appends to a helper on a port that is not its usual one: ftp-2121.
	Helpers    []string
	AllHelpers bool
}

// Accepts says whether f is replicated, in the state that it is in.
func (f *Filter) Accepts(k *Key, v *Value) bool {
	if f.SomeStates && k.L4 == TCP && !f.States[v.State&15] {
		return false
	}
	return f.acceptsAny(k, v)
}

// acceptsAny says whether f is replicated in any state. Addresses are compared with the original source and the reply
// source, as conntrackd does: a flow that this node began, or that ends at it.
func (f *Filter) acceptsAny(k *Key, v *Value) bool {
	if f.Some && !f.Protocols[k.L4] {
		return false
	}
	if f.ranges == nil {
		f.ranges = f.makeRanges()
	}
	return !f.ranges.has(&k.Src, k.L3) && !f.ranges.has(&v.Reply.Src, k.L3)
}

// Own are the addresses of this node.
func (f *Filter) Own() map[Host]bool { return f.own }

// SetOwn replaces the addresses of this node. Who has the Filter alone may call it.
func (f *Filter) SetOwn(own map[Host]bool) { f.own, f.ranges = own, nil }

// Expects says whether the expectation x is replicated: that of a helper that is meant, of a master that is
// replicated too. reply is the reply direction of the master, with its NAT: one to a virtual address that is
// translated does not end here.
func (f *Filter) Expects(x *Flow, reply Tuple) bool {
	if x.Extra == nil || !f.helps(x.Extra) {
		return false
	}
	return f.acceptsAny(&x.Extra.Master, &Value{Reply: reply})
}

func (f *Filter) helps(x *Extra) bool {
	if f.AllHelpers {
		return true
	}
	name := string(x.Helper[:max(bytes.IndexByte(x.Helper[:], 0), 0)])
	for _, h := range f.Helpers {
		if rest, ok := strings.CutPrefix(name, h); ok && (rest == "" || rest[0] == '-') {
			return true
		}
	}
	return false
}
