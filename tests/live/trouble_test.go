package live

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// trouble is something that goes wrong while connections come and go, and how it is put right.
type trouble struct {
	name  string
	begin func(l *lab.Lab) error
	end   func(l *lab.Lab) error
	seen  bool // it is so bad that nobody may say that all is well
	ended int  // connections of 100 that end in it besides, and begin
	begun int
	often int  // so many times the usual rate; 0: once
	purge bool // connections end that no daemon sees end: what is left of them goes after purge-timeout
}

func lossy(percent int) trouble {
	lose := func(percent int) func(l *lab.Lab) error {
		return func(l *lab.Lab) error { return errors.Join(l.R1.Lose(percent), l.R2.Lose(percent)) }
	}
	return trouble{name: fmt.Sprintf("%d of 100 lost", percent), begin: lose(percent), end: lose(0)}
}

func deaf(name string, who func(l *lab.Lab) *lab.Router) trouble {
	return trouble{name: name + " hears nothing", seen: true,
		begin: func(l *lab.Lab) error { return who(l).Lose(100) },
		end:   func(l *lab.Lab) error { return who(l).Lose(0) }}
}

func killed(name string, who func(l *lab.Lab) *lab.Router) trouble {
	return trouble{name: name + " killed", purge: true,
		begin: func(l *lab.Lab) error { who(l).Daemon.Kill9(); return nil },
		end:   func(l *lab.Lab) error { return who(l).Restart() }}
}

func frozen(name string, who func(l *lab.Lab) *lab.Router) trouble {
	signal := func(s syscall.Signal) func(l *lab.Lab) error {
		return func(l *lab.Lab) error { return syscall.Kill(who(l).Daemon.Process().Pid(), s) }
	}
	return trouble{name: name + " frozen", begin: signal(syscall.SIGSTOP), end: signal(syscall.SIGCONT)}
}

// rough is a link on which datagrams are lost, come twice and overtake each other.
var rough = trouble{name: "lost, doubled, out of order",
	begin: func(l *lab.Lab) error {
		return l.RoughSync(0, lab.Rough{Seed: 1, Lose: 10, Duplicate: 10, Late: 30, Delay: 30 * time.Millisecond})
	},
	end: func(l *lab.Lab) error {
		c, err := l.SmoothSync(0)
		if err == nil && min(c.Lost, c.Doubled, c.Late) < c.Frames/20 {
			err = fmt.Errorf("the link was not as rough as it should be: %+v", c)
		}
		return err
	}}

// inFlood is a daemon stopped and started again while connections begin and end by the tens of thousands.
func inFlood(name string, who func(l *lab.Lab) *lab.Router) trouble {
	return trouble{name: name + " restarted in a flood", purge: true, often: 3,
		begin: func(l *lab.Lab) error {
			time.Sleep(time.Second)
			return errors.Join(who(l).Daemon.Stop(), who(l).Restart())
		},
		end: func(*lab.Lab) error { return nil }}
}

func r1(l *lab.Lab) *lab.Router { return l.R1 }
func r2(l *lab.Lab) *lab.Router { return l.R2 }

// cut is the sync link without light, while half of the connections end and twice as many begin.
var cut = trouble{name: "link cut", seen: true, ended: 50, begun: 200,
	begin: func(l *lab.Lab) error { return l.CutSync(0) },
	end:   func(l *lab.Lab) error { return l.JoinSync(0) }}

var troubles = []trouble{
	lossy(1), lossy(10), lossy(30), rough, cut, deaf("standby", r2), deaf("active", r1),
	killed("standby", r2), killed("active", r1), frozen("standby", r2), frozen("active", r1),
	inFlood("standby", r2), inFlood("active", r1),
}

// shortOfWarm are those that a warm standby goes through in the short form too.
var shortOfWarm = map[string]bool{"link cut": true, "active killed": true}

// Whatever goes wrong on the sync link or with a daemon while connections come and go: once it is over and both nodes
// say that all is well, both kernels have the same connections, field by field, and the active one's has those that
// the network has.
func TestTrouble(t *testing.T) {
	for _, standby := range []string{"hot", "warm"} {
		for _, c := range troubles {
			if standby == "warm" && !long && !shortOfWarm[c.name] {
				continue
			}
			t.Run(standby+"/"+c.name, func(t *testing.T) {
				if !long { // 20,000 events a second need the machine
					t.Parallel()
				}
				c.run(t, standby)
			})
		}
	}
}

func (c *trouble) run(t *testing.T, standby string) {
	flows, rate, lasts := pick(3000, 100000), pick(1500, 20000), time.Duration(pick(1500, 10000))*time.Millisecond
	rate *= max(c.often, 1)
	room(t, flows*(100+c.begun-c.ended)/100+5000)
	lines := []string{"standby " + standby}
	if c.purge {
		lines = append(lines, "purge-timeout 1")
	}
	l := run(t, patient, lines...)
	coming := &churn{router: l.R1}
	if err := coming.turn(flows, 0, 0); err != nil {
		t.Fatal(err)
	}
	bothSynced(t, l, 20*time.Second)
	stop := coming.start(t, rate)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.begin(l))
	if c.begun > 0 {
		stop()
		must(coming.turn(flows*c.begun/100, flows*c.ended/100, 10*rate))
		stop = coming.start(t, rate)
	}
	time.Sleep(lasts)
	if c.seen {
		c.admitted(t, l)
	}
	must(c.end(l))
	time.Sleep(lasts / 2)
	stop()
	over := time.Now()
	settled(t, l)
	took := time.Since(over)
	s1, s2 := state(t, l.R1), state(t, l.R2)
	if c.purge {
		purged(t, l)
	}
	if standby == "warm" {
		must(l.R1.StopKeepalived())
		awaitState(t, l.R2, "active", 10*time.Second, func(s status) bool { return s.Role == "active" })
	}
	coming.left(t, c.name)
	same(t, l, c.name)
	t.Logf("%s, %s: %d connections, %d events, settled %s after the last; overruns %d, asked again for %d, read again %d times", standby, c.name, coming.next-coming.first,
		coming.events, took.Round(time.Millisecond), s1.Kernel.Overruns, s2.Messages.Lost, s2.restarts())
}

// purged waits until the standby has forgotten what an earlier run of the active node's daemon said, and has deleted
// what the present one does not list.
func purged(t *testing.T, l *lab.Lab) {
	t.Helper()
	awaitState(t, l.R2, "knowing one run of r1 only", 10*time.Second, func(s status) bool { return len(s.Peers) == 1 })
	await(t, "the standby's kernel to have no more than the active one's", 15*time.Second, func() bool {
		return count(t, l.R2) <= count(t, l.R1)
	})
}

// admitted waits until neither node says that all is well.
func (c *trouble) admitted(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, r := range l.Routers() {
		awaitState(t, r, "admitting the "+c.name, 6*time.Second, func(s status) bool { return s.Node != "" && s.Code != 0 })
	}
}

func (s status) restarts() (n uint64) {
	for _, p := range s.Peers {
		n += p.Restarts
	}
	return n
}

// settled waits until both nodes say that all is well and nothing is under way.
func settled(t *testing.T, l *lab.Lab) {
	t.Helper()
	time.Sleep(300 * time.Millisecond) // heartbeats tell where the logs end
	bothSynced(t, l, 60*time.Second)
	awaitState(t, l.R2, "idle", 10*time.Second, func(s status) bool {
		return s.Code == 0 && s.follows() && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
	})
}

// same fails the test unless both kernels have the same connections now.
func same(t *testing.T, l *lab.Lab, when string) {
	t.Helper()
	differences, err := l.Compare(differing)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, d := range differences {
		switch {
		case d.Field == "entry" && d.B == "":
			kinds["missing on r2"]++
		case d.Field == "entry":
			kinds["only on r2"]++
		default:
			kinds["differing in "+d.Field]++
		}
		if len(kinds) < 10 && kinds["missing on r2"]+kinds["only on r2"] < 10 {
			t.Log(d)
		}
	}
	if len(differences) > 0 {
		t.Errorf("%s: the kernels differ, as both witnesses count: %v", when, kinds)
	}
}
