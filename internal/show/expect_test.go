package show

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"ctsync/engine"
	"ctsync/engine/flow"
)

func expectations() []flow.Flow {
	master := flow.Key{Tuple: flow.Tuple{Src: flow.Addr{10, 0, 0, 1}, Dst: flow.Addr{203, 0, 113, 1}, SrcL4: 2100, DstL4: 21}, L3: flow.IPv4, L4: flow.TCP}
	open := flow.Flow{Key: flow.Key{Tuple: flow.Tuple{Src: master.Dst, Dst: master.Src, DstL4: 2101}, L3: flow.IPv4, L4: flow.TCP, Kind: flow.KindExpect}}
	open.Extra = &flow.Extra{HasMaster: true, Master: master}
	copy(open.Extra.Helper[:], "ftp")
	open.Extra.Expect = flow.Expect{Class: 1, HasNAT: true, NATAddr: master.Src, NATL4: 2101}
	copy(open.Extra.Expect.Fn[:], "nat-follow-master")
	from20 := open
	from20.SrcL4 = 20
	return []flow.Flow{open, from20, {Key: master}}
}

func TestExpectations(t *testing.T) {
	got := list(t, func(w io.Writer) *Listing { return Expectations(w, "", false) }, expectations())
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "203.0.113.1:any ") || !strings.HasPrefix(lines[2], "203.0.113.1:20 ") ||
		!strings.Contains(lines[1], "10.0.0.1:2101 ") {
		t.Errorf("%s", got)
	}
	if got := list(t, func(w io.Writer) *Listing { return Cache(w, "", false) }, expectations()); strings.Count(got, "\n") != 2 {
		t.Errorf("flows: %s", got)
	}
	var all []flowJSON
	text := list(t, func(w io.Writer) *Listing { return Expectations(w, "", true) }, expectations())
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 2 {
		t.Fatalf("%v: %s", err, text)
	}
	if x := all[0].Expectation; x == nil || x.Helper != "ftp" || x.Function != "nat-follow-master" || x.NAT == nil || *x.NAT.Port != 2101 || *x.Master.SourcePort != 2100 {
		t.Errorf("%s", text)
	}
}

func TestExpectStatistics(t *testing.T) {
	var b strings.Builder
	if err := ExpectStatistics(&b, engine.Status{ExpectExternal: engine.CacheStats{Active: 7}}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "\nExpect Table Statistics:\n\ncache internal:\n") || !strings.Contains(b.String(), "connections:\t           7\n") {
		t.Errorf("%q", b.String())
	}
}
