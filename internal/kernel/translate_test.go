package kernel

import (
	"fmt"
	"net"
	"testing"
	"time"

	"ctsync/engine/flow"
)

// TestCreatedFlowsTranslatePackets: packets of flows that only this program created leave translated, and the
// answers find back, with no rule that would do it.
func TestCreatedFlowsTranslatePackets(t *testing.T) {
	client, server := router(t)
	run(t, "nft", "flush chain inet nat post")
	run(t, "nft", "flush chain inet nat pre")
	nft(t, natTables)
	serve(t, server)
	udp := snat(newFlow(flow.UDP, "10.77.1.2", 4100, "192.0.2.2", 7000), "192.0.2.1", 5100)
	udpDNAT := dnat(snat(newFlow(flow.UDP, "10.77.1.2", 4101, "203.0.113.7", 53), "192.0.2.1", 5101), "192.0.2.2", 7000)
	icmp := snat(newFlow(flow.ICMP, "10.77.1.2", 4102, "192.0.2.2", 8<<8), "192.0.2.1", 5102)
	icmpDNAT := dnat(snat(newFlow(flow.ICMP, "10.77.1.2", 4103, "203.0.113.7", 8<<8), "192.0.2.1", 5103), "192.0.2.2", 0)
	udp6 := dnat(newFlow(flow.UDP, "fd77:1::2", 4104, "fd77:1::1", 53), "fd77:2::2", 7006)
	mustDo(t, openWriter(t), ops(flow.OpCreate, udp, udpDNAT, icmp, icmpDNAT, udp6))

	server.do(t, func() error {
		c, err := net.ListenPacket("udp6", "[fd77:2::2]:7006")
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 10)
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}()
		return nil
	})
	for name, talk := range map[string]func() error{
		"udp snat":       func() error { return exchange("udp", "10.77.1.2:4100", "192.0.2.2:7000") },
		"udp snat dnat":  func() error { return exchange("udp", "10.77.1.2:4101", "203.0.113.7:53") },
		"icmp snat":      func() error { return ping("192.0.2.2", 4102) },
		"icmp snat dnat": func() error { return ping("203.0.113.7", 4103) },
		"udp6 dnat":      func() error { return exchange("udp", "[fd77:1::2]:4104", "[fd77:1::1]:53") },
	} {
		begin := time.Now()
		client.do(t, func() error {
			if err := talk(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		t.Logf("%s: %v", name, time.Since(begin))
	}
	if table := dumpAll(t); len(table) != 5 {
		t.Errorf("%d entries: packets made some of their own", len(table))
	}
}
