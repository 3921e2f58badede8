package engine

import (
	"strings"
	"testing"
	"time"

	"ctsync/engine/flow"
)

// TestAFullTable: a standby whose table is full, or nearly, makes no more copies, follows those that it has, says so
// and is not ready; when there is room again it makes up for it.
func TestAFullTable(t *testing.T) {
	p := activeAndStandby(t)
	old := p.packet(p.a, conn(1, noNAT))
	p.advance(100 * time.Millisecond)
	p.b.wantOps("create 1")
	p.tell(p.b, &KernelLimits{Max: 1000, Count: 960})
	for i := 2; i < 40; i++ {
		p.packet(p.a, conn(i, noNAT))
	}
	old.State = flow.TCPFinWait
	p.event(p.a, flow.EventUpdate, old)
	p.advance(200 * time.Millisecond)
	p.b.wantOps("update 1")
	p.b.wantNote(NoteTableFull, 1)
	p.b.wantLists(0, 39)
	p.b.wantReady(NotReady)
	if s := p.b.e.Status(); s.Verdict != Degraded || !strings.Contains(s.Why, "38 flows wait for room") {
		t.Fatalf("%v: %s", s.Verdict, s.Why)
	}
	p.advance(20 * time.Second)
	p.b.wantNote(NoteTableFull, 0) // once
	p.b.wantOps()
	p.tell(p.b, &KernelLimits{Max: 1000, Count: 100})
	p.advance(maxPause)
	if n := len(p.b.kernel); n != 39 {
		t.Fatalf("%d flows", n)
	}
	p.b.wantReady(Ready)
	p.b.wantNote(NoteTableFreed, 1)
	p.b.ops = nil
}
