package kernel

import (
	"encoding/binary"

	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ctsync/engine/flow"
)

func TestDecodeGoldenDumps(t *testing.T) {
	for _, name := range goldenDumps {
		t.Run(name, func(t *testing.T) {
			got, has := decodeMessage(t, golden(t, goldenName(name)))
			want := asHeld(findSample(name))
			if got.ID == 0 {
				t.Error("no id")
			}
			if d := cmp.Diff(want, near(got, want)); d != "" {
				t.Errorf("want -, decoded +:\n%s", d)
			}
			must := flow.HasReply | flow.HasStatus | flow.HasTimeout | flow.HasMark // a dump has the mark, even 0
			if want.State != 0 {
				must |= flow.HasProtoInfo
			}
			if has != must {
				t.Errorf("has %05b, want %05b", has, must)
			}
		})
	}
}

func TestDecodeGoldenEvents(t *testing.T) {
	tcp := snat(newFlow(flow.TCP, "10.77.1.2", 4001, "192.0.2.2", 7000), "192.0.2.1", 0)
	udp := snat(newFlow(flow.UDP, "10.77.1.2", 4002, "192.0.2.2", 7000), "192.0.2.1", 0)
	tcp6 := dnat(newFlow(flow.TCP, "fd77:1::2", 4003, "fd77:1::1", 80), "fd77:2::2", 7000)
	icmp := snat(newFlow(flow.ICMP, "10.77.1.2", 4004, "192.0.2.2", 8<<8), "192.0.2.1", 4004)
	const done = flow.SrcNATDone | flow.DstNATDone
	for _, c := range []struct {
		name    string
		flow    flow.Flow
		status  uint32
		state   uint8
		timeout uint32
		has     flow.Has
	}{
		{"new-6-2", tcp, flow.Confirmed | flow.SrcNAT | done, flow.TCPSynSent, 120, flow.HasProtoInfo},
		{"update-6-2-established", tcp, flow.SeenReply | flow.Assured | flow.Confirmed | flow.SrcNAT | done, flow.TCPEstablished, 432000, flow.HasProtoInfo},
		{"destroy-6-2", tcp, flow.SeenReply | flow.Assured | flow.Confirmed | flow.SrcNAT | done | flow.Dying, flow.TCPTimeWait, 120, flow.HasProtoInfo},
		{"new-17-2", udp, flow.Confirmed | flow.SrcNAT | done, 0, 30, 0},
		{"update-17-2", udp, flow.SeenReply | flow.Confirmed | flow.SrcNAT | done, 0, 30, 0},
		{"update-6-10-established", tcp6, flow.SeenReply | flow.Assured | flow.Confirmed | flow.DstNAT | done, flow.TCPEstablished, 432000, flow.HasProtoInfo},
		{"update-1-2", icmp, flow.SeenReply | flow.Confirmed | flow.SrcNAT | done, 0, 30, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, has := decodeMessage(t, golden(t, "event-"+c.name))
			if got.Key != c.flow.Key {
				t.Errorf("key %v", got.Key)
			}
			if c.flow.L4 == flow.TCP || c.flow.L4 == flow.UDP {
				if c.flow.L3 == flow.IPv4 { // the kernel chose the port
					if p := got.Reply.DstL4; p < 30000 || p > 30999 {
						t.Errorf("port %d", p)
					}
					c.flow.Reply.DstL4 = got.Reply.DstL4
				}
			}
			if got.Reply != c.flow.Reply {
				t.Errorf("reply %+v, want %+v", got.Reply, c.flow.Reply)
			}
			if got.Status != c.status || got.State != c.state || got.Extra != nil || got.ID == 0 {
				t.Errorf("status %#x, want %#x; state %d, want %d; extra %v", got.Status, c.status, got.State, c.state, got.Extra)
			}
			if got.Timeout > c.timeout || got.Timeout+5 < c.timeout {
				t.Errorf("timeout %d, want %d", got.Timeout, c.timeout)
			}
			if want := c.has | flow.HasReply | flow.HasStatus | flow.HasTimeout; has != want {
				t.Errorf("has %05b, want %05b", has, want)
			}
		})
	}
}

// goldens are the attributes of all golden messages, with the family.
func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".hex")
		all[name] = golden(t, name)
	}
	return all
}

func decodeAttrs(b []byte, family uint8) (f flow.Flow, err error) {
	_, err = DecodeFlow(b, family, &f, new(flow.Extra))
	return f, err
}

// TestTruncation cuts every message at every byte.
func TestTruncation(t *testing.T) {
	for name, b := range goldens(t) {
		for n := 1; n < len(b); n++ {
			if _, _, err := nextMessage(b[:n]); err == nil {
				t.Fatalf("%s: message cut at %d of %d accepted", name, n, len(b))
			}
		}
		attrs, family := b[headers:], b[netlinkHeader]
		whole := map[int]bool{len(attrs): true} // where an attribute ends, a shorter message is one too
		for rest := attrs; len(rest) > 0; {
			_, v, r, _ := next(rest)
			whole[len(attrs)-len(rest)+attrHeader+len(v)] = true // without its padding
			rest = r
			whole[len(attrs)-len(rest)] = true
		}
		for n := range len(attrs) {
			_, err := decodeAttrs(attrs[:n], family)
			if n == 0 && err == nil || err == nil && !whole[n] && !padding(attrs, n, whole) {
				t.Fatalf("%s: attributes cut at %d of %d accepted", name, n, len(attrs))
			}
		}
	}
}

// padding: n is within the padding after an attribute.
func padding(attrs []byte, n int, whole map[int]bool) bool {
	for at := n - 1; at > n-4 && at > 0; at-- {
		if whole[at] && at%4 != 0 {
			return true
		}
	}
	return false
}

// containers are the nested attributes that are looked into, by their path of types.
var containers = map[[2]uint16]bool{
	{0, ctaTupleOrig}: true, {0, ctaTupleReply}: true, {0, ctaTupleMaster}: true,
	{0, ctaProtoInfo}: true, {0, ctaHelp}: true, {0, ctaSeqAdjOrig}: true, {0, ctaSeqAdjReply}: true, {0, ctaSynProxy}: true,
	{ctaTupleOrig, ctaTupleIP}: true, {ctaTupleOrig, ctaTupleProto}: true,
	{ctaTupleReply, ctaTupleIP}: true, {ctaTupleReply, ctaTupleProto}: true,
	{ctaTupleMaster, ctaTupleIP}: true, {ctaTupleMaster, ctaTupleProto}: true,
	{ctaProtoInfo, ctaProtoInfoTCP}: true, {ctaProtoInfo, ctaProtoInfoSCTP}: true,
}

// eachLength calls f with the length field of every attribute in b that is known, at every level.
func eachLength(b []byte, parent uint16, depth int, f func(length []byte, typ uint16, depth int, nested bool)) {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			panic(err)
		}
		nested := containers[[2]uint16{parent, typ}] && depth < 2
		f(b[:2], typ, depth, nested)
		if nested {
			eachLength(v, typ, depth+1, f)
		}
		b = rest
	}
}

// TestWrongLengths makes every attribute, at every level, a byte shorter and a byte longer than it is; one
// that holds others as much shorter as cuts into the last of them, whose padding does not matter.
func TestWrongLengths(t *testing.T) {
	skipped := map[uint16]bool{11: true, 9: true, 10: true, 20: true} // CTA_USE, counters, timestamp: not looked at
	for name, b := range goldens(t) {
		attrs, family := b[headers:], b[netlinkHeader]
		eachLength(attrs, 0, 0, func(length []byte, typ uint16, depth int, nested bool) {
			if depth == 0 && skipped[typ] {
				return
			}
			n := binary.NativeEndian.Uint16(length)
			less := -1
			if nested {
				less = -4
			}
			for _, d := range []int{less, +1} {
				if name == "dump-master-ftp" && typ == ctaHelpName {
					continue // text of any length
				}
				binary.NativeEndian.PutUint16(length, uint16(int(n)+d))
				if _, err := decodeAttrs(attrs, family); err == nil {
					t.Errorf("%s: attribute %d at depth %d of length %d%+d accepted", name, typ, depth, n, d)
				}
			}
			binary.NativeEndian.PutUint16(length, n)
		})
	}
}

// TestUnknownAttributes puts attributes of the future before, between and after what is known.
func TestUnknownAttributes(t *testing.T) {
	future := putBytes(nil, 0x3f00, []byte("whatever"))
	for name, b := range goldens(t) {
		attrs, family := b[headers:], b[netlinkHeader]
		want, err := decodeAttrs(attrs, family)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeAttrs(sprinkle(attrs, 0, 0, future), family)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
}

// sprinkle puts extra around every attribute, at every level that is looked into.
func sprinkle(b []byte, parent uint16, depth int, extra []byte) []byte {
	out := append([]byte(nil), extra...)
	for len(b) > 0 {
		typ, v, rest, _ := next(b)
		if containers[[2]uint16{parent, typ}] && depth < 2 {
			v = sprinkle(v, typ, depth+1, extra)
		}
		out = append(putBytes(out, typ, v), extra...)
		b = rest
	}
	return out
}

func TestRefused(t *testing.T) {
	b := golden(t, "dump-tcp-snat-port")[headers:]
	for name, c := range map[string]struct {
		attrs  []byte
		family uint8
	}{
		"nothing":              {nil, flow.IPv4},
		"no original tuple":    {b[52:], flow.IPv4},
		"another family":       {b, flow.IPv6},
		"no family":            {b, 0},
		"tuple without proto":  {putBytes(nil, ctaTupleOrig, appendIP(nil, flow.IPv4, new(flow.Tuple))), flow.IPv4},
		"tuple without ip":     {putBytes(nil, ctaTupleOrig, appendProto(nil, &flow.Key{L4: 6}, new(flow.Tuple))), flow.IPv4},
		"addresses of another": {appendTuple(nil, ctaTupleOrig, &flow.Key{L3: flow.IPv6}, new(flow.Tuple), 0), flow.IPv4},
		"source only":          {putBytes(nil, ctaTupleOrig, append(putBytes(nil, ctaTupleIP, put32(nil, ctaIPv4Src, 1)), appendProto(nil, &flow.Key{L4: 6}, new(flow.Tuple))...)), flow.IPv4},
		"proto without number": {putBytes(nil, ctaTupleOrig, append(appendIP(nil, flow.IPv4, new(flow.Tuple)), putBytes(nil, ctaTupleProto, put16(nil, ctaProtoSrcPort, 1))...)), flow.IPv4},
		"long helper":          {append(b[:len(b):len(b)], putBytes(nil, ctaHelp, putBytes(nil, ctaHelpName, []byte("a-name-of-16-byt")))...), flow.IPv4},
		"long labels":          {append(b[:len(b):len(b)], putBytes(nil, ctaLabels, make([]byte, 20))...), flow.IPv4},
	} {
		if _, err := decodeAttrs(c.attrs, c.family); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestZeroIsAbsent: what is rare and zero makes no Extra.
func TestZeroIsAbsent(t *testing.T) {
	b := golden(t, "dump-udp-mark")[headers:]
	b = appendSeqAdj(b, ctaSeqAdjOrig, new(flow.SeqAdj))
	b = appendSynProxy(b, new(flow.SynProxy))
	b = putBytes(b, ctaLabels, make([]byte, 16))
	b = putBytes(b, ctaProtoInfo, appendSCTP(nil, &flow.Flow{Extra: new(flow.Extra)}))
	if f, err := decodeAttrs(b, flow.IPv4); err != nil || f.Extra != nil {
		t.Errorf("%+v, %v", f.Extra, err)
	}
}

// TestEncodedUpdate: flags that are not ours stay as the kernel has them, a timeout of 0 is none, and what may
// not change is not there.
func TestEncodedUpdate(t *testing.T) {
	f := withExtra(snat(numbered(1), "198.51.100.1", 7), func(x *flow.Extra) {
		x.Helper, x.HasMaster, x.Master = helperName("ftp"), true, numbered(2).Key
	})
	f.Timeout = 0
	b := appendOp(nil, 1, 0, &flow.Op{Kind: flow.OpUpdate, Flow: f})
	m := parse(t, b[headers:])
	tcp := parse(t, parse(t, m[ctaProtoInfo])[ctaProtoInfoTCP])
	for _, typ := range []uint16{ctaTCPFlagsOrig, ctaTCPFlagsReply} {
		if flags := tcp[typ]; flags[0] != 0x0b || flags[1] != 0x0b {
			t.Errorf("flags %x", flags)
		}
	}
	if binary.BigEndian.Uint32(m[ctaTimeout]) != 1 {
		t.Errorf("timeout %x", m[ctaTimeout])
	}
	for _, typ := range []uint16{ctaNATSrc, ctaNATDst, ctaTupleMaster, ctaHelp, ctaTupleReply, ctaID} {
		if v, ok := m[typ]; ok {
			t.Errorf("attribute %d: %x", typ, v)
		}
	}
}

// TestNothingIsAliased: what was decoded outlives the buffer it was decoded from.
func TestNothingIsAliased(t *testing.T) {
	for name, b := range goldens(t) {
		got, _ := decodeMessage(t, b)
		want, _ := decodeMessage(t, append([]byte(nil), b...))
		clear(b)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range goldens(f) {
		f.Add(b[headers:], b[netlinkHeader])
	}
	f.Fuzz(func(t *testing.T, b []byte, family uint8) {
		fl, err := decodeAttrs(b, family)
		if err != nil {
			return
		}
		for kind := flow.OpCreate; kind <= flow.OpGetReply; kind++ {
			out := appendOp(nil, 1, 0, &flow.Op{Kind: kind, Flow: fl})
			if _, rest, err := nextMessage(out); err != nil || len(rest) != 0 || len(out) > maxMessage || len(out)%4 != 0 {
				t.Errorf("operation %d of %+v: %d bytes, %v", kind, fl, len(out), err)
			}
		}
	})
}
