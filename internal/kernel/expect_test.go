package kernel

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// expectation announces a flow of master's server to port; l4 0 is any source port.
func expectation(master flow.Flow, l4, port uint16) flow.Flow {
	f := newFlow(flow.TCP, master.Dst.Netip(master.L3).String(), l4, master.Src.Netip(master.L3).String(), port)
	f.Kind = flow.KindExpect
	f.Value = flow.Value{Reply: f.Inverse(), Timeout: 300}
	f.Zone = master.Zone
	f.Extra = &flow.Extra{HasMaster: true, Master: master.Key, Helper: master.Extra.Helper}
	for i := range f.Extra.Expect.MaskSrc {
		if f.L3 == flow.IPv6 || i < 4 {
			f.Extra.Expect.MaskSrc[i] = 0xff
		}
	}
	if l4 != 0 {
		f.Extra.Expect.MaskL4 = 0xffff
	}
	return f
}

// masters are FTP control connections: IPv4 behind NAT, IPv6; and a SIP one.
func masters() []flow.Flow {
	helper := func(name string) func(*flow.Extra) { return func(x *flow.Extra) { x.Helper = helperName(name) } }
	return []flow.Flow{
		withExtra(snat(newFlow(flow.TCP, "10.0.0.9", 2100, "203.0.113.21", 21), "198.51.100.1", 2100), helper("ftp")),
		withExtra(newFlow(flow.TCP, "2001:db8::9", 2100, "2001:db8:1::21", 21), helper("ftp")),
		withExtra(newFlow(flow.TCP, "10.0.0.8", 2100, "203.0.113.21", 21), helper("ftp")),
		withExtra(newFlow(flow.UDP, "10.0.0.7", 5060, "203.0.113.21", 5060), helper("sip")),
	}
}

func expectations() []flow.Flow {
	ms := masters()
	active := expectation(ms[0], 20, 2101)
	e := &active.Extra.Expect
	e.HasNAT, e.NATDir, e.NATL4 = true, 1, 2101
	e.NATAddr = ms[0].Src
	copy(e.Fn[:], "nat-follow-master")
	media := expectation(ms[3], 0, 4000)
	media.L4 = flow.UDP
	media.Extra.Expect.Class = 1
	media.Extra.Expect.Flags = 1 // NF_CT_EXPECT_PERMANENT
	return []flow.Flow{active, expectation(ms[1], 0, 2101), expectation(ms[2], 0, 2101), media}
}

func TestExpectations(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	w := openWriter(t)
	e := openEvents(t, EventsConfig{})
	mustDo(t, w, ops(flow.OpCreate, masters()...))
	drain(t, e)
	for _, f := range expectations() {
		if r := do(w, flow.OpUpdate, f); r.Errno != unix.ENOENT {
			t.Errorf("update of nothing: %v", r.Errno)
		}
		mustDo(t, w, ops(flow.OpCreate, f))
		if r := do(w, flow.OpCreate, f); r.Errno != unix.EEXIST {
			t.Errorf("created twice: %v", r.Errno)
		}
		got := do(w, flow.OpGet, f)
		got.Flow.ID, got.Flow.Timeout = 0, f.Timeout
		if d := cmp.Diff(f, got.Flow); d != "" {
			t.Errorf("want -, kernel +:\n%s", d)
		}
		f.Timeout = 77
		mustDo(t, w, ops(flow.OpUpdate, f))
		if got := do(w, flow.OpGet, f).Flow; got.Timeout < 75 || got.Timeout > 77 {
			t.Errorf("timeout %d", got.Timeout)
		}
	}
	kindsOf := func(fs map[flow.Key]flow.Flow) (n int) {
		for _, f := range fs {
			n += int(f.Kind)
		}
		return n
	}
	if n := kindsOf(dumpAll(t)); n != 4 {
		t.Errorf("%d expectations in a dump", n)
	}
	for _, f := range expectations() {
		mustDo(t, w, ops(flow.OpDelete, f))
	}
	events, _ := drain(t, e)
	if got := kinds(events); got[flow.EventNew] != 4 || got[flow.EventDestroy] != 4 {
		t.Errorf("events %v", got)
	}
}

// TestHelperOfH245: the kernel gives none by that name to a TCP connection; one is needed for what it announced.
func TestHelperOfH245(t *testing.T) {
	newNetns(t)
	w := openWriter(t)
	f := withExtra(newFlow(flow.TCP, "10.0.0.9", 2100, "203.0.113.21", 30000), func(x *flow.Extra) { x.Helper = h245 })
	mustDo(t, w, ops(flow.OpCreate, f))
	if got := do(w, flow.OpGet, f).Flow.Extra; got == nil || got.Helper != q931 {
		t.Errorf("%+v", got)
	}
	media := expectation(f, 0, 4000)
	media.L4, media.Extra.Helper = flow.UDP, h245
	mustDo(t, w, ops(flow.OpCreate, media))
}
