package load

import (
	"fmt"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
)

// Receive receives and decodes n events and does nothing with them: what no daemon can do for less. ready is
// called when it listens. It ends without all of them when none has come for limit.
func Receive(n, buffer int, limit time.Duration, ready func()) (Report, error) {
	e, err := kernel.OpenEvents(kernel.EventsConfig{ReceiveBuffer: buffer})
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
