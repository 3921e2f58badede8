package dialogues

import (
	"errors"
	"slices"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// ordered is a daemon that a cluster manager's commands drive: keepalived moves the addresses, and tells it nothing.
type ordered struct{ lab.Daemon }

func (ordered) Hooks() lab.Hooks { return lab.Hooks{} }

func (o ordered) Ask(words ...string) (string, error) {
	return o.Daemon.(interface {
		Ask(words ...string) (string, error)
	}).Ask(words...)
}

const cluster = "HA"

// move orders the role to r.
func move(r *lab.Router) error {
	_, stop := r.Peer.Ask("cluster", "stop", cluster)
	_, start := r.Ask("cluster", "start", cluster)
	return errors.Join(stop, start)
}

// runOrdered starts a pair whose daemons are driven by commands, the first active.
func runOrdered(t *testing.T, o lab.Options, lines ...string) *lab.Lab {
	t.Helper()
	lines = append(slices.Clone(lines), "failover-mechanism cluster group "+cluster, "notify-fifo off", "dbus off")
	o.Daemon = func(r *lab.Router) lab.Daemon { return ordered{lab.Ctsync(lines...)(r)} }
	l, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.Boot(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(move(l.R1), l.R2.WaitSynced(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return l
}
