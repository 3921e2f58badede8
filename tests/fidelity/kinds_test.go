package fidelity

import (
	"fmt"
	"net/netip"

	"ctsync/engine/flow"
)

// kind is one kind of flow: how it is made, and how it is changed afterwards, step by step.
type kind struct {
	name    string
	flow    flow.Flow
	changes [steps]func(*flow.Flow) // nil: nothing of its own changes
	status  uint32                  // what it has been given so far
}

// steps: every field is changed, changed again, and cleared where the kernel has a way to.
const steps = 3

// kinds is a catalogue in the making: each flow gets addresses of its own.
type kinds struct{ list []kind }

// base makes a flow of an address pair that no other has; everything common has a value that is not the default.
func (ks *kinds) base(l3, l4 uint8, src, dst uint16) flow.Flow {
	n := len(ks.list) + 1
	var f flow.Flow
	f.L3, f.L4, f.SrcL4, f.DstL4 = l3, l4, src, dst
	from, to := fmt.Sprintf("10.1.%d.%d", n>>8, n&255), "203.0.113.1"
	if l3 == flow.IPv6 {
		from, to = fmt.Sprintf("2001:db8:1::%x", n), "2001:db8:2::1"
	}
	f.Src, f.Dst = addr(from), addr(to)
	f.Reply = f.Inverse()
	f.Status = flow.Confirmed | flow.SeenReply | flow.Assured
	if l4 == flow.GRE {
		f.Status |= flow.FixedTime // as every one that is written has
	}
	f.Timeout = 3000 + uint32(n)
	f.Mark = 0x1000 + uint32(n)
	f.Extra = &flow.Extra{Labels: [16]byte{0: byte(n), 1: 1, 15: 0x80}}
	if l4 == flow.TCP {
		f.State, f.WScale, f.TCPFlags = flow.TCPEstablished, [2]uint8{7, 9}, [2]uint8{3, 3}
	}
	return f
}

func (ks *kinds) add(name string, f flow.Flow) *kind {
	ks.list = append(ks.list, kind{name: name, flow: f})
	return &ks.list[len(ks.list)-1]
}

func addr(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

// family is what the names and the translations of one address family are.
type family struct {
	l3         uint8
	name       string
	public     string // source addresses are translated to it
	inside     string // destination addresses are translated to it
	icmp       uint8
	icmpName   string
	icmpTypes  []icmpType
	otherProto []uint8
}

type icmpType struct {
	name      string
	typ, code uint8
}

var families = []family{
	{flow.IPv4, "IPv4", "198.51.100.1", "10.9.0.80", flow.ICMP, "ICMP", []icmpType{
		{"echo", 8, 0}, {"timestamp", 13, 0}, {"information", 15, 0}, {"address mask", 17, 0},
	}, []uint8{2, 4, 41, 89, 99, 103, 112}},
	{flow.IPv6, "IPv6", "2001:db8:3::1", "2001:db8:9::80", flow.ICMPv6, "ICMPv6", []icmpType{
		{"echo", 128, 0}, {"node information", 139, 0},
	}, []uint8{41, 89, 99, 103}},
}

var tcpStates = []string{"", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"}

// From enum sctp_conntrack.
var sctpStates = []string{"", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
	"SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"}

// catalogue is every kind that is made over netlink. A master comes before its children.
func catalogue() []kind {
	var ks kinds
	for i := range families {
		fam := &families[i]
		ks.tcp(fam)
		ks.datagrams(fam)
		ks.icmp(fam)
		ks.sctp(fam)
		ks.gre(fam)
		ks.portless(fam)
		ks.zones(fam)
		ks.rare(fam)
	}
	return ks.list
}

// translations adds one flow for each kind of NAT that its protocol can have.
func (ks *kinds) translations(fam *family, name string, make func() flow.Flow) {
	ports := func(f *flow.Flow) bool { return f.L4 != flow.GRE && f.DstL4 != 0 && f.L4 != fam.icmp }
	ks.add(name, make())
	ks.add(name+", SNAT", snat(make(), fam.public, 0))
	if f := make(); ports(&f) || f.L4 == fam.icmp {
		what := "port"
		if f.L4 == fam.icmp {
			what = "id"
		}
		ks.add(name+", SNAT with "+what, snat(f, fam.public, 20000+uint16(len(ks.list))))
		self := f.Src.Netip(f.L3).String()
		ks.add(name+", SNAT of the "+what+" alone", snat(make(), self, 30000+uint16(len(ks.list))))
		last := &ks.list[len(ks.list)-1].flow
		last.Reply.Dst = last.Src
	}
	ks.add(name+", DNAT", dnat(make(), fam.inside, 0))
	if f := make(); ports(&f) {
		ks.add(name+", DNAT with port", dnat(f, fam.inside, 8443))
		ks.add(name+", redirect", dnat(make(), f.Dst.Netip(f.L3).String(), 3128))
	}
	ks.add(name+", SNAT and DNAT", dnat(snat(make(), fam.public, 0), fam.inside, 0))
}

// snat translates the source; l4 0 keeps the port or id.
func snat(f flow.Flow, to string, l4 uint16) flow.Flow {
	f.Reply.Dst = addr(to)
	switch {
	case l4 == 0:
	case f.L4 == flow.ICMP, f.L4 == flow.ICMPv6:
		f.Reply.SrcL4 = l4
	default:
		f.Reply.DstL4 = l4
	}
	return f
}

// dnat translates the destination; l4 0 keeps the port.
func dnat(f flow.Flow, to string, l4 uint16) flow.Flow {
	f.Reply.Src = addr(to)
	if l4 != 0 {
		f.Reply.SrcL4 = l4
	}
	return f
}

// states are changes to next and back.
func states(next, state uint8) (changes [steps]func(*flow.Flow)) {
	for step, s := range [steps]uint8{next, state, state} {
		changes[step] = func(f *flow.Flow) { f.State = s }
	}
	return changes
}

func (ks *kinds) tcp(fam *family) {
	make := func() flow.Flow { return ks.base(fam.l3, flow.TCP, 40000, 443) }
	for state := 1; state < len(tcpStates); state++ {
		f := make()
		f.State = uint8(state)
		if f.State == flow.TCPSynSent {
			f.Status, f.WScale[1], f.TCPFlags[1] = flow.Confirmed, 0, 0
		}
		k := ks.add(fam.name+" TCP "+tcpStates[state], f)
		next := uint8(state%(len(tcpStates)-1)) + 1
		k.changes = states(next, uint8(state))
	}
	bare := make()
	bare.WScale, bare.TCPFlags = [2]uint8{}, [2]uint8{}
	k := ks.add(fam.name+" TCP without window scaling", bare)
	for step := range steps {
		k.changes[step] = func(f *flow.Flow) { f.WScale, f.TCPFlags = [2]uint8{}, [2]uint8{} }
	}
	ks.translations(fam, fam.name+" TCP", make)
}

func (ks *kinds) datagrams(fam *family) {
	for _, p := range []struct {
		name string
		l4   uint8
	}{{"UDP", flow.UDP}, {"UDP-Lite", flow.UDPLite}} {
		name := fam.name + " " + p.name
		make := func() flow.Flow { return ks.base(fam.l3, p.l4, 5353, 53) }
		f := make()
		f.Status = flow.Confirmed
		k := ks.add(name+" unreplied", f)
		k.changes[0] = func(f *flow.Flow) { f.Status |= flow.SeenReply }
		k.changes[1] = func(f *flow.Flow) { f.Status |= flow.Assured }
		f = make()
		f.Status = flow.Confirmed | flow.SeenReply
		ks.add(name+" replied", f)
		f = make()
		f.Status |= flow.FixedTime
		ks.add(name+" with a fixed timeout", f)
		ks.translations(fam, name+" assured", make)
	}
}

func (ks *kinds) icmp(fam *family) {
	for _, t := range fam.icmpTypes {
		make := func() flow.Flow { return ks.base(fam.l3, fam.icmp, 77, uint16(t.typ)<<8|uint16(t.code)) }
		name := fmt.Sprintf("%s %s", fam.icmpName, t.name)
		if t.name == "echo" {
			ks.translations(fam, name, make)
			f := make()
			f.Status = flow.Confirmed
			ks.add(name+", unreplied", f)
			f = make()
			f.DstL4 |= 5
			f.Reply = f.Inverse()
			ks.add(name+", code 5", f)
			continue
		}
		ks.add(name, make())
	}
}

func (ks *kinds) sctp(fam *family) {
	make := func() flow.Flow {
		f := ks.base(fam.l3, flow.SCTP, 36412, 2905)
		f.State, f.Extra.VTag = 4, [2]uint32{0x11223344, 0x55667788}
		return f
	}
	for state := 1; state < len(sctpStates); state++ {
		f := make()
		f.State = uint8(state)
		k := ks.add(fam.name+" SCTP "+sctpStates[state], f)
		next := uint8(state%(len(sctpStates)-1)) + 1
		k.changes = states(next, uint8(state))
	}
	f := make()
	f.Status, f.State, f.Extra.VTag = flow.Confirmed, 2, [2]uint32{0, 0x55667788}
	ks.add(fam.name+" SCTP with one tag", f)
	ks.translations(fam, fam.name+" SCTP", make)
}

func (ks *kinds) gre(fam *family) {
	ks.translations(fam, fam.name+" GRE with keys", func() flow.Flow { return ks.base(fam.l3, flow.GRE, 0x1234, 0x5678) })
	ks.translations(fam, fam.name+" GRE without keys", func() flow.Flow { return ks.base(fam.l3, flow.GRE, 0, 0) })
}

func (ks *kinds) portless(fam *family) {
	for _, l4 := range append([]uint8{flow.ESP, flow.AH}, fam.otherProto...) {
		name := fmt.Sprintf("%s protocol %d", fam.name, l4)
		switch l4 {
		case flow.ESP:
			name = fam.name + " ESP"
		case flow.AH:
			name = fam.name + " AH"
		case 2:
			name = fam.name + " IGMP"
		}
		make := func() flow.Flow { return ks.base(fam.l3, l4, 0, 0) }
		if l4 == flow.ESP || l4 == flow.AH {
			ks.translations(fam, name, func() flow.Flow { return ks.ownTarget(fam, make()) })
			continue
		}
		ks.add(name, make())
	}
}

// ownTarget gives a flow without ports a server of its own, so that the reply tuples of two translated to one
// address do not clash.
func (ks *kinds) ownTarget(fam *family, f flow.Flow) flow.Flow {
	n := len(ks.list) + 1
	f.Dst = addr(fmt.Sprintf("203.0.%d.%d", 114+n>>8, n&255))
	if fam.l3 == flow.IPv6 {
		f.Dst = addr(fmt.Sprintf("2001:db8:2::%x", n+16))
	}
	f.Reply = f.Inverse()
	return f
}

func (ks *kinds) zones(fam *family) {
	for dir, name := range []string{"both directions", "the original direction", "the reply direction"} {
		zoned := func(f flow.Flow) flow.Flow {
			f.Zone, f.ZoneDir = uint16(5+dir), uint8(dir)
			return f
		}
		ks.add(fam.name+" TCP, zone of "+name, zoned(ks.base(fam.l3, flow.TCP, 40000, 443)))
		ks.add(fam.name+" UDP, zone of "+name+", SNAT", zoned(snat(ks.base(fam.l3, flow.UDP, 40000, 53), fam.public, 4000)))
		ks.add(fam.name+" "+fam.icmpName+" echo, zone of "+name, zoned(ks.base(fam.l3, fam.icmp, 9, uint16(fam.icmpTypes[0].typ)<<8)))
	}
	// The same tuple, once in each of two zones.
	twin := ks.base(fam.l3, flow.TCP, 40000, 443)
	for _, zone := range []uint16{0, 0xffff} {
		f := twin
		x := *twin.Extra
		f.Extra, f.Zone = &x, zone
		f.Mark += uint32(zone)
		ks.add(fmt.Sprintf("%s TCP, one tuple in two zones, zone %d", fam.name, zone), f)
	}
}

func (ks *kinds) rare(fam *family) {
	for _, h := range []struct {
		name string
		l4   uint8
		port uint16
	}{{"ftp", flow.TCP, 21}, {"irc", flow.TCP, 6667}, {"sip", flow.UDP, 5060}, {"tftp", flow.UDP, 69}, {"pptp", flow.TCP, 1723},
		{"RAS", flow.UDP, 1719}, {"Q.931", flow.TCP, 1720}, {"amanda", flow.UDP, 10080}} {
		if fam.l3 == flow.IPv6 && (h.name == "pptp" || h.name == "irc") {
			continue // helpers of IPv4
		}
		f := ks.base(fam.l3, h.l4, 2100, h.port)
		setHelper(f.Extra, h.name)
		ks.add(fam.name+" helper "+h.name, f)
		switch h.name {
		case "ftp":
			ks.children(fam, f)
		case "pptp":
			ks.tunnels(fam, f)
		}
	}
	f := snat(ks.base(fam.l3, flow.TCP, 2100, 21), fam.public, 0)
	f.Extra.HasSeqAdj, f.Extra.SeqAdj = true, [2]flow.SeqAdj{{Pos: 1000, Before: 0, After: 3}, {Pos: 7, Before: 8, After: 0xfffffffe}}
	k := ks.add(fam.name+" TCP with sequence adjustment, SNAT", f)
	k.changes[0] = func(f *flow.Flow) {
		f.Extra.SeqAdj = [2]flow.SeqAdj{{Pos: 2000, Before: 3, After: 5}, {Pos: 70, Before: 9, After: 1}}
	}
	k.changes[1] = func(f *flow.Flow) {
		f.Extra.SeqAdj = [2]flow.SeqAdj{{Pos: 3000, Before: 5, After: 2}, {Pos: 90, Before: 1, After: 4}}
	}
	k.changes[2] = func(f *flow.Flow) { f.Extra.SeqAdj = [2]flow.SeqAdj{} }
	f = ks.base(fam.l3, flow.TCP, 40013, 80)
	f.Extra.HasSynProxy, f.Extra.SynProxy = true, flow.SynProxy{ISN: 1, ITS: 2, TSOff: 3}
	k = ks.add(fam.name+" TCP behind a SYN proxy", f)
	k.changes[0] = func(f *flow.Flow) { f.Extra.SynProxy = flow.SynProxy{ISN: 11, ITS: 12, TSOff: 13} }
	k.changes[1] = func(f *flow.Flow) { f.Extra.SynProxy = flow.SynProxy{ISN: 21, ITS: 22, TSOff: 23} }
	k.changes[2] = func(f *flow.Flow) { f.Extra.SynProxy = flow.SynProxy{} }
}

// children of an FTP control connection: passive, active, one in a zone with its master, one behind NAT.
func (ks *kinds) children(fam *family, master flow.Flow) {
	child := func(name string, f flow.Flow) {
		f.Extra.HasMaster, f.Extra.Master = true, master.Key
		f.Status |= flow.Expected
		ks.add(name, f)
	}
	passive := ks.base(fam.l3, flow.TCP, 2102, 50000)
	passive.Src, passive.Dst = master.Src, master.Dst
	passive.Reply = passive.Inverse()
	child(fam.name+" TCP related, FTP passive", passive)
	active := ks.base(fam.l3, flow.TCP, 20, 2101)
	active.Src, active.Dst = master.Dst, master.Src
	active.Reply = active.Inverse()
	child(fam.name+" TCP related, FTP active", active)
	child(fam.name+" TCP related, SNAT", snat(ks.base(fam.l3, flow.TCP, 2103, 50001), fam.public, 2104))
	master = ks.base(fam.l3, flow.TCP, 2100, 21)
	master.Zone = 9
	setHelper(master.Extra, "ftp")
	ks.add(fam.name+" helper ftp in a zone", master)
	zoned := ks.base(fam.l3, flow.TCP, 2102, 50000)
	zoned.Zone = 9
	child(fam.name+" TCP related, in the zone of its master", zoned)
}

// tunnels of a PPTP control connection: GRE with call ids for keys, as they are and translated.
func (ks *kinds) tunnels(fam *family, master flow.Flow) {
	for _, t := range []struct {
		name       string
		snat, dnat string // addresses, "" none
		keys       [2]uint16
	}{
		{"", "", "", [2]uint16{0, 0x4100}},
		{", SNAT with key", fam.public, "", [2]uint16{0x4200, 0x4100}},
		{", SNAT of the key alone", "", "", [2]uint16{0x4300, 0x4100}},
		{", DNAT of the key alone", "", "", [2]uint16{0, 0x4400}},
		{", SNAT, DNAT of the key", fam.public, "", [2]uint16{0, 0x4500}},
		{", DNAT, SNAT of the key", "", fam.inside, [2]uint16{0x4600, 0x4100}},
	} {
		f := ks.base(fam.l3, flow.GRE, 0, 0x4100)
		if t.snat != "" {
			f = snat(f, t.snat, 0)
		}
		if t.dnat != "" {
			f = dnat(f, t.dnat, 0)
		}
		f.Reply.DstL4, f.Reply.SrcL4 = t.keys[0], t.keys[1]
		f.Extra.HasMaster, f.Extra.Master = true, master.Key
		f.Status |= flow.Expected
		ks.add(fam.name+" GRE of PPTP"+t.name, f)
	}
}

func setHelper(x *flow.Extra, name string) { copy(x.Helper[:], name) }

// changed is the flow of k after a step: what every kind has changes in step 0 and 1, and is cleared in step 2.
func (k *kind) changed(step int) flow.Flow {
	f := k.flow
	x := *k.flow.Extra
	f.Extra = &x
	for s := 0; s <= step; s++ {
		f.Timeout -= 900 // more than a copy may differ
		if f.Status&flow.FixedTime != 0 {
			f.Timeout = k.flow.Timeout
		}
		switch s {
		case 0:
			f.Mark, x.Labels = f.Mark^0xff00ff00, [16]byte{1: 0x55, 7: 9}
		case 1:
			f.Mark, x.Labels = f.Mark^0x00000f00, [16]byte{2: 0xaa}
		case 2:
			f.Mark, x.Labels, x.LabelsCleared = 0, [16]byte{}, true
		}
		stateful(&f, s)
		if k.changes[s] != nil {
			k.changes[s](&f)
		}
	}
	return f
}

// stateful changes what a protocol with states has.
func stateful(f *flow.Flow, step int) {
	switch f.L4 {
	case flow.TCP:
		f.State = [steps]uint8{flow.TCPFinWait, flow.TCPEstablished, flow.TCPEstablished}[step]
		f.WScale = [steps][2]uint8{{3, 4}, {5, 14}, {}}[step]
		f.TCPFlags = [steps][2]uint8{{1, 1}, {3, 3}, {3, 3}}[step]
	case flow.SCTP:
		f.State = [steps]uint8{5, 4, 4}[step] // SHUTDOWN_SENT, ESTABLISHED
		f.Extra.VTag = [steps][2]uint32{{1, 2}, {3, 4}, {3, 4}}[step]
	}
}
