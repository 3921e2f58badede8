package fidelity

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"

	"ctsync/engine/flow"
)

// entry is one connection as a witness sees it: the value of each field as text, "" where it has the kernel's
// default.
type entry map[string]string

// Fields, in the order of the document.
const (
	fReply    = "reply tuple"
	fZone     = "zone"
	fStatus   = "status"
	fTimeout  = "timeout"
	fState    = "state"
	fTags     = "tags"
	fScale    = "window scale"
	fFlags    = "flags"
	fMark     = "mark"
	fLabels   = "labels"
	fHelper   = "helper"
	fMaster   = "master"
	fSeqAdj   = "seq adj"
	fSynProxy = "synproxy"
	fDone     = "NAT done"
	fLiberal  = "liberal"
	fCounters = "counters"
	fTime     = "timestamp"
)

// carriedStatus are the bits of a status that are compared as such: not what the kernel is doing at the moment
// (dying, offloaded), nor that it has looked for a translation (fDone).
// That the timeout is fixed says of GRE only which of them is the copy.
const carriedStatus = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400 | 0x2000

// library reads the table with ti-mo/conntrack, by the original direction.
func (n *node) library() map[string]entry {
	n.t.Helper()
	table := map[string]entry{}
	for _, f := range n.flows() {
		table[flowName(&f)] = libraryEntry(&f)
	}
	return table
}

// flows are all but the nodes' own.
func (n *node) flows() []conntrack.Flow {
	n.t.Helper()
	conn, err := conntrack.Dial(&netlink.Config{NetNS: n.handle})
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	flows, err := conn.Dump(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return slices.DeleteFunc(flows, func(f conntrack.Flow) bool { return nodes(f.TupleOrig.IP.SourceAddress) })
}

// nodes says that a flow from that address is the nodes' own: between the daemons, or neighbour discovery.
func nodes(from netip.Addr) bool {
	return syncNet.Contains(from) || from.IsLinkLocalUnicast() || from.IsUnspecified()
}

var syncNet = netip.MustParsePrefix("192.168.77.0/24")

// flowName is the original direction with its zone.
func flowName(f *conntrack.Flow) string {
	return fmt.Sprintf("%s zone %d/%d/%d", tuple(&f.TupleOrig), f.Zone, f.TupleOrig.Zone, f.TupleReply.Zone)
}

func libraryEntry(f *conntrack.Flow) entry {
	status := uint32(f.Status) & carriedStatus
	if f.TupleOrig.Proto.Protocol == flow.GRE {
		status &^= flow.FixedTime
	}
	e := entry{
		fReply:    tuple(&f.TupleReply),
		fZone:     some(f.Zone|f.TupleOrig.Zone|f.TupleReply.Zone != 0, "%d/%d/%d", f.Zone, f.TupleOrig.Zone, f.TupleReply.Zone),
		fStatus:   fmt.Sprintf("%#x", status),
		fTimeout:  fmt.Sprint(f.Timeout),
		fMark:     some(f.Mark != 0, "%#x", f.Mark),
		fLabels:   some(strings.Trim(string(f.Labels), "\x00") != "", "%x", f.Labels),
		fHelper:   f.Helper.Name,
		fMaster:   some(f.TupleMaster.Proto.Protocol != 0, "%s", tuple(&f.TupleMaster)),
		fSeqAdj:   seqAdj(&f.SeqAdjOrig) + seqAdj(&f.SeqAdjReply),
		fSynProxy: some(f.SynProxy != conntrack.SynProxy{}, "%v", f.SynProxy),
		fDone:     some(f.Status&0x180 != 0, "%#x", uint32(f.Status)&0x180),
		fCounters: some(f.CountersOrig.Packets|f.CountersReply.Packets != 0, "%d %d", f.CountersOrig.Packets, f.CountersReply.Packets),
		fTime:     some(!f.Timestamp.Start.IsZero(), "%d", f.Timestamp.Start.UnixNano()),
	}
	if t := f.ProtoInfo.TCP; t != nil {
		// The attribute is two bytes, flags and mask; the library reads them as one big-endian number.
		orig, reply := t.OriginalFlags>>8, t.ReplyFlags>>8
		e[fState] = some(t.State != 0, "%d", t.State)
		e[fScale] = some(t.OriginalWindowScale|t.ReplyWindowScale != 0, "%d %d", t.OriginalWindowScale, t.ReplyWindowScale)
		e[fFlags] = some((orig|reply)&3 != 0, "%#x %#x", orig&3, reply&3)
		e[fLiberal] = some((orig|reply)&8 != 0, "%#x %#x", orig&8, reply&8)
	}
	if s := f.ProtoInfo.SCTP; s != nil {
		e[fState] = some(s.State != 0, "%d", s.State)
		e[fTags] = some(s.VTagOriginal|s.VTagReply != 0, "%#x %#x", s.VTagOriginal, s.VTagReply)
	}
	return e
}

// some is the formatted text if there is something to say.
func some(is bool, format string, args ...any) string {
	if !is {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func seqAdj(s *conntrack.SequenceAdjust) string {
	return some(s.Position|s.OffsetBefore|s.OffsetAfter != 0, "%v: %d %d %d;", s.Direction, s.Position, s.OffsetBefore, s.OffsetAfter)
}

func tuple(t *conntrack.Tuple) string {
	p := &t.Proto
	if p.ICMPv4 || p.ICMPv6 {
		return fmt.Sprintf("%d %s>%s type %d code %d id %d", p.Protocol, t.IP.SourceAddress, t.IP.DestinationAddress, p.ICMPType, p.ICMPCode, p.ICMPID)
	}
	return fmt.Sprintf("%d %s:%d>%s:%d", p.Protocol, t.IP.SourceAddress, p.SourcePort, t.IP.DestinationAddress, p.DestinationPort)
}

// program reads the table with conntrack(8): a line of each connection, without the timeout and what comes
// from use= on, which are the kernel's own.
func (n *node) program() map[string]bool {
	n.t.Helper()
	lines := map[string]bool{}
	for _, family := range []string{"ipv4", "ipv6"} {
		for line := range strings.Lines(n.run("conntrack", "-L", "-f", family, "-o", "extended")) {
			words := strings.Fields(line)
			if len(words) < 8 || words[0] != family || strings.Contains(line, "src=192.168.77.") || strings.Contains(line, "src=fe80:") {
				continue
			}
			kept := append([]string{}, words[:4]...)
			for _, w := range words[5:] {
				switch name, _, _ := strings.Cut(w, "="); name {
				case "use", "packets", "bytes", "delta-time":
				default:
					kept = append(kept, w)
				}
			}
			lines[strings.Join(kept, " ")] = true
		}
	}
	return lines
}
