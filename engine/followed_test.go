package engine

import (
	"testing"
	"time"

	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// TestFollowed: a peer that is only there does not follow, not even for a moment.
func TestFollowed(t *testing.T) {
	p := activeAndStandby(t)
	p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	if !p.a.e.Followed() {
		t.Error("b has everything")
	}
	p.cut = func(from, to *fake) bool { return from == p.b || to == p.b }
	p.advance(4 * time.Second)
	p.lose = func(_ *fake, kind wire.Type) bool { return kind == wire.Data }
	c := p.join("c")
	p.notice(c, vrrp.Backup)
	for range 50 {
		if p.advance(100 * time.Millisecond); p.a.e.Followed() {
			t.Fatal("b is gone, and c has heard nothing")
		}
	}
	p.lose = nil
	p.advance(2 * time.Second)
	if !p.a.e.Followed() {
		t.Error("c has everything")
	}
	p.b.ops, c.ops = nil, nil
}
