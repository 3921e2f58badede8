package sim

import (
	"testing"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// TestLeftOut: nobody knew of a flow whose key had changed again before the repair that should have brought it (4254, 4700).
func TestLeftOut(t *testing.T) {
	second := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	k, epoch := keyOf(flow.TCP, 0, 0, 0), wire.Epoch{1}
	h := &history{
		recs: map[flow.Key][]engine.Listed{k: {{Seq: 5}, {Seq: 7}}},
		told: map[uint64]time.Time{5: second(1), 7: second(3)},
	}
	first := &h.recs[k][0]
	first.Flow.Key = k
	n := &node{roleAt: second(9)}
	for _, c := range []struct {
		name  string
		trail []knew
		want  bool
	}{
		{"heard before the change", []knew{{second(2), 6}}, false},
		{"asked for after it", []knew{{second(2), 4}, {second(4), 6}}, true},
		{"forgotten, and asked for after it", []knew{{second(2), 6}, {second(2), 0}, {second(4), 6}}, true},
		{"both heard", []knew{{second(2), 4}, {second(4), 7}}, false},
		{"asked for after the takeover", []knew{{second(2), 6}, {second(10), 8}}, false},
	} {
		j := &judge{logs: map[wire.Epoch]*history{epoch: h}, seen: []*sight{{trail: map[wire.Epoch][]knew{epoch: c.trail}}}}
		if got := j.leftOut(n, epoch, first); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
