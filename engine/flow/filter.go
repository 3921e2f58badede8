package flow

import "net/netip"

// Filter says which flows are replicated. The zero value replicates all.
type Filter struct {
	Protocols [256]bool // replicated layer-4 protocols, where AnyProtocol is false
	Some      bool      // Protocols is in force
	Ignore    []netip.Prefix
	Own       map[Addr]bool // addresses of this node, always ignored
}

// Accepts says whether f is replicated. Addresses are compared with the original source and the reply
// source, as conntrackd does: a flow that this node began, or that ends at it.
func (f *Filter) Accepts(k *Key, v *Value) bool {
	if f.Some && !f.Protocols[k.L4] {
		return false
	}
	if f.Own[k.Src] || f.Own[v.Reply.Src] {
		return false
	}
	if len(f.Ignore) == 0 {
		return true
	}
	src, dst := k.Src.Netip(k.L3), v.Reply.Src.Netip(k.L3)
	for _, p := range f.Ignore {
		if p.Contains(src) || p.Contains(dst) {
			return false
		}
	}
	return true
}
