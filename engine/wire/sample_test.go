package wire

import (
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"ctsync/engine/flow"
)

var update = flag.Bool("update", false, "write testdata anew")

func addr(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

// sampleKey is one of the kinds of flows that every firewall has; n makes many of a kind.
func sampleTCP(n int) (flow.Key, flow.Value) {
	k := flow.Key{L3: flow.IPv4, L4: flow.TCP}
	k.Src, k.Dst = flow.Addr{10, 1, byte(n >> 8), byte(n)}, flow.Addr{198, 51, 100, byte(n * 7)}
	k.SrcL4, k.DstL4 = uint16(30000+n), 443
	v := flow.Value{Reply: k.Inverse(), Timeout: 432000, State: flow.TCPEstablished, WScale: [2]uint8{7, 8}, TCPFlags: [2]uint8{0x23, 0x23}}
	v.Status = flow.SeenReply | flow.Assured | flow.Confirmed | flow.SrcNAT | flow.SrcNATDone | flow.DstNATDone
	v.Reply.Dst = addr("203.0.113.9")
	return k, v
}

func sampleTCP6(n int) (flow.Key, flow.Value) {
	k := flow.Key{L3: flow.IPv6, L4: flow.TCP}
	k.Src, k.Dst = addr("2001:db8:1::1"), addr("2001:db8:ffff::443")
	k.Src[14], k.Src[15], k.Dst[13] = byte(n>>8), byte(n), byte(n)
	k.SrcL4, k.DstL4 = uint16(30000+n), 443
	v := flow.Value{Reply: k.Inverse(), Timeout: 432000, State: flow.TCPEstablished, WScale: [2]uint8{7, 8}, TCPFlags: [2]uint8{0x23, 0x23}}
	v.Status = flow.SeenReply | flow.Assured | flow.Confirmed
	return k, v
}

func sampleUDP(n int) (flow.Key, flow.Value) {
	k, v := sampleTCP(n)
	k.L4, k.DstL4 = flow.UDP, 53
	reply := v.Reply
	v = flow.Value{Reply: reply, Timeout: 30, Status: v.Status &^ flow.Assured}
	v.Reply.SrcL4 = 53
	return k, v
}

// samples is one of everything.
func samples() (recs []sent) {
	add := func(s sent) {
		s.Seq = uint64(len(recs)) + 1001
		if s.Born == 0 {
			s.Born = s.Seq
		}
		recs = append(recs, s)
	}
	k, v := sampleTCP(1)
	add(sent{Key: k, Value: v})
	k2, v2 := sampleTCP(2)
	v2.Reply.DstL4, v2.Mark = 1024, 0x10
	add(sent{Key: k2, Value: v2, Born: 7})
	k6, v6 := sampleTCP6(3)
	add(sent{Key: k6, Value: v6, Born: 900})
	u, uv := sampleUDP(4)
	uv.Reply.Src, uv.Reply.SrcL4 = addr("192.0.2.53"), 5353
	add(sent{Key: u, Value: uv})
	icmp := flow.Key{Tuple: flow.Tuple{Src: addr("10.0.0.1"), Dst: addr("192.0.2.1"), SrcL4: 77, DstL4: 8 << 8}, L3: flow.IPv4, L4: flow.ICMP}
	iv := flow.Value{Reply: icmp.Inverse(), Timeout: 29, Status: flow.Confirmed}
	iv.Reply.Dst, iv.Reply.SrcL4 = addr("203.0.113.9"), 78
	add(sent{Key: icmp, Value: iv})
	esp := flow.Key{Tuple: flow.Tuple{Src: addr("10.0.0.1"), Dst: addr("192.0.2.1")}, Zone: 5, ZoneDir: flow.ZoneOrig, L3: flow.IPv4, L4: flow.ESP}
	add(sent{Key: esp, Value: flow.Value{Reply: esp.Inverse(), Timeout: 600, Status: flow.Confirmed}})
	x := &flow.Extra{Labels: [16]byte{1, 15: 2}, Helper: [16]byte{'f', 't', 'p'}, HasMaster: true, Master: k6, HasSeqAdj: true, HasSynProxy: true, VTag: [2]uint32{8, 9}}
	x.SeqAdj = [2]flow.SeqAdj{{Pos: 1, Before: 2, After: 3}, {Pos: 4, Before: 5, After: 6}}
	x.SynProxy = flow.SynProxy{ISN: 1, ITS: 2, TSOff: 3}
	add(sent{Key: k, Value: v, Extra: x})
	add(sent{Key: k2, Tomb: TombEnded, Born: 7})
	add(sent{Key: k6, Tomb: TombYielded, Born: 900})
	return recs
}

// sampleBody is a DATA of samples, and where each record ends: ends[i] after i of them.
func sampleBody() (b []byte, ends []int) {
	recs := samples()
	for i := range len(recs) + 1 {
		b = body(1000, 1009, recs[:i])
		ends = append(ends, len(b))
	}
	return b, ends
}

func sampleBeat() Heartbeat {
	return Heartbeat{Min: 1, Max: 1, Node: "fw1", Role: 2, Complete: true, Hot: true, Activation: 3, Last: 1009, Count: 7, Digest: 0x0123456789abcdef,
		Known: []Known{{Epoch: Epoch{1, 15: 2}, Have: 300, Counter: 70000}, {Epoch: Epoch{3}, Have: 0, Counter: 1}}, Keys: []byte{0x5a, 0xc3}}
}

// sampleFrames is a whole datagram of each type.
func sampleFrames() map[string][]byte {
	data, _ := sampleBody()
	beat, ask := sampleBeat(), Ask{Range: Range{5, 700}, Base: 6, Credit: 64}
	asks := ask
	asks.Further = []Range{{710, 720}, {1000, 70000}}
	frame := func(typ Type, dest Epoch, body []byte) []byte {
		h := Header{Type: typ, Cluster: ClusterHash("fw"), Sender: Epoch{0: 0xe0, 15: 0xef}, Counter: 12345, Dest: dest}
		return Seal(append(AppendHeader(nil, &h), body...))
	}
	final := Header{Type: Data, Cluster: ClusterHash("fw"), Sender: Epoch{0: 0xe0, 15: 0xef}, Counter: 12345, Dest: Epoch{9}, Final: true}
	return map[string][]byte{
		"data":      frame(Data, Epoch{}, data),
		"repair":    frame(Data, Epoch{9}, AppendDataPrefix(nil, 5, 9)),
		"final":     Seal(append(AppendHeader(nil, &final), AppendDataPrefix(nil, 5, 9)...)),
		"wants":     frame(Want, Epoch{9}, AppendAsk(nil, &asks)),
		"heartbeat": frame(Beat, Epoch{}, AppendHeartbeat(nil, &beat)),
		"want":      frame(Want, Epoch{9}, AppendAsk(nil, &ask)),
		"restart":   frame(Restart, Epoch{9}, AppendRestart(nil, 700)),
	}
}

// TestGolden: the bytes of version 1 are what they were. Another format is another version.
func TestGolden(t *testing.T) {
	for name, b := range sampleFrames() {
		path := "testdata/" + name + ".hex"
		if *update {
			if err := os.WriteFile(path, []byte(lines(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(b); got != string(want) {
			t.Errorf("%s is not as it was; with -update it is written anew\n got:\n%s want:\n%s", name, got, want)
		}
		old, err := hex.DecodeString(strings.Join(strings.Fields(string(want)), ""))
		if err != nil {
			t.Fatal(err)
		}
		var h Header
		if _, err := Open(old, ClusterHash("fw"), &h); err != nil {
			t.Errorf("%s of testdata: %v", name, err)
		}
	}
}

func lines(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(len(b), 32)
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}
