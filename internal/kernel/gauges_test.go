package kernel

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGaugesFollow: they tell what the sysctls are now, also after a file went bad or was closed.
func TestGaugesFollow(t *testing.T) {
	newNetns(t)
	g := NewGauges()
	defer g.Close()
	for _, mode := range []int{0, 1, 0} {
		if err := os.WriteFile(sysctls+"nf_conntrack_events", []byte(strconv.Itoa(mode)), 0); err != nil {
			t.Fatal(err)
		}
		if g.Mute() != (mode == 0) {
			t.Errorf("nf_conntrack_events=%d, and mute is %v", mode, g.Mute())
		}
		wantMax, wantCount, err := Limits()
		max, count, bad := g.Limits()
		if err != nil || bad != nil || max != wantMax || count != wantCount {
			t.Errorf("%d, %d, %v; want %d, %d, %v", max, count, bad, wantMax, wantCount, err)
		}
		g.Close()
	}
	g.Mute()
	unix.Close(g.events.fd)
	if _, err := g.events.read(); err == nil {
		t.Error("a closed file was read")
	}
	if mode, err := g.events.read(); err != nil || mode != 0 {
		t.Errorf("%d, %v after a file went bad", mode, err)
	}
}

// TestGaugesCostNothing on the heap.
func TestGaugesCostNothing(t *testing.T) {
	g := NewGauges()
	defer g.Close()
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := g.Limits(); err != nil {
			t.Fatal(err)
		}
		g.Mute()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
