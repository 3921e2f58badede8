package fidelity

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"

	"ctsync/engine/flow"
)

// ftpRules translate an FTP control connection and give it its helper.
const ftpRules = `
table inet f {
	ct helper ftp { type "ftp" protocol tcp; }
	chain helpers {
		type filter hook output priority 0
		tcp dport 21 ct helper set "ftp"
	}
	chain nat_post {
		type nat hook postrouting priority 100
		ip saddr 10.7.9.0/24 snat ip to 198.51.100.100
	}
	chain nat_out { type nat hook output priority -100; }
}`

// expectations are those in n's kernel, as text without timeouts.
func (n *node) expectations() map[string]bool {
	n.t.Helper()
	conn, err := conntrack.Dial(&netlink.Config{NetNS: n.handle})
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	list, err := conn.DumpExpect()
	if err != nil {
		n.t.Fatal(err)
	}
	all := map[string]bool{}
	for _, x := range list {
		all[fmt.Sprintf("%s mask %s master %s class %d flags %d helper %q function %q nat %v %v", tuple(&x.Tuple), tuple(&x.Mask),
			tuple(&x.TupleMaster), x.Class, x.Flags, strings.Trim(x.HelpName, "\x00"), strings.Trim(x.Function, "\x00"), x.NAT.Direction, tuple(&x.NAT.Tuple))] = true
	}
	return all
}

// sameExpectations waits until both kernels have the same ones, want in number.
func (p *pair) sameExpectations(stage string, want int) {
	p.a.t.Helper()
	var a, b map[string]bool
	p.b.await(stage, func() bool {
		a, b = p.a.expectations(), p.b.expectations()
		if len(a) != want || len(b) != want {
			return false
		}
		for x := range a {
			if !b[x] {
				return false
			}
		}
		return true
	})
}

// segment is a TCP segment of the client, to port 21, with text that begins at seq.
func segment(seq byte, text string) []byte {
	b := tcp(21, 0x18, 0)
	b[7], b[11] = seq, 2
	return append(b, text...)
}

// announce has a client at n speak FTP through NAT, up to a PORT command.
func (n *node) announce() talk {
	n.t.Helper()
	user := "USER anonymous\r\n"
	t := talk{"FTP", flow.TCP, "10.7.9.1", "203.0.113.9", append(handshake(21), nil, segment(2, user), nil,
		segment(2+byte(len(user)), "PORT 10,7,9,1,8,53\r\n")), 0}
	for i, m := range t.messages {
		if m != nil {
			n.send(&t, i, n.flows())
		}
	}
	return t
}

// TestExpectationOfPackets: an FTP client behind NAT announces a data connection; its expectation and the
// sequence adjustment of the control connection arrive, and the connection that comes after a takeover is
// translated and related.
func TestExpectationOfPackets(t *testing.T) {
	for _, standby := range []string{"hot", "warm"} {
		t.Run(standby, func(t *testing.T) { announced(t, standby) })
	}
}

func announced(t *testing.T, standby string) {
	p := newPair(t, standby, rules+labelRule+ftpRules, rules+labelRule+ftpRules)
	for _, n := range []*node{p.a, p.b} {
		n.configure("expect-sync ftp")
		n.nowhere()
	}
	p.start()
	p.a.announce()
	p.a.await("the expectation", func() bool { return len(p.a.expectations()) == 1 })
	if standby == "hot" {
		p.sameExpectations("arrival", 1)
	}
	p.b.synced()
	control := func(n *node) entry {
		for _, f := range n.flows() {
			if f.TupleOrig.Proto.DestinationPort == 21 {
				return libraryEntry(&f)
			}
		}
		return nil
	}
	if control(p.a)[fSeqAdj] == "" {
		t.Error("the helper adjusted nothing: the test is none")
	}
	if out := p.a.ctsync("show", "conntrack-sync", "cache", "internal", "expect"); !strings.Contains(out, "10.7.9.1") && !strings.Contains(out, "198.51.100.100") {
		t.Errorf("internal expectations: %s", out)
	}
	if out := p.b.ctsync("show", "conntrack-sync", "statistics", "expect"); !strings.Contains(out, "current active connections:\t           1") {
		t.Errorf("statistics of expectations: %s", out)
	}
	if out := p.b.ctsync("show", "conntrack-sync", "cache", "external", "main"); strings.Count(out, "\n") != 2 {
		t.Errorf("external flows: %s", out)
	}
	p.lead(p.b)
	p.sameExpectations("takeover", 1)
	p.b.await("the sequence adjustment", func() bool { return control(p.b)[fSeqAdj] == control(p.a)[fSeqAdj] })
	p.b.call(t)
	p.b.await("the data connection", func() bool {
		for _, f := range p.b.flows() {
			if f.TupleOrig.Proto.SourcePort == 20 {
				return f.TupleMaster.Proto.DestinationPort == 21 && f.TupleReply.IP.SourceAddress.String() == "10.7.9.1" &&
					f.TupleReply.Proto.SourcePort == 2101
			}
		}
		return false
	})
	p.b.await("the end of the expectation", func() bool { return len(p.b.expectations()) == 0 })
}

// call has the server open the data connection that n's kernel expects.
func (n *node) call(t *testing.T) {
	t.Helper()
	conn, err := conntrack.Dial(&netlink.Config{NetNS: n.handle})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	list, err := conn.DumpExpect()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	x := list[0].Tuple
	body := tcp(x.Proto.DestinationPort, 0x02, 7)
	body[0], body[1] = 0, 20
	n.do(func() error { return sendRaw(x.IP.SourceAddress, x.IP.DestinationAddress, flow.TCP, body, 0) })
}

// TestExpectations: those of several helpers, made over netlink, arrive with everything, last, and end; those of
// a helper that is not meant do not.
func TestExpectations(t *testing.T) {
	p := newPair(t, "hot", rules+labelRule, rules+labelRule)
	p.a.configure("expect-sync ftp,sip,h323")
	p.b.configure("expect-sync ftp,sip,h323")
	p.start()
	var flows []flow.Flow
	var ks kinds
	for i, h := range []struct {
		name string
		l4   uint8
		port uint16
	}{{"ftp", flow.TCP, 21}, {"sip", flow.UDP, 5060}, {"Q.931", flow.TCP, 1720}, {"irc", flow.TCP, 6667}} {
		for _, fam := range families {
			if h.name == "irc" && fam.l3 == flow.IPv6 {
				continue
			}
			master := ks.base(fam.l3, h.l4, 2100, h.port)
			setHelper(master.Extra, h.name)
			ks.add(h.name, master)
			flows = append(flows, expectation(&fam, master, i))
			p.a.write(flow.OpCreate, master, flows[len(flows)-1])
		}
	}
	p.a.await("all", func() bool { return len(p.a.expectations()) == 7 })
	p.b.await("arrival", func() bool { return len(p.b.expectations()) == 6 })
	a, b := p.a.expectations(), p.b.expectations()
	for x := range b {
		if !a[x] {
			t.Errorf("only at b: %s\n%v", x, a)
		}
		if strings.Contains(x, "irc") {
			t.Errorf("of irc: %s", x)
		}
	}
	for i := range flows {
		p.a.write(flow.OpDelete, flow.Flow{Key: flows[i].Key})
	}
	p.b.await("the end", func() bool { return len(p.b.expectations()) == 0 })
}

// expectation announces a flow from master's server; i makes each another.
func expectation(fam *family, master flow.Flow, i int) flow.Flow {
	f := flow.Flow{Key: flow.Key{Tuple: flow.Tuple{Src: master.Dst, Dst: master.Src, DstL4: 4000 + uint16(i)}, L3: fam.l3, L4: master.L4, Kind: flow.KindExpect}}
	f.Timeout = 100
	f.Extra = &flow.Extra{HasMaster: true, Master: master.Key}
	x := &f.Extra.Expect
	size := 16
	if fam.l3 == flow.IPv4 {
		size = 4
	}
	copy(x.MaskSrc[:], bytes.Repeat([]byte{0xff}, size))
	if i%2 == 0 {
		x.HasNAT, x.NATDir, x.NATAddr, x.NATL4 = true, 1, addr(fam.inside), 99
		copy(x.Fn[:], "nat-follow-master")
	}
	if i == 1 {
		x.Class, x.Flags = 1, 1
	}
	return f
}
