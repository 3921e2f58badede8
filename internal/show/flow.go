package show

import (
	"net/netip"
	"strings"

	"ctsync/engine/flow"
)

// flowJSON is one flow in a JSON listing. Ports are null for a protocol without them, state for one without
// states, NAT where there is none.
type flowJSON struct {
	ID             uint32    `json:"id"`              // the kernel's, 0 unknown
	Family         string    `json:"family"`          // ipv4 or ipv6
	Protocol       string    `json:"protocol"`        // by name
	ProtocolNumber uint8     `json:"protocol_number"` // IANA
	State          *string   `json:"state"`           // the kernel's name
	Timeout        uint32    `json:"timeout"`         // seconds left
	Original       tupleJSON `json:"original"`
	Reply          tupleJSON `json:"reply"` // as the kernel holds it, so with NAT in it
	SourceNAT      *natJSON  `json:"source_nat"`
	DestinationNAT *natJSON  `json:"destination_nat"`
	SeenReply      bool      `json:"seen_reply"`
	Assured        bool      `json:"assured"`
	Mark           uint32    `json:"mark"`
	Zone           uint16    `json:"zone"`

	Expectation *expectJSON `json:"expectation,omitempty"` // what announced it, if it is one
}

// expectJSON is what only an expectation has.
type expectJSON struct {
	Helper   string    `json:"helper"` // of the master
	Master   tupleJSON `json:"master"`
	Class    uint32    `json:"class"`
	Flags    uint32    `json:"flags"` // NF_CT_EXPECT_*
	Function string    `json:"function"`
	NAT      *natJSON  `json:"nat"` // what the flow is translated to
}

func expectOf(x *flow.Extra) *expectJSON {
	e, m := &x.Expect, &x.Master
	j := &expectJSON{
		Helper: strings.TrimRight(string(x.Helper[:]), "\x00"), Master: tupleOf(m, &m.Tuple),
		Class: e.Class, Flags: e.Flags, Function: strings.TrimRight(string(e.Fn[:]), "\x00"),
	}
	if e.HasNAT {
		j.NAT = &natJSON{e.NATAddr.Netip(m.L3), portOf(m.L4, e.NATL4)}
	}
	return j
}

type tupleJSON struct {
	Source          netip.Addr `json:"source"`
	SourcePort      *uint16    `json:"source_port"`
	Destination     netip.Addr `json:"destination"`
	DestinationPort *uint16    `json:"destination_port"`
}

type natJSON struct {
	Address netip.Addr `json:"address"`
	Port    *uint16    `json:"port"`
}

func flowOf(f *flow.Flow) flowJSON {
	family := "ipv4"
	if f.L3 == flow.IPv6 {
		family = "ipv6"
	}
	j := flowJSON{
		ID: f.ID, Family: family, Protocol: protocolName(f.L4), ProtocolNumber: f.L4, Timeout: f.Timeout,
		Original: tupleOf(&f.Key, &f.Tuple), Reply: tupleOf(&f.Key, &f.Reply),
		SeenReply: f.Status&flow.SeenReply != 0, Assured: f.Status&flow.Assured != 0, Mark: f.Mark, Zone: f.Zone,
	}
	if name := stateOf(f.L4, f.State).name; name != "" {
		j.State = &name
	}
	if f.Kind == flow.KindExpect && f.Extra != nil {
		j.Expectation = expectOf(f.Extra)
	}
	if a, l4, ok := f.SourceNAT(); ok {
		j.SourceNAT = &natJSON{a.Netip(f.L3), portOf(f.L4, l4)}
	}
	if a, l4, ok := f.DestNAT(); ok {
		j.DestinationNAT = &natJSON{a.Netip(f.L3), portOf(f.L4, l4)}
	}
	return j
}

func tupleOf(k *flow.Key, t *flow.Tuple) tupleJSON {
	return tupleJSON{
		Source: t.Src.Netip(k.L3), SourcePort: portOf(k.L4, t.SrcL4),
		Destination: t.Dst.Netip(k.L3), DestinationPort: portOf(k.L4, t.DstL4),
	}
}

func portOf(l4 uint8, port uint16) *uint16 {
	if !hasPorts(l4) {
		return nil
	}
	return &port
}
