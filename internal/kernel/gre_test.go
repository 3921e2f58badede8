package kernel

import (
	"net"
	"testing"

	"ctsync/engine/flow"
)

// TestGREOutlivesItsPackets: the kernel gives an entry that a packet meets the timeout that the entry has for it,
// which one that was written does not have.
func TestGREOutlivesItsPackets(t *testing.T) {
	client, _ := router(t)
	w := openWriter(t)
	f := newFlow(flow.GRE, "10.77.1.2", 0, "192.0.2.2", 0)
	f.Status, f.Timeout = flow.Confirmed|flow.SeenReply|flow.Assured, 100
	mustDo(t, w, ops(flow.OpCreate, f))
	was := do(w, flow.OpGet, f).Flow
	for range 2 {
		client.do(t, func() error {
			conn, err := net.Dial("ip4:gre", "192.0.2.2")
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte{0, 0, 8, 0, 0, 0, 0, 0})
			return err
		})
	}
	got := do(w, flow.OpGet, f)
	if got.Errno != 0 || got.Flow.ID != was.ID || got.Flow.Timeout < 90 {
		t.Errorf("after two packets: %v, %+v", got.Errno, got.Flow)
	}
}
