package load

import (
	"testing"
	"time"

	"ctsync/engine/flow"
)

// many connections must not clash: neither two originals nor two translations.
const many = 300_000

func TestConnectionsAreDistinct(t *testing.T) {
	for _, s := range []Shape{Established, UDP, Mixed} {
		keys, replies := map[flow.Key]bool{}, map[flow.Key]bool{}
		for i := range many {
			f := s.Flow(i)
			reply := f.Key
			reply.Tuple = f.Reply
			if keys[f.Key] || replies[reply] {
				t.Fatalf("%s: connection %d is like an earlier one: %v", s.Name, i, f.Key)
			}
			keys[f.Key], replies[reply] = true, true
		}
	}
}

func TestPacketConnectionsAreDistinct(t *testing.T) {
	type translated struct {
		dst  [4]byte
		port uint16
	}
	seen := map[translated]bool{}
	for i := range many {
		p := packetTuple(i)
		k := translated{p.Dst, p.SrcL4}
		if seen[k] {
			t.Fatalf("the router could not keep the port of connection %d", i)
		}
		seen[k] = true
	}
}

// TestStepsComeInOrder: each connection goes through all its steps, one after the other, with a gap between them.
func TestStepsComeInOrder(t *testing.T) {
	const n, gap = 500, 100
	at := map[uint64]int{} // steps done
	batches := 0
	g := generator{plan: Plan{Shape: Short, Count: n, Batch: 128, Gap: gap}}
	g.do = func(ops []flow.Op, results []flow.Result) []flow.Result {
		batches++
		for i := range ops {
			if want := Short.Steps[at[ops[i].Tag]].Kind; ops[i].Kind != want {
				t.Fatalf("connection %d: step %d is %d, want %d", ops[i].Tag, at[ops[i].Tag], ops[i].Kind, want)
			}
			at[ops[i].Tag]++
			results = append(results, flow.Result{Tag: ops[i].Tag})
		}
		return results
	}
	g.run(begin(0))
	for i := range uint64(n) {
		if at[i] != len(Short.Steps) {
			t.Errorf("connection %d went through %d steps of %d", i, at[i], len(Short.Steps))
		}
	}
	if g.report.Events != n*len(Short.Steps) || g.report.Failed != 0 || batches < n*7/140 {
		t.Errorf("%+v in %d batches", g.report, batches)
	}
}

func TestRateIsKept(t *testing.T) {
	g := generator{plan: Plan{Shape: Established, Count: 2000, Batch: 10, Gap: 1}}
	g.do = func(ops []flow.Op, results []flow.Result) []flow.Result { return results }
	m := begin(10_000)
	g.run(m)
	m.end(&g.report)
	if e := g.report.Elapsed; e < 195*time.Millisecond || e > time.Second {
		t.Errorf("2000 events at 10,000/s took %s", e)
	}
}

// TestChecksums: the sum over a right packet, its checksum included, is all ones (RFC 1071).
func TestChecksums(t *testing.T) {
	var f frame
	for i := range 1000 {
		for k := range talk {
			f.fill(i*37, &talk[k])
			ip := f[etherSize : etherSize+ipSize]
			if got := checksum(ip, 0); got != 0 {
				t.Fatalf("connection %d, packet %d: header checksum is off by %#x", i, k, got)
			}
			if got := checksum(f[etherSize+ipSize:], sum(ip[12:20])+6+tcpSize); got != 0 {
				t.Fatalf("connection %d, packet %d: checksum is off by %#x", i, k, got)
			}
		}
	}
}

func TestShapeOf(t *testing.T) {
	if s, err := ShapeOf("short"); err != nil || len(s.Steps) != 7 {
		t.Errorf("short: %v, %d steps", err, len(s.Steps))
	}
	if _, err := ShapeOf("long"); err == nil {
		t.Error("a shape that there is not was found")
	}
}
