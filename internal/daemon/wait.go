package daemon

import (
	"fmt"
	"time"

	"ctsync/engine"
)

// nobodyActive is how long no node has to be active until there is nothing to wait for: a daemon that runs anew
// beside a keepalived that is MASTER knows its role within 3 s.
const nobodyActive = 5 * time.Second

// waitSynced returns when this node is in sync: for keepalived's startup_script. Nodes that start together wait for
// each other so, and none of them would become active; it does not wait for that.
func (d *Daemon) waitSynced(c *call) int {
	for since := time.Now(); ; {
		st := d.loop.status()
		switch {
		case st.Verdict == engine.InSync:
			return exitOK
		case !allStandby(st):
			since = time.Now()
		case time.Since(since) > nobodyActive:
			fmt.Fprintln(c.stderr, "ctsync: every node that is heard is a standby: there is nothing to be in sync with")
			return int(st.Verdict)
		}
		select {
		case <-c.ctx.Done():
			return exitFailed
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// allStandby says that peers are heard, and that neither they nor this node are active.
func allStandby(st engine.Status) bool {
	heard := false
	for i := range st.Peers {
		if p := &st.Peers[i]; p.Live {
			heard = true
			if p.Role != engine.Standby {
				return false
			}
		}
	}
	return heard && st.Complete && st.Role == engine.Standby
}
