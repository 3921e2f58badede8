package load

import (
	"fmt"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
)

// Receive receives and decodes n events, through a ring or through the socket's queue alone, and does nothing with them: what no
// daemon can do for less. ready is called when it listens. It ends without all of them when none has come for limit.
func Receive(n, buffer int, ring bool, limit time.Duration, ready func()) (Report, error) {
	c := kernel.EventsConfig{ReceiveBuffer: buffer}
	if ring {
		var err error
		if c.Ring, err = kernel.MakeRing(); err != nil {
			return Report{}, fmt.Errorf("load: %w", err)
		}
	}
	e, err := kernel.OpenEvents(c)
	if err != nil {
		return Report{}, fmt.Errorf("load: %w", err)
	}
	defer e.Close()
	events := make([]flow.Event, 256)
	ready()
	m := begin(0)
	var r Report
	for r.Events < n {
		got, _, err := e.Receive(events, limit)
		if err != nil {
			return r, fmt.Errorf("load: %w", err)
		}
		if got == 0 {
			break
		}
		r.Events += got
	}
	m.end(&r)
	r.Failed = n - r.Events
	return r, nil
}
