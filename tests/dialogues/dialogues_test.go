package dialogues

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// talkers are all dialogues in one lab, and what went wrong in each, by name.
type talkers struct {
	t     *testing.T
	lab   *lab.Lab
	calls []*call
	wrong map[string][]string
	seen  map[string]bool         // expectations that both kernels had
	order func(*lab.Router) error // the role to a router; nil: keepalived tells
	warm  bool                    // the standby's kernel has nothing
}

// TestDialogues has every dialogue announced, a takeover, and what was announced opened; then announced once more
// by the same control connection, the failback, and again; and a takeover and a failback without that connection.
func TestDialogues(t *testing.T) {
	t.Parallel()
	all := []struct {
		name string
		nat  lab.NAT
		warm bool
	}{{"snat", lab.SNAT, false}, {"masquerade", lab.Masquerade, false}, {"warm", lab.SNAT, true}, {"masquerade, warm", lab.Masquerade, true}}
	if os.Getenv("LONG") == "" {
		all = all[:2]
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dialogues(t, lab.Options{NAT: c.nat}, c.warm)
		})
	}
}

func dialogues(t *testing.T, o lab.Options, warm bool) {
	standby := "standby hot"
	if warm {
		standby = "standby warm"
	}
	o.IPv6, o.Daemon = true, lab.Ctsync("expect-sync all", standby)
	l := lab.Run(t, o)
	ts := &talkers{t: t, lab: l, wrong: map[string][]string{}, seen: map[string]bool{}, warm: warm}
	ts.rules()
	ts.route()
	for _, d := range table {
		c := ends(l, d)
		t.Cleanup(c.close)
		ts.calls = append(ts.calls, c)
	}
	ts.each("begin", func(c *call) error { return c.begin(c) })
	ts.announce(l.R1)
	ts.takeover(l.R2, l.R1.StopKeepalived)
	ts.each("open after the takeover", func(c *call) error { return c.open(c) })
	ts.each("talk after the takeover", (*call).talk)
	ts.related(l.R2)
	ts.announce(l.R2)
	ts.takeover(l.R1, l.R1.StartKeepalived)
	ts.each("talk after the failback", (*call).talk)
	ts.each("open after the failback", func(c *call) error {
		if c.mute {
			return nil
		}
		return c.open(c)
	})
	ts.each("talk again after the failback", (*call).talk)
	ts.related(l.R1)
	ts.orphan(l.R1)
	ts.takeover(l.R2, l.R1.StopKeepalived)
	ts.each("talk without the control connection, after a takeover", (*call).talk)
	ts.takeover(l.R1, l.R1.StartKeepalived)
	ts.each("talk without the control connection, after the failback", (*call).talk)
	for _, d := range table {
		t.Run(d.name, func(t *testing.T) {
			for _, w := range ts.wrong[d.name] {
				t.Error(w)
			}
		})
	}
}

// each does one step of every dialogue in which nothing went wrong so far.
func (ts *talkers) each(step string, do func(*call) error) {
	began := time.Now()
	for _, c := range ts.calls {
		if ts.wrong[c.name] != nil {
			continue
		}
		if err := do(c); err != nil {
			ts.fails(c, step, err)
		}
	}
	ts.t.Logf("%s: %s", step, time.Since(began).Round(time.Millisecond))
}

func (ts *talkers) fails(c *call, step string, err error) {
	ts.wrong[c.name] = append(ts.wrong[c.name], fmt.Sprintf("%s: %v", step, err))
}

// announce has every dialogue say what makes the helper expect, at the master, and waits until the standby's
// kernel expects the same.
func (ts *talkers) announce(master *lab.Router) {
	ts.t.Helper()
	ts.each("announce at "+master.Name, func(c *call) error {
		if c.spoken > 0 && c.mute {
			return nil
		}
		c.spoken++
		return c.say(c)
	})
	var a, b []expectation
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a, b = ts.expected(master), ts.expected(master.Peer)
		if ts.warm {
			b = a
		}
		if time.Now().After(end) || !slices.ContainsFunc(ts.calls, func(c *call) bool { return differ(c, a, b) != nil }) {
			break
		}
	}
	for _, c := range ts.calls {
		if ours := of(a, c); master == ts.lab.R1 && len(ours) != c.expects {
			ts.fails(c, "announce at "+master.Name, fmt.Errorf("%d connections are expected instead of %d: %v", len(ours), c.expects, ours))
		}
		if err := differ(c, a, b); err != nil {
			ts.fails(c, "announce at "+master.Name, err)
		}
	}
	ts.listed(master, "internal", len(a))
	ts.listed(master.Peer, "external", len(b))
}

// orphan ends the control connections in the master's kernel, of which what they announced lives on: but for PPTP, whose
// tunnel ends with it.
func (ts *talkers) orphan(master *lab.Router) {
	ts.t.Helper()
	ts.each("end the control connection", func(c *call) error {
		if c.helper == "pptp" {
			return nil
		}
		family := "ipv4"
		if c.ipv6 {
			family = "ipv6"
		}
		_, err := master.Run("conntrack", "-D", "-f", family, "-p", c.l4, "--dport", strconv.Itoa(int(c.master)))
		return err
	})
	ts.each("talk without the control connection", (*call).talk)
}

// listed waits until a cache's listing of expectations has that many rows below its heading, and the statistics
// count as many: the end of what was written here is looked at twice.
func (ts *talkers) listed(r *lab.Router, cache string, want int) {
	ts.t.Helper()
	line := fmt.Sprintf("cache %s:\ncurrent active connections:\t%12d\n", cache, want)
	var rows, statistics string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err1, err2 error
		rows, err1 = r.Ask("show", "conntrack-sync", "cache", cache, "expect")
		statistics, err2 = r.Ask("show", "conntrack-sync", "statistics", "expect")
		if err := errors.Join(err1, err2); err != nil {
			ts.t.Fatal(err)
		}
		if strings.Count(rows, "\n")-1 == want && strings.Contains(statistics, line) {
			return
		}
	}
	ts.t.Errorf("%s, %s cache: not %d expectations:\n%s%s", r.Name, cache, want, rows, statistics)
}

// slack is how many seconds two timeouts may differ.
const slack = 8

// differ says how what two kernels expect of one dialogue differs.
func differ(c *call, a, b []expectation) error {
	ours, theirs := of(a, c), of(b, c)
	same := len(ours) == len(theirs)
	for i := 0; same && !c.rewritten && i < len(ours); i++ {
		same = ours[i].text == theirs[i].text && ours[i].timeout-theirs[i].timeout <= slack && theirs[i].timeout-ours[i].timeout <= slack
	}
	if same {
		return nil
	}
	return fmt.Errorf("it expects\n\t%s\nand the standby\n\t%s", ours, theirs)
}

// takeover does what makes r the master.
func (ts *talkers) takeover(r *lab.Router, do func() error) {
	ts.t.Helper()
	if err := r.WaitSynced(10 * time.Second); err != nil {
		ts.t.Fatal(err)
	}
	if ts.order != nil {
		if err := ts.order(r); err != nil {
			ts.t.Fatal(err)
		}
	}
	if err := do(); err != nil {
		ts.t.Fatal(err)
	}
	if err := ts.lab.WaitMaster(r, 10*time.Second); err != nil {
		ts.t.Fatal(err)
	}
}
