package show

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/vrrp"
)

// The golden files of VyOS's own layouts are its documentation's examples and are never rewritten; those of
// ours are, by -update, and then read.
var update = flag.Bool("update", false, "rewrite the golden files of our own layouts")

func golden(t *testing.T, name, got string, ours bool) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update && ours {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func printed(t *testing.T, f func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func link(sentB, recvB, sentP, recvP uint64) []Link {
	return []Link{{Interface: "eth0", Mode: "multicast", Up: true, State: "running", MTU: 1500,
		BytesSent: sentB, BytesReceived: recvB, PacketsSent: sentP, PacketsReceived: recvP}}
}

func TestStatistics(t *testing.T) {
	active := engine.Status{Internal: engine.CacheStats{Active: 10, Created: 8517, Updated: 127, Destroyed: 8507}}
	standby := engine.Status{External: engine.CacheStats{Active: 10, Created: 888, Updated: 134, Destroyed: 878}}
	golden(t, "statistics_active.txt", printed(t, func(w io.Writer) error {
		return Statistics(w, active, link(868780, 224136, 20595, 14034))
	}), false)
	golden(t, "statistics_standby.txt", printed(t, func(w io.Writer) error {
		return Statistics(w, standby, link(234184, 907504, 14663, 21495))
	}), false)
}

func TestStatisticsOfTwoUnicastLinks(t *testing.T) {
	links := append(link(1, 2, 3, 4), Link{Interface: "eth1", Mode: "UDP", SendErrors: 5, ReceiveErrors: 6})
	st := engine.Status{
		Internal: engine.CacheStats{CreateFailed: 7, UpdateFailed: 8, DestroyFailed: 9},
		Messages: engine.MessageStats{Malformed: 11, Lost: 12},
	}
	got := printed(t, func(w io.Writer) error { return Statistics(w, st, links) })
	for _, want := range []string{
		"\nUDP traffic (active device=eth1):\n",
		"                   5 Error send                    6 Error recv\n",
		"connections created:\t\t           0\tfailed:\t           7\n",
		"connections updated:\t\t           0\tfailed:\t           8\n",
		"connections destroyed:\t\t           0\tfailed:\t           9\n",
		"                  11 Malformed msgs                   12 Lost msgs\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// entry is one flow from what a row shows.
func entry(id uint32, l4 uint8, src, dst string, state uint8, timeout uint32) flow.Flow {
	var f flow.Flow
	f.ID, f.L4, f.State, f.Timeout = id, l4, state, timeout
	s, sp := split(src)
	d, dp := split(dst)
	f.L3 = flow.IPv6
	if s.Is4() {
		f.L3 = flow.IPv4
	}
	f.Src, f.SrcL4, f.Dst, f.DstL4 = flow.AddrFrom(s), sp, flow.AddrFrom(d), dp
	if l4 == flow.ICMP {
		f.SrcL4, f.DstL4 = 4711, 8<<8 // id; echo request
	}
	f.Reply = f.Inverse()
	return f
}

func split(s string) (netip.Addr, uint16) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), ap.Port()
	}
	return netip.MustParseAddr(s), 0
}

// documented are the rows of VyOS's documentation.
func documented() []flow.Flow {
	return []flow.Flow{
		entry(1015736576, flow.TCP, "10.35.100.87:58172", "172.31.20.12:22", flow.TCPEstablished, 430279),
		entry(1006235648, flow.TCP, "10.35.101.221:57483", "172.31.120.21:22", flow.TCPEstablished, 413310),
		entry(1006237088, flow.ICMP, "10.100.68.100", "172.31.120.21", 0, 29),
		entry(1015734848, flow.TCP, "10.35.100.87:56282", "172.31.20.12:22", flow.TCPEstablished, 300),
		entry(1015734272, flow.UDP, "172.31.20.12:60286", "239.10.10.14:694", 0, 29),
		entry(1006239392, flow.ICMP, "10.35.101.221", "172.31.120.21", 0, 29),
	}
}

func list(t *testing.T, l func(io.Writer) *Listing, flows []flow.Flow) string {
	t.Helper()
	return printed(t, func(w io.Writer) error {
		listing := l(w)
		if err := listing.Rows(flows); err != nil {
			return err
		}
		return listing.Close()
	})
}

func TestTable(t *testing.T) {
	ipv6 := entry(1, flow.TCP, "[2001:db8::1]:1", "[2001:db8::2]:2", flow.TCPTimeWait, 3)
	flows := append(documented(), ipv6) // which is left out
	got := list(t, func(w io.Writer) *Listing { return Table(w, flow.IPv4, false) }, flows)
	golden(t, "table_ipv4.txt", got, false)
}

func TestTableIPv6(t *testing.T) {
	flows := append(documented(),
		entry(4294967295, flow.TCP, "[2001:db8::1]:65535", "[2001:db8:1111:2222:3333:4444:5555:6666]:443", flow.TCPClose, 3),
		entry(2, flow.ICMPv6, "2001:db8::1", "2001:db8::2", 0, 30),
		entry(3, 253, "2001:db8::1", "2001:db8::2", 0, 30))
	got := list(t, func(w io.Writer) *Listing { return Table(w, flow.IPv6, false) }, flows)
	golden(t, "table_ipv6.txt", got, true)
}

func TestStates(t *testing.T) {
	for _, c := range []struct {
		l4, number uint8
		name, code string
	}{
		{flow.TCP, flow.TCPClose, "CLOSE", "CL"},
		{flow.TCP, flow.TCPSynSent2, "SYN_SENT2", "SS"},
		{flow.TCP, flow.TCPNone, "NONE", ""},
		{flow.TCP, 10, "", ""},
		{flow.SCTP, 4, "ESTABLISHED", "ES"},
		{flow.DCCP, 4, "OPEN", ""},
		{flow.UDP, 3, "", ""},
	} {
		if got := stateOf(c.l4, c.number); got != (state{c.name, c.code}) {
			t.Errorf("protocol %d state %d: %+v", c.l4, c.number, got)
		}
	}
}

func TestCache(t *testing.T) {
	got := list(t, func(w io.Writer) *Listing { return Cache(w, "Main Table Entries:", false) }, documented())
	golden(t, "cache.txt", got, true)
	bare := list(t, func(w io.Writer) *Listing { return Cache(w, "", false) }, nil)
	if want := "Source                         Destination                    Protocol          \n"; bare != want {
		t.Errorf("%q", bare)
	}
}

func TestListingJSON(t *testing.T) {
	nat := documented()[0]
	nat.Reply.Dst = flow.AddrFrom(netip.MustParseAddr("198.51.100.1"))
	nat.Reply.DstL4 = 40000
	for name, flows := range map[string][]flow.Flow{"none": nil, "some": {nat, documented()[2]}} {
		got := list(t, func(w io.Writer) *Listing { return Table(w, flow.IPv4, true) }, flows)
		var back []flowJSON
		if err := json.Unmarshal([]byte(got), &back); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, got)
		}
		if len(back) != len(flows) {
			t.Errorf("%s: %d rows", name, len(back))
		}
		if name == "some" {
			golden(t, "table.json", got, true)
		}
	}
}

// TestListingMemory: a listing holds a line, not the table.
func TestListingMemory(t *testing.T) {
	flows := documented()
	l := Table(io.Discard, flow.IPv4, false)
	perRow := testing.AllocsPerRun(1000, func() { _ = l.Rows(flows) }) / float64(len(flows))
	if perRow > 8 {
		t.Errorf("%.1f allocations a row", perRow)
	}
}

// TestListingError: a reader that is gone ends the listing.
func TestListingError(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	l := Table(w, flow.IPv4, false)
	for range 1000 {
		if l.Rows(documented()) != nil {
			return
		}
	}
	t.Error("6000 rows into a closed pipe without an error")
}

var now = time.Date(2021, 12, 24, 10, 37, 48, 0, time.FixedZone("EET", 2*3600))

// full is a status in which every figure differs from every other.
func full() engine.Status {
	return engine.Status{
		Now: now, Node: "fw1", Started: now.Add(-50 * time.Hour), Role: engine.Active,
		RoleSince: now.Add(-192 * time.Second), RoleReason: "MASTER by fifo",
		VRRP: vrrp.Master, VRRPSource: "fifo", VRRPSince: now.Add(-192 * time.Second), Hot: true,
		Verdict: engine.Degraded, Why: "2 flows are not in the kernel: load the module nf_conntrack_ftp", Ready: engine.Ready,
		Complete: true, Leader: "fw1",
		Young:    108,
		Internal: engine.CacheStats{Active: 101, Created: 102, CreateFailed: 103, Updated: 104, UpdateFailed: 105, Destroyed: 106, DestroyFailed: 107},
		External: engine.CacheStats{Active: 201, Created: 202, CreateFailed: 203, Updated: 204, UpdateFailed: 205, Destroyed: 206, DestroyFailed: 207},
		Kernel: engine.KernelStats{Events: 301, Overruns: 302, Dumps: 303, Created: 304, Updated: 305, Deleted: 306, Retried: 307, Silent: 312, Suspects: 313,
			Pending: 308, Outstanding: 309, Failed: map[string]int{"no such helper": 2, "a clash": 3}, TableMax: 310, TableCount: 311},
		Peers: []engine.PeerStatus{
			{Name: "fw2", Epoch: "a1b2", Role: engine.Standby, Complete: true, Live: true, Proven: true, LastHeard: 120 * time.Millisecond,
				Flows: 401, Stale: 402, Refused: 403, Have: 404, Last: 504, TheyHave: 405, OwnLast: 605, Restarts: 406, Address: "10.0.0.2:3780", Sealed: true, KeyID: 0x5a},
			{Name: "fw3", Epoch: "c3d4", Role: engine.Standby, LastHeard: 90 * time.Second, Address: "10.0.0.3:3780"},
		},
		Messages: engine.MessageStats{Sent: 501, Received: 502, Lost: 503, Malformed: 504, Refused: map[string]uint64{"foreign cluster": 505}, Wants: 506, Repairs: 507},
		Activity: engine.ActivityStats{Takeovers: 601, LastTakeover: now.Add(-192 * time.Second), TakeoverDuration: 42 * time.Millisecond,
			TakeoverForwarding: 7 * time.Millisecond,
			TakeoverAdopted:    602, TakeoverWritten: 603, TakeoverFailed: 604, Evicted: 605, Purged: 606, Notices: 607},
	}
}

var setup = Setup{Interfaces: []string{"eth0", "eth1"}, Mechanism: "vrrp", Group: "syncgrp"}

func TestSyncStatus(t *testing.T) {
	golden(t, "syncstatus.txt", printed(t, func(w io.Writer) error { return SyncStatus(w, setup, full()) }), true)
}

// TestSyncStatusOfVyOS: its four lines come first and are its own, to the blank.
func TestSyncStatusOfVyOS(t *testing.T) {
	first := func(set Setup, st engine.Status) string {
		lines := strings.SplitAfter(printed(t, func(w io.Writer) error { return SyncStatus(w, set, st) }), "\n")
		return strings.Join(lines[:5], "")
	}
	st := full()
	st.VRRPSince = time.Date(2021, 12, 24, 10, 34, 36, 0, now.Location())
	want := "\nsync-interface        : eth0, eth1\nfailover-mechanism    : vrrp [sync-group syncgrp]\n" +
		"last state transition : MASTER at Fri 24 Dec 2021 10:34:36 AM EET\nExpectationSync       : disabled\n"
	if diff := cmp.Diff(want, first(setup, st)); diff != "" {
		t.Error(diff)
	}
	st.VRRPSource = "cluster"
	cluster := Setup{Interfaces: []string{"eth0"}, Mechanism: "cluster", Group: "GROUP", Expect: []string{"ftp", "sip"}}
	want = "\nsync-interface        : eth0\nfailover-mechanism    : cluster [group GROUP]\n" +
		"last state transition : PRIMARY at Fri 24 Dec 2021 10:34:36 AM EET\nExpectationSync       : ftp, sip\n"
	if diff := cmp.Diff(want, first(cluster, st)); diff != "" {
		t.Error(diff)
	}
	want = "last state transition : no transition yet!\n"
	if got := first(setup, engine.Status{}); !strings.Contains(got, want) {
		t.Errorf("no %q in %q", want, got)
	}
}

func TestStatus(t *testing.T) {
	links := append(link(1, 2, 3, 4), Link{Interface: "eth1", Mode: "multicast", State: "waiting for the interface", SendErrors: 5})
	golden(t, "status.txt", printed(t, func(w io.Writer) error { return Status(w, full(), links) }), true)
	golden(t, "status_empty.txt", printed(t, func(w io.Writer) error {
		return Status(w, engine.Status{Node: "fw1", Now: now, Started: now, RoleSince: now, Verdict: engine.Alone, Why: "no peer was ever heard"}, nil)
	}), true)
}

func TestStatusJSON(t *testing.T) {
	got := printed(t, func(w io.Writer) error { return StatusJSON(w, &setup, full(), link(1, 2, 3, 4)) })
	golden(t, "status.json", got, true)
	empty := printed(t, func(w io.Writer) error { return StatusJSON(w, nil, engine.Status{}, nil) })
	for _, want := range []string{`"peers": []`, `"links": []`, `"failed": {}`, `"ready": null`, `"last_takeover": null`} {
		if !strings.Contains(empty, want) {
			t.Errorf("no %s in\n%s", want, empty)
		}
	}
	if strings.Contains(empty, "setup") {
		t.Error("a setup that was not asked for")
	}
}

func TestStatisticsJSON(t *testing.T) {
	golden(t, "statistics.json", printed(t, func(w io.Writer) error {
		return StatisticsJSON(w, full(), link(1, 2, 3, 4))
	}), true)
}

func TestSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0ms": -time.Second, "120ms": 120 * time.Millisecond, "1.5s": 1500 * time.Millisecond,
		"3m 12s": 192 * time.Second, "2h 5m": 125 * time.Minute, "2d 2h": 50 * time.Hour,
	} {
		if got := span(d); got != want {
			t.Errorf("span(%d): %q, want %q", d, got, want)
		}
	}
}

// A daemon that was started anew leaves its earlier run in the list for a while: it is not to be taken for a node that is lost.
func TestEarlierRun(t *testing.T) {
	st := engine.Status{Peers: []engine.PeerStatus{{Name: "fw-b"}, {Name: "fw-b", Live: true}, {Name: "fw-c"}}}
	var b strings.Builder
	if err := Status(&b, st, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "(earlier run)"); got != 1 {
		t.Errorf("%d earlier runs:\n%s", got, b.String())
	}
}
