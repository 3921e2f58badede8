package kernel

import "ctsync/engine/flow"

// extras hands out flow.Extra for the rare flow that has one. What was handed out stays valid until reset.
// The zero value is ready; one goroutine owns it.
type extras struct {
	block []flow.Extra
	used  int
}

const extrasBlock = 64

// spare is the next one, not taken yet: a decoder may or may not use it.
func (e *extras) spare() *flow.Extra {
	if e.used == len(e.block) {
		// The full block stays alive by the pointers into it.
		e.block, e.used = make([]flow.Extra, max(extrasBlock, 2*len(e.block))), 0
	}
	return &e.block[e.used]
}

// decode is decodeEntry with an Extra of e where one is needed.
func (e *extras) decode(typ uint16, b []byte, family uint8, f *flow.Flow) (flow.Has, error) {
	has, err := decodeEntry(typ, b, family, f, e.spare())
	if err == nil && f.Extra != nil {
		e.used++
	}
	return has, err
}

// reset takes all back, in the block at hand.
func (e *extras) reset() { e.used = 0 }
