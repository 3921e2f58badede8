package live

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// differing says what two equal nodes may differ in, and why. Timeouts are not compared: packets refresh the
// active node's without any event, and the standby's have some time to spare.
var differing = lab.Comparison{Ignore: map[string]string{}}

// equal waits until both kernels hold the same, as two independent witnesses see it. What traffic changes
// meanwhile is seen a moment later on the other side, hence the patience.
func equal(t *testing.T, l *lab.Lab, when string) {
	t.Helper()
	var last []lab.Difference
	end := time.Now().Add(8 * time.Second)
	for time.Now().Before(end) {
		d, err := l.Compare(differing)
		if err != nil {
			t.Fatal(err)
		}
		if last = d; len(d) == 0 {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	for i, d := range last {
		if i == 20 {
			break
		}
		t.Log(d)
	}
	t.Errorf("%s: %d differences between the kernels of r1 and r2", when, len(last))
}

// Both kernels hold the same after every kind of failover, and every count of the statistics agrees.
func TestEquality(t *testing.T) {
	for _, nat := range []lab.NAT{lab.SNAT, lab.Masquerade} {
		t.Run(nat.String(), func(t *testing.T) {
			t.Parallel()
			l := run(t, lab.Options{NAT: nat}, "purge-timeout 1")
			if err := l.R1.AddFlows(500); err != nil {
				t.Fatal(err)
			}
			traffic := talk(t, l, small)
			bothSynced(t, l, 10*time.Second)
			// A mark is an administrator's or a rule's; it comes along.
			await(t, "conntrack(8) to set it, which it does not always in a table that changes", 3*time.Second, func() bool {
				_, err := l.R1.Run("conntrack", "-U", "-p", "tcp", "-d", lab.ServerAddress.String(), "-m", "77")
				return err == nil
			})
			equal(t, l, "at start")
			if out, err := l.R2.Run("conntrack", "-L", "-p", "tcp", "-m", "77"); err != nil || strings.Count(out, "mark=77") < small.TCP {
				t.Errorf("the standby has %d flows with the mark: %v", strings.Count(out, "mark=77"), err)
			}
			for _, f := range l.Cycle() {
				try(t, traffic, f)
				bothUp := f.Taker == l.R1
				if !bothUp {
					continue
				}
				bothSynced(t, l, 10*time.Second)
				equal(t, l, f.Name)
				agree(t, l.R1, l.R2)
			}
		})
	}
}

// agree compares the statistics of the active node and of its standby, as the program prints them.
func agree(t *testing.T, active, standby *lab.Router) {
	t.Helper()
	var a, s map[string]int
	await(t, "the counters to agree", 8*time.Second, func() bool {
		a, s = counters(t, active), counters(t, standby)
		return a["internal active"] > 0 && a["internal active"] == s["external active"] && s["internal active"] == 0 && a["external active"] == 0
	})
	for name, c := range map[string]map[string]int{active.Name: a, standby.Name: s} {
		for _, which := range []string{"internal", "external"} {
			if c[which+" created"]-c[which+" destroyed"] != c[which+" active"] {
				t.Errorf("%s: %s: created %d, destroyed %d, active %d", name, which,
					c[which+" created"], c[which+" destroyed"], c[which+" active"])
			}
		}
	}
}

// counters reads `show conntrack-sync statistics`.
func counters(t *testing.T, r *lab.Router) map[string]int {
	t.Helper()
	out, code := ask(t, r, "show", "conntrack-sync", "statistics")
	if code != 0 {
		t.Fatalf("%s: statistics: exit code %d", r.Name, code)
	}
	c := map[string]int{}
	which := ""
	for line := range strings.Lines(out) {
		var n int
		_, _ = fmt.Sscanf(line, "cache %s", &which)
		name := strings.TrimSuffix(which, ":")
		for word, format := range map[string]string{
			"active": "current active connections:%d", "created": "connections created:%d", "destroyed": "connections destroyed:%d",
		} {
			if k, _ := fmt.Sscanf(strings.Join(strings.Fields(line), " "), strings.Replace(format, ":", ": ", 1), &n); k == 1 {
				c[name+" "+word] = n
			}
		}
	}
	return c
}

// The listings show what there is: the kernel's table row for row, the caches, and the verdict with its exit code.
func TestViews(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	tcp := small.TCP + small.Bulk

	out, code := ask(t, l.R1, "show", "conntrack", "table", "ipv4")
	rows := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, lab.WANVIP.String()) && strings.Contains(line, "tcp") && strings.Contains(line, "ES") {
			rows++
		}
	}
	if code != 0 || rows != tcp {
		t.Errorf("show conntrack table ipv4: exit code %d, %d established TCP rows of %d:\n%s", code, rows, tcp, out)
	}
	if out, code := ask(t, l.R1, "show", "conntrack", "table", "ipv6"); code != 0 || strings.Contains(out, "tcp") {
		t.Errorf("show conntrack table ipv6: exit code %d:\n%s", code, out)
	}
	for cache, routers := range map[string][2]*lab.Router{"internal": {l.R1, l.R2}, "external": {l.R2, l.R1}} {
		full, _ := ask(t, routers[0], "show", "conntrack-sync", "cache", cache)
		if n := strings.Count(full, netip.AddrPortFrom(lab.ServerAddress, 7000).String()); n < tcp {
			t.Errorf("cache %s of %s lists %d TCP flows of %d:\n%s", cache, routers[0].Name, n, tcp, full)
		}
		if empty, _ := ask(t, routers[1], "show", "conntrack-sync", "cache", cache); strings.Contains(empty, lab.ServerAddress.String()) {
			t.Errorf("cache %s of %s is not empty:\n%s", cache, routers[1].Name, empty)
		}
	}
	if out, code := ask(t, l.R1, "show", "conntrack-sync", "status"); code != 0 ||
		!strings.Contains(out, lab.Sync) || !strings.Contains(out, lab.Group) {
		t.Errorf("show conntrack-sync status: exit code %d:\n%s", code, out)
	}
}

// The verdict follows what happens, and its exit code with it.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	bothSynced(t, l, 10*time.Second)
	is := func(r *lab.Router, what string, code int) {
		t.Helper()
		await(t, fmt.Sprintf("%s to say %d when %s", r.Name, code, what), 5*time.Second, func() bool {
			_, got := ask(t, r, "status")
			return got == code
		})
	}
	is(l.R1, "all is well", 0)
	is(l.R2, "all is well", 0)
	if err := l.CutSync(0); err != nil {
		t.Fatal(err)
	}
	is(l.R1, "the sync link is cut", 4)
	is(l.R2, "the sync link is cut", 4)
	if err := l.JoinSync(0); err != nil {
		t.Fatal(err)
	}
	is(l.R1, "it is back", 0)
	is(l.R2, "it is back", 0)
	if err := l.R1.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	is(l.R1, "it does not run", 2)
	is(l.R2, "its peer does not run", 4)
	if err := l.R1.Restart(); err != nil {
		t.Fatal(err)
	}
	is(l.R1, "it runs again", 0)
	is(l.R2, "its peer runs again", 0)
	if _, code := ask(t, l.R2, "promote"); code != 0 {
		t.Errorf("promote: exit code %d", code)
	}
	is(l.R1, "two are active", 1)
	is(l.R2, "two are active", 1)
	if _, code := ask(t, l.R2, "demote"); code != 0 {
		t.Errorf("demote: exit code %d", code)
	}
	is(l.R1, "one is active", 0)
	is(l.R2, "one is active", 0)
}
