package engine

import "ctsync/engine/flow"

// Early are the protocols whose flows alone concern an engine with the filter f as long as its outputs do not say
// AllEvents; none if all do. Events of other flows may be dropped before they cost anything: they would change
// nothing, since no cache has those flows. That is so until the filter changes or a peer with another one lists such a flow.
func Early(f *flow.Filter) (protocols []uint8) {
	if !f.Some {
		return nil
	}
	for p, accepted := range f.Protocols {
		if accepted {
			protocols = append(protocols, uint8(p))
		}
	}
	return protocols
}

// foreign notes that a peer lists a flow of a protocol that this node leaves out.
func (e *Engine) foreign(k *flow.Key) {
	if e.filter.Some && !e.filter.Protocols[k.L4] {
		e.allEvents = true
	}
}
