package peer

import (
	"fmt"
	"testing"
	"time"
)

// TestThroughput measures what one multicast link carries. A few may be lost in the host's own queues, before
// the socket, where no counter of ours can be.
func TestThroughput(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	nsA, nsB := pair(t, 1)
	c := multicast(DefaultGroup, "eth1")
	c.SendBuffer, c.ReceiveBuffer = 8<<20, 8<<20
	a, b := startNode(t, nsA, c), startNode(t, nsB, c)
	a.up()
	b.up()
	const n = 100_000
	began := time.Now()
	a.ask(fmt.Sprintf("send %d 1400 -", n))
	sent := time.Since(began)
	r := b.wait("nearly every datagram counted", func(r report) bool {
		return r.Stats[0].PacketsReceived+r.Stats[0].ReceiveErrors >= n*99/100
	})
	t.Logf("%.0f datagrams/s sent, %s each; %d lost in the receive buffer",
		n/sent.Seconds(), sent/n, r.Stats[0].ReceiveErrors)
}
