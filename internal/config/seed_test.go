package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// documented is VyOS's example as its documentation prints it.
const documented = `set service conntrack-sync accept-protocol 'tcp,udp,icmp'
set service conntrack-sync event-listen-queue-size '8'
set service conntrack-sync failover-mechanism cluster group 'GROUP' # Or VRRP
set service conntrack-sync interface 'eth0'
set service conntrack-sync mcast-group '225.0.0.50'
set service conntrack-sync sync-queue-size '8'
`

// parsed is the Config of text, without its origin. Any fault fails the test.
func parsed(t *testing.T, text string) Config {
	t.Helper()
	c, faults := Parse("test.conf", strings.NewReader(text))
	for _, f := range faults {
		t.Errorf("%v", f)
	}
	c.from = origin{}
	return c
}

func TestDocumentedExample(t *testing.T) {
	want := Default()
	want.AcceptProtocol = []Protocol{6, 17, 1}
	want.EventQueue = 8 << 20
	want.Failover = Failover{Cluster, "GROUP"}
	want.ClusterID = "GROUP"
	want.Links = []Link{{Interface: "eth0", Port: 3780}}
	want.MulticastGroup = netip.MustParseAddr("225.0.0.50")
	want.SyncQueue = 8 << 20
	want.PurgeTimeout = time.Minute
	want.NotifyFIFO, want.DBus, want.KeepalivedConfig, want.KeepalivedPID = "", false, "", ""
	got := parsed(t, documented)
	if diff := cmp.Diff(exported(want), exported(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSpellings(t *testing.T) {
	for _, same := range [][]string{
		{"failover-mechanism cluster group 'G'", "cluster group G", "set service conntrack-sync cluster group \"G\"", "failover-mechanism cluster group G# Or VRRP"},
		{"failover-mechanism vrrp sync-group 'G'", "vrrp sync-group G", "set service conntrack-sync vrrp sync-group G"},
	} {
		first := parsed(t, same[0]+"\ninterface eth0")
		for _, other := range same[1:] {
			if got := parsed(t, other+"\ninterface eth0"); !got.Equal(first) {
				t.Errorf("%s: differs from %s in %v", other, same[0], got.Changed(first))
			}
		}
	}
	base := "cluster group G\ninterface eth0\n"
	for _, same := range [][]string{
		{"accept-protocol tcp,udp", "accept-protocol 'udp,tcp'", "accept-protocol udp\naccept-protocol tcp", "accept-protocol tcp, udp, tcp"},
		{"", "accept-protocol all"},
		{"ignore-address 192.0.2.1", "ignore-address ipv4 192.0.2.1", "ignore-address 192.0.2.1/32"},
		{"", "disable-external-cache", "standby hot"},
		{"", "interface eth0 port 3780", "interface 'eth0'"},
	} {
		first := parsed(t, base+same[0])
		for _, other := range same[1:] {
			if got := parsed(t, base+other); !got.Equal(first) {
				t.Errorf("%q: differs from %q in %v", other, same[0], got.Changed(first))
			}
		}
	}
}

// TestValueless: what the documentation prints without a value is refused with the values that it lists.
func TestValueless(t *testing.T) {
	for line, allowed := range map[string]string{
		"set service conntrack-sync accept-protocol":    "tcp, udp, icmp, sctp",
		"set service conntrack-sync expect-sync":        "all, ftp, h323, nfs, sip, sqlnet",
		"set service conntrack-sync failover-mechanism": "cluster group NAME, vrrp sync-group NAME",
	} {
		_, faults := Parse("f", strings.NewReader(line))
		if len(faults) == 0 || faults[0].Line != 1 || !strings.HasPrefix(faults[0].Allowed, allowed) {
			t.Errorf("%s: %v", line, faults)
		}
	}
}

func TestExpectHelpers(t *testing.T) {
	base := "cluster group G\ninterface eth0\n"
	for words, want := range map[string][]string{
		"":            nil,
		"h323":        {"RAS", "Q.931", "H.245"},
		"sqlnet,nfs":  {"rpc", "tns"},
		"sip,ftp,sip": {"ftp", "sip"},
	} {
		text := base
		if words != "" {
			text += "expect-sync " + words
		}
		if got, every := parsed(t, text).ExpectHelpers(); every || !slices.Equal(got, want) {
			t.Errorf("%q: %q, every %v", words, got, every)
		}
	}
	if _, every := parsed(t, base+"expect-sync all").ExpectHelpers(); !every {
		t.Error("all is not every helper")
	}
}

func TestChanged(t *testing.T) {
	before := parsed(t, "cluster group G\ninterface eth0\n")
	after := parsed(t, "# moved\ninterface eth0\ncluster group G\npurge-timeout 5\nignore-address 192.0.2.1")
	if got := after.Changed(before); !slices.Equal(got, []string{"ignore-address", "purge-timeout"}) {
		t.Errorf("changed: %q", got)
	}
	if !before.Equal(before) || before.Equal(after) {
		t.Error("Equal does not follow Changed")
	}
}

func TestUnicastHasNoGroup(t *testing.T) {
	c := parsed(t, "cluster group G\ninterface eth0 peer 192.0.2.2\n")
	if !c.Unicast() || c.MulticastGroup.IsValid() {
		t.Errorf("unicast %v, group %v", c.Unicast(), c.MulticastGroup)
	}
}
