package kernel

import (
	"bufio"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/ti-mo/conntrack"

	"ctsync/engine/flow"
)

// line is a flow as an independent reader might describe it: both tuples, status, mark, zone.
func line(f *flow.Flow) string {
	return fmt.Sprintf("%d %v>%v %d>%d reply %v>%v %d>%d status %x mark %x", f.L4,
		f.Src.Netip(f.L3), f.Dst.Netip(f.L3), f.SrcL4, f.DstL4,
		f.Reply.Src.Netip(f.L3), f.Reply.Dst.Netip(f.L3), f.Reply.SrcL4, f.Reply.DstL4, f.Status, f.Mark)
}

func timoTuple(t conntrack.Tuple) (src, dst netip.Addr, srcL4, dstL4 uint16) {
	p := t.Proto
	if p.Protocol == flow.ICMP || p.Protocol == flow.ICMPv6 {
		return t.IP.SourceAddress, t.IP.DestinationAddress, p.ICMPID, uint16(p.ICMPType)<<8 | uint16(p.ICMPCode)
	}
	return t.IP.SourceAddress, t.IP.DestinationAddress, p.SourcePort, p.DestinationPort
}

func timoLine(f *conntrack.Flow) string {
	src, dst, sp, dp := timoTuple(f.TupleOrig)
	rsrc, rdst, rsp, rdp := timoTuple(f.TupleReply)
	return fmt.Sprintf("%d %v>%v %d>%d reply %v>%v %d>%d status %x mark %x", f.TupleOrig.Proto.Protocol,
		src, dst, sp, dp, rsrc, rdst, rsp, rdp, uint32(f.Status), f.Mark)
}

// TestLibraryAgrees has another library read what was created here.
func TestLibraryAgrees(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	createAll(t, openWriter(t), samples())
	c, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	flows, err := c.Dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := range flows {
		seen[timoLine(&flows[i])]++
	}
	for _, s := range samples() {
		f := asHeld(s.flow)
		if seen[line(&f)] == 0 {
			t.Errorf("%s: not seen: %s", s.name, line(&f))
		}
		seen[line(&f)]--
	}
	if len(flows) != len(samples()) {
		t.Errorf("%d flows, created %d", len(flows), len(samples()))
	}
}

// TestProgramAgrees has conntrack(8) list what was created here.
func TestProgramAgrees(t *testing.T) {
	path, err := exec.LookPath("conntrack")
	if err != nil {
		t.Fatal("this test needs conntrack(8): apt-get install conntrack")
	}
	newNetns(t)
	nft(t, natTables)
	createAll(t, openWriter(t), samples())
	var out strings.Builder
	for _, family := range []string{"ipv4", "ipv6"} {
		out.WriteString(run(t, path, "-L", "-o", "extended", "-f", family))
	}
	listing := out.String()
	for _, want := range []string{
		"tcp 6 600 ESTABLISHED src=10.0.0.1 dst=203.0.113.1 sport=40001 dport=443 src=203.0.113.1 dst=198.51.100.1 sport=443 dport=50001 [ASSURED]",
		"tcp 6 600 ESTABLISHED src=192.0.2.7 dst=203.0.113.1 sport=40005 dport=443 src=10.0.0.80 dst=10.0.0.254 sport=8443 dport=50005 [ASSURED]",
		"tcp 6 600 TIME_WAIT src=10.0.0.1 dst=203.0.113.1 sport=40006 dport=443 src=203.0.113.1 dst=10.0.0.1 sport=443 dport=40006 [ASSURED]",
		"tcp 6 600 ESTABLISHED src=2001:db8::1 dst=2001:db8:1::1 sport=40002 dport=443 src=2001:db8:3::80 dst=2001:db8::1 sport=8443 dport=40002 [ASSURED]",
		"udp 17 600 src=10.0.0.1 dst=203.0.113.53 sport=5355 dport=53 [UNREPLIED] src=203.0.113.53 dst=10.0.0.1 sport=53 dport=5355",
		"udp 17 600 src=10.0.0.1 dst=203.0.113.53 sport=5353 dport=53 src=203.0.113.53 dst=10.0.0.1 sport=53 dport=5353 [ASSURED] mark=3735928559",
		"icmp 1 600 src=10.0.0.1 dst=203.0.113.1 type=8 code=0 id=78 src=203.0.113.1 dst=198.51.100.1 type=0 code=0 id=1078 [ASSURED]",
		"gre 47 600 src=10.0.0.1 dst=203.0.113.1 srckey=0x0 dstkey=0x4100 src=203.0.113.1 dst=198.51.100.1 srckey=0x4100 dstkey=0x4200 [ASSURED]",
		"sctp 132 600 ESTABLISHED src=10.0.0.1 dst=203.0.113.1 sport=36412 dport=36412 src=203.0.113.1 dst=198.51.100.1 sport=36412 dport=1036 [ASSURED]",
		"src=10.0.0.9 dst=203.0.113.21 sport=2100 dport=21 src=203.0.113.21 dst=10.0.0.9 sport=21 dport=2100 [ASSURED] mark=0 helper=ftp",
		"zone=5", "zone-orig=6", "zone-reply=7",
	} {
		if !contains(listing, want) {
			t.Errorf("not listed: %s", want)
		}
	}
	if t.Failed() {
		t.Log(listing)
	}
}

// contains compares words, and forgives the seconds that the test took.
func contains(listing, want string) bool {
	for s := bufio.NewScanner(strings.NewReader(listing)); s.Scan(); {
		l := strings.Join(strings.Fields(s.Text()), " ")
		for _, late := range []string{" 599", " 598", " 597"} {
			l = strings.Replace(l, late+" ", " 600 ", 1)
		}
		if strings.Contains(l, want) {
			return true
		}
	}
	return false
}
