package dialogues

import (
	"net/netip"
	"testing"

	"github.com/ti-mo/conntrack"

	"ctsync/tests/lab"
)

// synProxy answers for the server until a client has shown that it is there (nft_synproxy): the firewall adjusts sequence
// numbers and timestamps of all that comes after it.
const synProxy = `
table inet proxied {
	chain pre {
		type filter hook prerouting priority raw;
		ip daddr 198.51.100.15 tcp dport 4010 tcp flags & (fin | syn | rst | ack) == syn notrack
	}
}
insert rule ip nat postrouting ip daddr 198.51.100.15 accept
insert rule inet filter forward ip daddr 198.51.100.15 tcp dport 4010 ct state { invalid, untracked } synproxy mss 1460 wscale 7 timestamp sack-perm
`

// TestSynProxy has connections through a SYN proxy go on after a takeover and the failback.
func TestSynProxy(t *testing.T) {
	t.Parallel()
	for _, standby := range []string{"hot", "warm"} {
		t.Run(standby, func(t *testing.T) {
			t.Parallel()
			proxied(t, standby)
		})
	}
}

func proxied(t *testing.T, standby string) {
	l := lab.Run(t, lab.Options{Daemon: lab.Ctsync("standby " + standby)})
	fs := &flows{talkers: &talkers{t: t, lab: l, wrong: map[string][]string{}}}
	fs.route()
	if _, err := l.Server.Run("ip", "address", "add", "198.51.100.15/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.Routers() {
		if _, err := r.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.RunInput(synProxy, "nft", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	client, server := host{l.Client, lab.ClientAddress, lab.ClientAddress}, host{l.Server, netip.MustParseAddr("198.51.100.15"), lab.ServerAddress}
	ear, err := server.listen(4010)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ear.Close() })
	open := func() stream {
		t.Helper()
		a, err := client.dial(server.at(4010))
		if err != nil {
			t.Fatal(err)
		}
		b, err := accept(ear)
		if err != nil {
			t.Fatal(err)
		}
		s := stream{a, b}
		t.Cleanup(func() { s.Close() })
		return s
	}
	idle, busy := open(), open()
	talk := func(stage string, s stream) {
		t.Helper()
		if err := s.talk(); err != nil {
			t.Fatalf("%s: %v", stage, err)
		}
	}
	talk("before anything", busy)
	talk("before anything", idle)
	fs.proxies(l.R1, 2)
	fs.takeover(l.R2, l.R1.StopKeepalived)
	fs.proxies(l.R2, 2)
	talk("after the takeover", busy)
	another := open()
	talk("after the takeover, a new one", another)
	fs.takeover(l.R1, l.R1.StartKeepalived)
	talk("after the failback", busy)
	talk("after the failback, the idle one", idle)
	talk("after the failback, the new one", another)
}

// proxies wants r's kernel to have that many connections that it adjusts for its SYN proxy: without, the test is none.
func (fs *flows) proxies(r *lab.Router, want int) {
	fs.t.Helper()
	conn := fs.conn(r)
	defer conn.Close()
	list, err := conn.Dump(nil)
	if err != nil {
		fs.t.Fatal(err)
	}
	found := 0
	for _, f := range list {
		if f.TupleOrig.Proto.DestinationPort == 4010 && f.SynProxy != (conntrack.SynProxy{}) && f.SeqAdjReply.OffsetAfter != 0 {
			found++
		}
	}
	if found != want {
		fs.t.Fatalf("%s: %d connections behind the SYN proxy, want %d", r.Name, found, want)
	}
}
