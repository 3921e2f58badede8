package kernel

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"pgregory.net/rapid"

	"ctsync/engine/flow"
)

// This file holds a kernel of a few lines: it makes of a create what a dump would say of the new entry. It
// parses with another library, so that a mistake in ours does not cancel itself out.

// tree is a message's attributes by type.
type tree map[uint16][]byte

func parse(t testing.TB, b []byte) tree {
	t.Helper()
	attrs, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	tr := tree{}
	for _, a := range attrs {
		typ := a.Type &^ (netlink.Nested | netlink.NetByteOrder)
		if _, ok := tr[typ]; ok {
			t.Fatalf("attribute %d twice", typ)
		}
		tr[typ] = a.Data
	}
	return tr
}

func (tr tree) bytes(t testing.TB) []byte {
	t.Helper()
	var attrs []netlink.Attribute
	for typ, data := range tr {
		attrs = append(attrs, netlink.Attribute{Type: typ, Data: data})
	}
	slices.SortFunc(attrs, func(a, b netlink.Attribute) int { return int(a.Type) - int(b.Type) })
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kernelView is a dump's entry of what the create in b, a whole message, makes.
func kernelView(t testing.TB, b []byte) []byte {
	t.Helper()
	m := parse(t, b[headers:])
	status := binary.BigEndian.Uint32(m[ctaStatus])
	if status&^(flow.SettableStatus) != flow.Confirmed {
		t.Fatalf("the kernel answers EBUSY to the status %#x", status)
	}
	if binary.BigEndian.Uint32(m[ctaTimeout]) == 0 {
		t.Fatal("the entry would be gone at once")
	}
	if src, ok := m[ctaNATSrc]; ok {
		m[ctaTupleReply] = translate(t, m[ctaTupleReply], src, ctaIPv4Dst, ctaIPv6Dst, ctaProtoDstPort)
		status |= flow.SrcNAT | flow.SrcNATDone | flow.DstNATDone
	}
	if dst, ok := m[ctaNATDst]; ok {
		before := m[ctaTupleReply]
		m[ctaTupleReply] = translate(t, before, dst, ctaIPv4Src, ctaIPv6Src, ctaProtoSrcPort)
		status |= flow.SrcNATDone | flow.DstNATDone
		if !slices.Equal(before, m[ctaTupleReply]) {
			status |= flow.DstNAT
		}
	}
	if info, ok := m[ctaProtoInfo]; ok {
		m[ctaProtoInfo] = protoView(t, info)
	}
	for typ, bit := range map[uint16]uint32{ctaTupleMaster: flow.Expected, ctaHelp: flow.Helper, ctaSeqAdjOrig: flow.SeqAdjust} {
		if _, ok := m[typ]; ok {
			status |= bit
		}
	}
	m[ctaStatus] = binary.BigEndian.AppendUint32(nil, status)
	delete(m, ctaNATSrc)
	delete(m, ctaNATDst)
	return m.bytes(t)
}

// translate gives a reply tuple the one address, and key, that nat allows.
func translate(t testing.TB, tuple, nat []byte, v4, v6, port uint16) []byte {
	t.Helper()
	n, tr := parse(t, nat), parse(t, tuple)
	ip, proto := parse(t, tr[ctaTupleIP]), parse(t, tr[ctaTupleProto])
	for typ, pair := range map[uint16][2]uint16{v4: {ctaNATv4Min, ctaNATv4Max}, v6: {ctaNATv6Min, ctaNATv6Max}} {
		if a, ok := n[pair[0]]; ok {
			ip[typ] = a
		}
		if _, ok := n[pair[1]]; ok {
			t.Fatal("a range of addresses")
		}
	}
	if p, ok := n[ctaNATProto]; ok {
		r := parse(t, p)
		if _, ok := r[ctaProtoNATMax]; ok {
			t.Fatal("a range of ports")
		}
		for _, id := range []uint16{ctaProtoICMPID, ctaProtoICMPv6ID} {
			if _, ok := proto[id]; ok {
				port = id
			}
		}
		proto[port] = r[ctaProtoNATMin]
	}
	tr[ctaTupleIP], tr[ctaTupleProto] = ip.bytes(t), proto.bytes(t)
	return tr.bytes(t)
}

// protoView applies the masks of TCP flags to an entry that had none, and drops scales without their flag.
func protoView(t testing.TB, info []byte) []byte {
	t.Helper()
	tr := parse(t, info)
	if _, ok := tr[ctaProtoInfoTCP]; !ok {
		return info
	}
	tcp := parse(t, tr[ctaProtoInfoTCP])
	scaling := true
	for _, typ := range []uint16{ctaTCPFlagsOrig, ctaTCPFlagsReply} {
		flags := tcp[typ]
		tcp[typ] = []byte{flags[0] & flags[1], 0}
		scaling = scaling && tcp[typ][0]&flow.TCPFlagWindowScale != 0
	}
	if !scaling {
		tcp[ctaTCPWScaleOrig], tcp[ctaTCPWScaleReply] = []byte{0}, []byte{0}
	}
	tr[ctaProtoInfoTCP] = tcp.bytes(t)
	return tr.bytes(t)
}

func checkView(t testing.TB, f flow.Flow) {
	t.Helper()
	b := appendOp(nil, 7, 0, &flow.Op{Kind: flow.OpCreate, Flow: f})
	got, err := decodeAttrs(kernelView(t, b), f.L3)
	if err != nil {
		t.Fatal(err)
	}
	want := asHeld(f)
	want.Timeout = max(want.Timeout, 1)
	if want.L4 == flow.TCP && want.TCPFlags[0]&want.TCPFlags[1]&flow.TCPFlagWindowScale == 0 {
		want.WScale = [2]uint8{}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("want -, got +:\n%s", d)
	}
}

func TestCreateIsSeenAsMeant(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) { checkView(t, s.flow) })
	}
}

// TestAnyCreateIsSeenAsMeant is the same for any flow.
func TestAnyCreateIsSeenAsMeant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := anyFlow(rt)
		f.ID = 0
		checkView(t, f)
	})
}

func anyFlow(t *rapid.T) (f flow.Flow) {
	f.L3 = rapid.SampledFrom([]uint8{flow.IPv4, flow.IPv6}).Draw(t, "l3")
	f.L4 = rapid.SampledFrom([]uint8{flow.TCP, flow.UDP, flow.ICMP, flow.ICMPv6, flow.SCTP, flow.UDPLite, flow.GRE, flow.ESP, 99}).Draw(t, "l4")
	f.Src, f.Dst = anyAddr(t, f.L3), anyAddr(t, f.L3)
	key := rapid.Uint16()
	switch f.L4 {
	case flow.ESP, 99:
	case flow.ICMP:
		f.SrcL4, f.DstL4 = key.Draw(t, "id"), rapid.SampledFrom([]uint16{8 << 8, 13 << 8, 17 << 8}).Draw(t, "type")
	case flow.ICMPv6:
		f.SrcL4, f.DstL4 = key.Draw(t, "id"), 128<<8
	default:
		f.SrcL4, f.DstL4 = key.Draw(t, "sport"), key.Draw(t, "dport")
	}
	f.Reply = f.Inverse()
	if rapid.Bool().Draw(t, "snat") {
		f = snat(f, anyAddr(t, f.L3).Netip(f.L3).String(), translated(t, &f, f.L4 == flow.ICMP || f.L4 == flow.ICMPv6))
	}
	if rapid.Bool().Draw(t, "dnat") {
		f = dnat(f, anyAddr(t, f.L3).Netip(f.L3).String(), translated(t, &f, false))
	}
	f.Status = rapid.Uint32().Draw(t, "status")
	f.Timeout, f.Mark = rapid.Uint32().Draw(t, "timeout"), rapid.Uint32().Draw(t, "mark")
	if f.L4 == flow.TCP {
		f.State = rapid.Uint8Range(0, 9).Draw(t, "state")
		f.WScale = [2]uint8{rapid.Uint8Range(0, 14).Draw(t, "scale"), rapid.Uint8Range(0, 14).Draw(t, "scale")}
		f.TCPFlags = [2]uint8{rapid.Uint8().Draw(t, "flags"), rapid.Uint8().Draw(t, "flags")}
	}
	f.Zone = rapid.Uint16().Draw(t, "zone")
	if f.Zone != 0 {
		f.ZoneDir = rapid.Uint8Range(0, 2).Draw(t, "dir")
	}
	f.Extra = anyExtra(t, &f)
	return f
}

// translated is a layer-4 key after NAT; protocols without one keep 0.
func translated(t *rapid.T, f *flow.Flow, icmp bool) uint16 {
	if icmp || translatesDest(f.L4) || f.L4 == flow.GRE {
		return rapid.Uint16().Draw(t, "translated")
	}
	return 0
}

func anyAddr(t *rapid.T, l3 uint8) (a flow.Addr) {
	n := 4
	if l3 == flow.IPv6 {
		n, a[0] = 16, 0x20 // not IPv4-mapped
	}
	for i := 1; i < n; i++ {
		a[i] = rapid.Byte().Draw(t, "addr")
	}
	return a
}

func anyExtra(t *rapid.T, f *flow.Flow) *flow.Extra {
	var x flow.Extra
	copy(x.Helper[:], rapid.SampledFrom([]string{"", "ftp", "tftp", "Q.931", "fifteen-letters"}).Draw(t, "helper"))
	if rapid.Bool().Draw(t, "labels") {
		x.Labels[rapid.IntRange(0, 15).Draw(t, "label")] = 1
	}
	if rapid.Bool().Draw(t, "master") {
		x.HasMaster = true
		x.Master = flow.Key{Tuple: flow.Tuple{Src: anyAddr(t, f.L3), Dst: anyAddr(t, f.L3), SrcL4: 1, DstL4: 21}, L3: f.L3, L4: flow.TCP, Zone: f.Zone, ZoneDir: f.ZoneDir}
	}
	if rapid.Bool().Draw(t, "seqadj") {
		x.HasSeqAdj, x.SeqAdj[1] = true, flow.SeqAdj{Pos: rapid.Uint32Min(1).Draw(t, "pos"), After: rapid.Uint32().Draw(t, "after")}
	}
	if rapid.Bool().Draw(t, "synproxy") {
		x.HasSynProxy, x.SynProxy = true, flow.SynProxy{ISN: rapid.Uint32Min(1).Draw(t, "isn")}
	}
	if f.L4 == flow.SCTP {
		f.State = rapid.Uint8Range(1, 8).Draw(t, "state")
		x.VTag = [2]uint32{rapid.Uint32Min(1).Draw(t, "vtag"), rapid.Uint32().Draw(t, "vtag")}
	}
	if x == (flow.Extra{}) {
		return nil
	}
	return &x
}
