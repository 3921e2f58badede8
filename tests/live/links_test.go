package live

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// each is a kind whose lines differ from router to router.
func each(lines func(r *lab.Router) []string) lab.Kind {
	return func(r *lab.Router) lab.Daemon { return ctsync(lines(r)...)(r) }
}

// sync6 is an IPv6 address for the router's sync link (RFC 4193).
func sync6(r *lab.Router) string {
	return fmt.Sprintf("fd00:3780::%s", strings.TrimPrefix(r.Name, "r"))
}

// prepared makes a pair that can be changed before it starts.
func prepared(t *testing.T, o lab.Options, change func(r *lab.Router)) *lab.Lab {
	t.Helper()
	l, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", l.Tail(30))
		}
	})
	for _, r := range l.Routers() {
		change(r)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

// inside runs a command in the router's namespace.
func inside(t *testing.T, r *lab.Router, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := r.Run(words[0], words[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every kind of sync link carries the flows, in the mode and from the address that the settings say.
func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  string
		lines func(r *lab.Router) []string
		from  func(r *lab.Router) string // prefix of a peer's address and port
	}{
		{"unicast", "UDP", func(r *lab.Router) []string {
			return []string{fmt.Sprintf("interface sync0 peer %s", r.Peer.SyncAddress(0).Addr())}
		}, func(r *lab.Router) string { return r.SyncAddress(0).Addr().String() + ":3780" }},
		{"unicast IPv6, another port", "UDP", func(r *lab.Router) []string {
			return []string{fmt.Sprintf("interface sync0 peer %s port 4711", sync6(r.Peer))}
		}, func(r *lab.Router) string { return "[" + sync6(r) + "]:4711" }},
		{"listen-address", "UDP", func(r *lab.Router) []string {
			return []string{"interface sync0 peer " + second(r.Peer).String(), "listen-address " + second(r).String()}
		}, func(r *lab.Router) string { return second(r).String() + ":3780" }},
		{"multicast to another group", "multicast", func(r *lab.Router) []string {
			return []string{"mcast-group 239.1.2.3", "interface sync0 port 4000"}
		}, func(r *lab.Router) string { return r.SyncAddress(0).Addr().String() + ":4000" }},
		{"IPv6 multicast", "multicast", func(*lab.Router) []string { return []string{"mcast-group ff12::3780"} },
			func(*lab.Router) string { return "[fe80::" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := prepared(t, lab.Options{Daemon: each(c.lines)}, func(r *lab.Router) {
				inside(t, r, fmt.Sprintf("ip address add %s/64 dev sync0 nodad", sync6(r)))
				inside(t, r, fmt.Sprintf("ip address add %s/24 dev sync0", second(r)))
			})
			traffic := talk(t, l, small)
			bothSynced(t, l, 10*time.Second)
			for _, r := range l.Routers() {
				s := state(t, r)
				if len(s.Links) != 1 || s.Links[0].Mode != c.mode || !s.Links[0].Up {
					t.Errorf("%s: links %+v, want one of mode %s", r.Name, s.Links, c.mode)
				}
				if want := c.from(r.Peer); len(s.Peers) != 1 || !strings.HasPrefix(s.Peers[0].Address, want) {
					t.Errorf("%s: peers %+v, want one at %s", r.Name, s.Peers, want)
				}
			}
			if out := inside(t, l.R1, "ip maddress show dev sync0"); strings.HasPrefix(c.mode, "multicast") &&
				!strings.Contains(out, "239.1.2.3") && !strings.Contains(out, "ff12::3780") {
				t.Errorf("the group is not joined:\n%s", out)
			}
			try(t, traffic, l.Cycle()[2])
		})
	}
}

// second is a second address of the router's sync link.
func second(r *lab.Router) netip.Addr {
	a := r.SyncAddress(0).Addr().As4()
	a[3] += 100
	return netip.AddrFrom4(a)
}

// Of two links one may fail, whichever: nothing has to be read again.
func TestTwoLinks(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{SecondSync: true})
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	for _, cut := range []int{0, 1} {
		if err := l.CutSync(cut); err != nil {
			t.Fatal(err)
		}
		if err := traffic.Renew(); err != nil { // what begins now goes over the other link
			t.Fatal(err)
		}
		time.Sleep(3500 * time.Millisecond) // longer than a peer that is not heard counts as live
		bothSynced(t, l, 0)
		if err := l.JoinSync(cut); err != nil {
			t.Fatal(err)
		}
		awaitState(t, l.R2, "both links up", 3*time.Second, func(s status) bool { return s.Links[0].Up && s.Links[1].Up })
	}
	if p := state(t, l.R2).Peers; len(p) != 1 || p[0].Restarts != 0 {
		t.Errorf("peers of r2: %+v, want one that was never read again", p)
	}
	equal(t, l, "after each link was cut")
	try(t, traffic, l.Cycle()[0])
}

// A link that carries less than usual carries the flows all the same, also when that changes under way.
func TestSmallMTU(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	for i, mtu := range []int{1400, 1280} {
		for _, r := range l.Routers() {
			inside(t, r, fmt.Sprintf("ip link set sync0 mtu %d", mtu))
		}
		time.Sleep(1500 * time.Millisecond)
		before := state(t, l.R1).Links[0].SendErrors
		create(t, l.R1, 2000*i, 2000*(i+1), 60000)
		awaitState(t, l.R2, "every flow", 3*time.Second, func(s status) bool { return s.External.Active == 2000*(i+1) })
		if s := state(t, l.R1).Links[0]; s.MTU != mtu || s.SendErrors != before {
			t.Errorf("MTU %d: link %+v, with %d errors before", mtu, s, before)
		}
	}
}

// The sync interface deleted and made again, on one side.
func TestLinkMadeAgain(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	inside(t, l.R2, "ip link delete sync0")
	awaitState(t, l.R2, "alone", 5*time.Second, func(s status) bool { return s.Code == 4 && !s.Links[0].Up })
	port := l.R2.Name + "-" + lab.Sync
	for _, command := range []string{
		fmt.Sprintf("ip link add %s type veth peer name %s netns %s", port, lab.Sync, l.R2.Namespace.Name),
		fmt.Sprintf("ip link set %s master br-%s up", port, lab.Sync),
	} {
		words := strings.Fields(command)
		if _, err := l.Switches.Run(words[0], words[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	inside(t, l.R2, fmt.Sprintf("ip address add %s dev sync0", l.R2.SyncAddress(0)))
	inside(t, l.R2, "ip link set sync0 up")
	bothSynced(t, l, 10*time.Second)
	try(t, traffic, l.Cycle()[0])
}

// Two pairs on one link do not mix: each refuses the other by its cluster-id, and counts it.
func TestClusterID(t *testing.T) {
	t.Parallel()
	l, err := lab.New(lab.Options{Daemon: each(func(r *lab.Router) []string { return []string{"cluster-id 'site " + r.Name + "'"} })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	for _, r := range l.Routers() {
		if err := r.Daemon.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range l.Routers() {
		awaitState(t, r, "refusing the other", 3*time.Second, func(s status) bool {
			return s.Messages.Refused["another cluster-id"] > 2
		})
		if s := state(t, r); len(s.Peers) != 0 || s.Code != 4 || s.Messages.Malformed != s.Messages.Refused["another cluster-id"] {
			t.Errorf("%s: peers %+v, verdict %d, refused %v", r.Name, s.Peers, s.Code, s.Messages.Refused)
		}
		if n := strings.Count(said(r, time.Time{}), "another cluster-id"); n != 1 {
			t.Errorf("%s: %d lines about it, want one", r.Name, n)
		}
	}
}
