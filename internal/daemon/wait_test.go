package daemon

import (
	"testing"

	"ctsync/engine"
)

// Only where peers are heard and none leads is there nothing to wait for: a node that hears nobody may have a broken link.
func TestAllStandby(t *testing.T) {
	standby := engine.PeerStatus{Live: true, Role: engine.Standby}
	for name, c := range map[string]struct {
		st   engine.Status
		want bool
	}{
		"nobody is heard":    {engine.Status{Complete: true}, false},
		"a peer was heard":   {engine.Status{Complete: true, Peers: []engine.PeerStatus{{Role: engine.Standby}}}, false},
		"a standby is heard": {engine.Status{Complete: true, Peers: []engine.PeerStatus{standby}}, true},
		"one of two leads":   {engine.Status{Complete: true, Peers: []engine.PeerStatus{standby, {Live: true, Role: engine.Active}}}, false},
		"one takes over":     {engine.Status{Complete: true, Peers: []engine.PeerStatus{standby, {Live: true, Role: engine.TakingOver}}}, false},
		"one led, unheard":   {engine.Status{Complete: true, Peers: []engine.PeerStatus{standby, {Role: engine.Active}}}, true},
		"the table is read":  {engine.Status{Peers: []engine.PeerStatus{standby}}, false},
		"this node leads":    {engine.Status{Complete: true, Role: engine.Active, Peers: []engine.PeerStatus{standby}}, false},
	} {
		if got := allStandby(c.st); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
