package daemon

import (
	"encoding/json"
	"fmt"
	"time"

	"ctsync/engine"
	"ctsync/internal/config"
	"ctsync/vrrp"
)

// byHandJSON is `promote` and `demote --output json`.
type byHandJSON struct {
	Role     string  `json:"role"`     // now
	Was      string  `json:"was"`      // before the order
	Adopted  int     `json:"adopted"`  // of a promotion: flows of other nodes that are this one's now,
	Written  int     `json:"written"`  // those of them that the kernel lacked,
	Failed   int     `json:"failed"`   // and those that it refused
	Duration float64 `json:"duration"` // seconds until the role was taken
	Next     string  `json:"next"`     // what follows
	Error    string  `json:"error"`
}

// operatorVerb gives this node a role by hand, and says what happened and what will follow: nobody but this daemon knows of it.
func operatorVerb(s vrrp.State) func(*Daemon, *call) int {
	return func(d *Daemon, c *call) int {
		was, begun := d.loop.status().Role, time.Now()
		d.order(vrrp.SourceOperator, s)
		err := d.reachRole(c, s)
		st := d.loop.status()
		r := byHandJSON{Role: st.Role.String(), Was: was.String(), Duration: time.Since(begun).Seconds(), Next: d.afterOrder(s, st)}
		if err != nil {
			r.Error = err.Error()
		}
		if a := st.Activity; st.Role == engine.Active && was != engine.Active {
			r.Adopted, r.Written, r.Failed, r.Duration = a.TakeoverAdopted, a.TakeoverWritten, a.TakeoverFailed, a.TakeoverDuration.Seconds()
		}
		return c.byHand(r)
	}
}

func (c *call) byHand(r byHandJSON) int {
	code := exitOK
	if r.Error != "" {
		code = exitFailed
	}
	switch {
	case c.json:
		return max(code, c.printed(json.NewEncoder(c.stdout).Encode(r)))
	case r.Error != "":
		return c.failed("%s", r.Error)
	}
	what := "was " + r.Was
	if r.Role == r.Was {
		what = "as before"
	} else if r.Role == engine.Active.String() {
		what += fmt.Sprintf("; %d flows adopted, %d written, %d failed, in %.1f ms", r.Adopted, r.Written, r.Failed, 1000*r.Duration)
	}
	fmt.Fprintf(c.stdout, "%s (%s). %s\n", r.Role, what, r.Next)
	return code
}

// afterOrder is what an operator must know after an order: who moves the addresses, and how long the order holds.
func (d *Daemon) afterOrder(s vrrp.State, st engine.Status) string {
	other := ""
	for _, p := range st.Peers {
		if p.Live && p.Role == engine.Active {
			other = p.Name
		}
	}
	manager, moves := "keepalived", "`systemctl stop keepalived` moves them, or readiness in its track_file"
	if d.cfg.Failover.Mechanism == config.Cluster {
		manager, moves = "the cluster manager", "`crm node standby` moves them"
	}
	holds := fmt.Sprintf("This holds until %s says otherwise.", manager)
	switch {
	case s == vrrp.Master && other != "":
		return fmt.Sprintf("%s is active as well: `ctsync demote` there, or here if the addresses are there. %s", other, holds)
	case s == vrrp.Master:
		return fmt.Sprintf("No address was moved: they must be here, or `ctsync demote` takes this back. %s", holds)
	case other != "":
		return fmt.Sprintf("%s is active. No address was moved: if they are still here, %s. %s", other, moves, holds)
	}
	return fmt.Sprintf("No node is active now, and no address was moved: %s; `ctsync promote` takes this back. %s", moves, holds)
}
