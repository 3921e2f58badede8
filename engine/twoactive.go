package engine

import (
	"sort"
	"strings"
	"time"
)

// twoActiveAfter is how long two nodes may be active without a word: at every failback they are for an
// instant.
const twoActiveAfter = 500 * time.Millisecond

// twoActive notes whether others act besides this node, which is active: one that has said so for long enough, and as long as it is live.
func (e *Engine) twoActive() {
	s := &e.peers
	var heard time.Time // when one of them was heard last
	s.each(func(p *peer) {
		if p.acts(e.now) && p.lastHeard.After(heard) {
			heard = p.lastHeard
		}
	})
	if e.role.is != Active || heard.IsZero() {
		s.twoFrom = time.Time{}
		if s.two {
			s.two = false
			e.note(Note{Kind: NoteOneActive})
		}
		return
	}
	if s.twoFrom.IsZero() {
		s.twoFrom = e.now
	}
	if !s.two && heard.Sub(s.twoFrom) >= twoActiveAfter {
		s.two = true
		e.note(Note{Kind: NoteTwoActive, Peer: e.activePeers()})
	}
}

func (e *Engine) activePeers() string {
	var names []string
	e.peers.each(func(p *peer) {
		if p.acts(e.now) {
			names = append(names, p.name)
		}
	})
	sort.Strings(names)
	return strings.Join(names, ", ")
}
