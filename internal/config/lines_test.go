package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// exported is every field of a Config by name, so that a comparison cannot fall back on Config's own Equal.
func exported(c Config) map[string]string {
	fields := map[string]string{}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			fields[f.Name] = fmt.Sprintf("%+v", v.Field(i))
		}
	}
	return fields
}

// TestLinesReadBack: whatever a configuration says, its lines say the same.
func TestLinesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyConfig(t)
		lines := strings.Join(want.Lines(), "\n")
		got, faults := Parse("lines", strings.NewReader(lines))
		if len(faults) > 0 {
			t.Fatalf("%v\n%s", faults, lines)
		}
		if diff := cmp.Diff(exported(want), exported(got)); diff != "" {
			t.Fatalf("-want +got:\n%s\n%s", diff, lines)
		}
		if !got.Equal(want) {
			t.Fatalf("not equal: %v", got.Changed(want))
		}
	})
}

// TestLinesSayEveryField: no field can be added to Config and forgotten in the settings.
func TestLinesSayEveryField(t *testing.T) {
	base := parsed(t, documented)
	other := Config{
		AcceptProtocol: []Protocol{6}, EventQueue: megabyte, ExpectSync: []string{"ftp"}, Failover: Failover{VRRP, "X"},
		IgnoreAddress: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Links: []Link{{Interface: "x", Port: 1}},
		ListenAddress: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, MulticastGroup: netip.MustParseAddr("225.0.0.51"),
		SyncQueue: megabyte, PurgeTimeout: time.Second, StartupResync: true, DisableSyslog: true, Standby: Warm,
		ClusterID: "x", NodeName: "x", NotifyFIFO: "/x", NotifyFIFOOwner: "x", DBus: true, KeepalivedConfig: "/x", KeepalivedPID: "/x",
		TrackFile: "/x", CommitTimeout: time.Second, SyncAfter: time.Second, SyncAfterPackets: 1, AcceptTCPState: []string{"established"}, Metrics: netip.MustParseAddrPort("127.0.0.1:1"),
		LogLevel: slog.LevelError, Control: "/x", ControlGroup: "x", KeyFile: "/x", Permissive: true,
	}
	v := reflect.ValueOf(other)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		changed := base
		reflect.ValueOf(&changed).Elem().Field(i).Set(v.Field(i))
		if slices.Equal(base.Lines(), changed.Lines()) {
			t.Errorf("%s: Lines does not say it (or the test gives it no other value)", field.Name)
		}
	}
}

// anyConfig draws a configuration that Parse could have returned.
func anyConfig(t *rapid.T) Config {
	c := Config{
		EventQueue:    rapid.IntRange(0, maxMegabyte).Draw(t, "event queue") * megabyte,
		SyncQueue:     rapid.IntRange(0, maxMegabyte).Draw(t, "sync queue") * megabyte,
		PurgeTimeout:  anySeconds(1).Draw(t, "purge"),
		CommitTimeout: anySeconds(0).Draw(t, "commit"),
		SyncAfter:     time.Duration(rapid.IntRange(0, 3600).Draw(t, "age")) * time.Second,
		StartupResync: rapid.Bool().Draw(t, "resync"),
		DisableSyslog: rapid.Bool().Draw(t, "no syslog"),
		Standby:       rapid.SampledFrom([]Standby{Hot, Warm}).Draw(t, "standby"),
		ClusterID:     anyText().Draw(t, "cluster id"),
		NodeName:      rapid.StringMatching(`([a-zA-Z0-9_][a-zA-Z0-9._-]{0,63})?`).Draw(t, "node"),
		TrackFile:     anyPath("track").Draw(t, "track"),
		Control:       anyPath("control").Draw(t, "control"),
		ControlGroup:  rapid.StringMatching(`([a-z_][a-z0-9_-]{0,31})?`).Draw(t, "control group"),
		Failover:      Failover{rapid.SampledFrom([]Mechanism{VRRP, Cluster}).Draw(t, "mechanism"), anyText().Draw(t, "group")},
	}
	if rapid.Bool().Draw(t, "metrics") {
		c.Metrics = netip.AddrPortFrom(anyHost(rapid.Bool().Draw(t, "metrics v4")).Draw(t, "metrics at"), rapid.Uint16Min(1).Draw(t, "metrics port"))
	}
	c.LogLevel = anyLevel(c.DisableSyslog).Draw(t, "level")
	if c.SyncAfter > 0 {
		c.SyncAfterPackets = rapid.Uint64Range(0, 1_000_000).Draw(t, "packets")
	}
	drawSets(t, &c)
	drawKeepalived(t, &c)
	drawLinks(t, &c)
	if rapid.Bool().Draw(t, "sealed") {
		c.KeyFile = anyPath("key").Draw(t, "key file")
		c.Permissive = rapid.Bool().Draw(t, "permissive")
	}
	return c
}

func drawSets(t *rapid.T, c *Config) {
	for _, p := range protocols {
		if rapid.Bool().Draw(t, p.word) {
			c.AcceptProtocol = append(c.AcceptProtocol, p.number)
		}
	}
	for _, s := range tcpStates {
		if rapid.Bool().Draw(t, s.word) {
			c.AcceptTCPState = append(c.AcceptTCPState, s.word)
		}
	}
	for _, e := range expectations {
		if rapid.Bool().Draw(t, e.word) {
			c.ExpectSync = append(c.ExpectSync, e.word)
		}
	}
	if len(c.ExpectSync) == 0 && rapid.Bool().Draw(t, "all") {
		c.ExpectSync = []string{all}
	}
	for range rapid.IntRange(0, 3).Draw(t, "ignored") {
		a := anyHost(rapid.Bool().Draw(t, "ignored v4")).Draw(t, "ignore")
		p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
		if !slices.Contains(c.IgnoreAddress, p) {
			c.IgnoreAddress = append(c.IgnoreAddress, p)
		}
	}
	slices.SortFunc(c.IgnoreAddress, netip.Prefix.Compare)
}

func drawKeepalived(t *rapid.T, c *Config) {
	if c.Failover.Mechanism == Cluster {
		return
	}
	c.KeepalivedConfig = anyPath("keepalived").Draw(t, "keepalived")
	c.KeepalivedPID = anyPath("pid").Draw(t, "pid")
	c.DBus = rapid.Bool().Draw(t, "dbus")
	if rapid.Bool().Draw(t, "fifo") {
		c.NotifyFIFO = anyPath("fifo").Draw(t, "fifo path")
		c.NotifyFIFOOwner = rapid.StringMatching(`([a-z_][a-z0-9_-]{0,31})?`).Draw(t, "fifo owner")
	}
}

func drawLinks(t *rapid.T, c *Config) {
	v4 := rapid.Bool().Draw(t, "v4")
	unicast := rapid.Bool().Draw(t, "unicast")
	for i := range rapid.IntRange(1, 3).Draw(t, "links") {
		l := Link{Interface: rapid.StringMatching(`[a-z"#@.]{1,8}`).Draw(t, "name") + fmt.Sprint(i), Port: rapid.Uint16Min(1).Draw(t, "port")}
		for range rapid.IntRange(1, 2).Draw(t, "peers") {
			if a := anyHost(v4).Draw(t, "peer"); unicast && !slices.Contains(l.Peers, a) {
				l.Peers = append(l.Peers, a)
			}
		}
		c.Links = append(c.Links, l)
	}
	if a := anyHost(v4).Draw(t, "listen"); rapid.Bool().Draw(t, "listens") && !peerOfAny(c.Links, a) {
		c.ListenAddress = []netip.Addr{a}
	}
	if !unicast || rapid.Bool().Draw(t, "group though unicast") {
		c.MulticastGroup = netip.MustParseAddr("ff12::3780")
		if v4 {
			c.MulticastGroup = netip.AddrFrom4([4]byte{225, 0, 0, rapid.Byte().Draw(t, "group")})
		}
	}
}

func peerOfAny(links []Link, a netip.Addr) bool {
	return slices.ContainsFunc(links, func(l Link) bool { return slices.Contains(l.Peers, a) })
}

func anySeconds(least int) *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.IntRange(least, 1<<31-1), func(n int) time.Duration { return time.Duration(n) * time.Second })
}

// anyText is printable text with quotes of one kind, and a # that must not become a comment.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9äß ,#{}'-]{1,40}`), rapid.StringMatching(`[a-z #"/]{1,40}`)).
		Filter(func(s string) bool { _, err := text(s); return err == nil })
}

func anyPath(root string) *rapid.Generator[string] {
	return rapid.StringMatching(`/` + root + `/[a-zA-Z0-9# '_-]{0,40}[a-z]`)
}

func anyLevel(quiet bool) *rapid.Generator[slog.Level] {
	if quiet {
		return rapid.SampledFrom([]slog.Level{slog.LevelWarn, slog.LevelError})
	}
	return rapid.SampledFrom([]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError})
}

func anyHost(v4 bool) *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")
		if v4 {
			return netip.AddrFrom4([4]byte{byte(1 + int(b[0])%126), b[1], b[2], b[3]})
		}
		b[0] = 0x20 | b[0]&0x1f
		return netip.AddrFrom16([16]byte(b))
	})
}
