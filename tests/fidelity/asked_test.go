package fidelity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ti-mo/conntrack"

	"ctsync/engine/flow"
)

// asked is what a witness has to see of f in the kernel in which it was made, or changed to this: two kernels that
// agree on something else have shown nothing.
func asked(f *flow.Flow) entry {
	var zone [3]uint16
	zone[f.ZoneDir] = f.Zone
	e := entry{
		fReply:   tupleName(f.L3, f.L4, &f.Reply),
		fZone:    some(f.Zone != 0, "%d/%d/%d", zone[0], zone[1], zone[2]),
		fStatus:  fmt.Sprintf("%#x", askedStatus(f)),
		fTimeout: fmt.Sprint(f.Timeout),
		fMark:    some(f.Mark != 0, "%#x", f.Mark),
	}
	if f.L4 == flow.TCP || f.L4 == flow.SCTP {
		e[fState] = some(f.State != 0, "%d", f.State)
	}
	if f.L4 == flow.TCP {
		e[fScale] = some(f.WScale != [2]uint8{}, "%d %d", f.WScale[0], f.WScale[1])
		e[fFlags] = some((f.TCPFlags[0]|f.TCPFlags[1])&3 != 0, "%#x %#x", f.TCPFlags[0]&3, f.TCPFlags[1]&3)
	}
	x := f.Extra
	e[fLabels] = some(x.Labels != [16]byte{}, "%x", x.Labels)
	e[fHelper] = strings.TrimRight(string(x.Helper[:]), "\x00")
	e[fTags] = some(x.VTag != [2]uint32{}, "%#x %#x", x.VTag[0], x.VTag[1])
	e[fMaster] = some(x.HasMaster, "%s", tupleName(f.L3, x.Master.L4, &x.Master.Tuple))
	e[fSynProxy] = some(x.SynProxy != flow.SynProxy{}, "%v", conntrack.SynProxy{ISN: x.SynProxy.ISN, ITS: x.SynProxy.ITS, TSOff: x.SynProxy.TSOff})
	for dir, s := range x.SeqAdj {
		e[fSeqAdj] += seqAdj(&conntrack.SequenceAdjust{Direction: dir == 1, Position: s.Pos, OffsetBefore: s.Before, OffsetAfter: s.After})
	}
	return e
}

// askedStatus has the bits that the kernel sets by what else is asked for (enum ip_conntrack_status).
func askedStatus(f *flow.Flow) uint32 {
	status := f.Status
	for _, b := range []struct {
		bit uint32
		is  bool
	}{
		{flow.SrcNAT, sourceChanged(f)},
		{flow.DstNAT, f.Reply.Src != f.Dst || !icmpLike(f.L4) && f.Reply.SrcL4 != f.DstL4},
		{flow.Expected, f.Extra.HasMaster},
		{flow.Helper, f.Extra.Helper[0] != 0},
		{flow.SeqAdjust, f.Extra.HasSeqAdj},
	} {
		if b.is {
			status |= b.bit
		}
	}
	if f.L4 == flow.GRE {
		status &^= flow.FixedTime
	}
	return status & carriedStatus
}

func sourceChanged(f *flow.Flow) bool {
	if icmpLike(f.L4) {
		return f.Reply.Dst != f.Src || f.Reply.SrcL4 != f.SrcL4
	}
	return f.Reply.Dst != f.Src || f.Reply.DstL4 != f.SrcL4
}

func icmpLike(l4 uint8) bool { return l4 == flow.ICMP || l4 == flow.ICMPv6 }

// asAsked fails the test unless n's kernel has each of the flows as it was asked for. A listing during which the table is
// resized, as another test may do, may lack some.
func (m *matrix) asAsked(n *node, flows []flow.Flow) {
	m.t.Helper()
	var table map[string]entry
	n.await("every flow in the table", func() bool {
		table = n.library()
		return !slices.ContainsFunc(flows, func(f flow.Flow) bool { return table[keyName(&f)] == nil })
	})
	for i := range flows {
		key := keyName(&flows[i])
		got := table[key]
		want := asked(&flows[i])
		for field, v := range want {
			switch {
			case got[field] == v, field == fTimeout && near(got[field], v):
			case rule(field, want) != 0:
				seen.lost[[2]string{m.names[key], field}] = rule(field, want)
			default:
				m.t.Errorf("%s: %s is %q where %q was asked for", m.names[key], field, got[field], v)
			}
		}
	}
}
