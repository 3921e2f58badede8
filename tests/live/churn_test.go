package live

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
	"ctsync/tests/lab"
)

// churn is connections that begin, are answered and end in a router's kernel, without its daemon's doing. The
// numbers [first, next) are there; the last few of them are not answered yet. One goroutine uses it.
type churn struct {
	router      *lab.Router
	first, next int
	events      int
}

// unanswered is how many connections begin before the first of them is answered.
const unanswered = 50

// turn begins and ends so many connections, evenly mixed, at so many events a second; 0: as fast as it goes.
func (c *churn) turn(begin, end, rate int) error {
	return c.router.Write(func(w *kernel.Writer) error {
		start, done := time.Now(), 0
		var ops []flow.Op
		var results []flow.Result
		for begun, ended := 0, 0; begun < begin || ended < end; {
			ops = ops[:0]
			for len(ops) < 126 && (begun < begin || ended < end) {
				if ended == end || begun < begin && begun*end <= ended*begin {
					ops = c.begin(ops)
					begun++
				} else {
					ops = c.end(ops)
					ended++
				}
			}
			results = w.Do(ops, results[:0])
			for i := range results {
				if errno := results[i].Errno; errno != 0 {
					return fmt.Errorf("%s: operation %d on %s: %w", c.router.Name, ops[i].Kind, ops[i].Flow.Key, errno)
				}
			}
			if done += len(ops); rate > 0 {
				time.Sleep(time.Until(start.Add(time.Duration(done) * time.Second / time.Duration(rate))))
			}
		}
		c.events += done
		return nil
	})
}

func (c *churn) begin(ops []flow.Op) []flow.Op {
	f := lab.FurtherFlow(c.next)
	f.Status, f.State, f.Timeout = flow.Confirmed, flow.TCPSynSent, 600
	ops = append(ops, flow.Op{Kind: flow.OpCreate, Flow: f})
	if i := c.next - unanswered; i >= c.first {
		ops = append(ops, flow.Op{Kind: flow.OpUpdate, Flow: lab.FurtherFlow(i)})
	}
	c.next++
	return ops
}

func (c *churn) end(ops []flow.Op) []flow.Op {
	ops = append(ops, flow.Op{Kind: flow.OpDelete, Flow: lab.FurtherFlow(c.first)})
	c.first++
	return ops
}

// start lets connections come and go, as many as there are staying the same, until stop is called.
func (c *churn) start(t *testing.T, rate int) (stop func()) {
	t.Helper()
	quit, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-quit:
				ended <- nil
				return
			default:
			}
			n := max(1, rate/3/20) // three events each, for 50 ms
			if err := c.turn(n, n, rate); err != nil {
				ended <- err
				return
			}
		}
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		close(quit)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// left fails the test unless the router's kernel has exactly the connections that are left.
func (c *churn) left(t *testing.T, when string) {
	t.Helper()
	missing := map[string]bool{}
	for i := c.first; i < c.next; i++ {
		f := lab.FurtherFlow(i)
		missing[fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", f.Src.Netip(flow.IPv4), f.Dst.Netip(flow.IPv4), f.SrcL4, f.DstL4)] = true
	}
	invented := 0
	s := bufio.NewScanner(strings.NewReader(inside(t, c.router, "conntrack -L -p tcp")))
	for s.Scan() {
		words := strings.Fields(s.Text())
		for i, w := range words {
			if !strings.HasPrefix(w, "src=10.11.") {
				continue
			}
			if key := strings.Join(words[i:i+4], " "); missing[key] {
				delete(missing, key)
			} else {
				invented++
			}
			break
		}
	}
	if len(missing) > 0 || invented > 0 {
		t.Errorf("%s: of %d connections that %s should have, %d are missing, and %d are there that ended or never were",
			when, c.next-c.first, c.router.Name, len(missing), invented)
	}
}
