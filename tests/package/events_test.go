//go:build deb

package deb

import (
	"encoding/json"
	"strings"
	"time"

	"ctsync/internal/journal"
)

// diary reads a machine's journal on from where it was read last.
type diary struct {
	m      *machine
	cursor string
	events []journal.Event // since then
}

// read takes what was added.
func (d *diary) read() {
	from := ""
	if d.cursor != "" {
		from = " --after-cursor='" + d.cursor + "'"
	}
	out, err := d.m.try("journalctl -u ctsync -q -o json --output-fields=CTSYNC_EVENT" + from)
	if err != nil {
		return
	}
	for line := range strings.Lines(out) {
		var entry struct {
			Cursor string        `json:"__CURSOR"`
			Event  journal.Event `json:"CTSYNC_EVENT"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		d.cursor = entry.Cursor
		if entry.Event != "" {
			d.events = append(d.events, entry.Event)
		}
	}
}

// forget leaves out what was told so far.
func (d *diary) forget() { d.read(); d.events = nil }

// tells waits until these events were told, in this order, whatever was told between them.
func (d *diary) tells(want ...journal.Event) {
	d.m.t.Helper()
	d.m.await("the journal of "+d.m.name+" to tell "+join(want), 30*time.Second, func() bool {
		d.read()
		return inOrder(want, d.events)
	})
}

// isSilentOf checks that none of these was told.
func (d *diary) isSilentOf(events ...journal.Event) {
	d.m.t.Helper()
	d.read()
	for _, e := range events {
		if inOrder([]journal.Event{e}, d.events) {
			d.m.t.Errorf("the journal of %s tells %s, which did not happen: %s", d.m.name, e, join(d.events))
		}
	}
}

// inOrder says whether all that is wanted comes among the events, in that order.
func inOrder(want, events []journal.Event) bool {
	for _, e := range events {
		if len(want) > 0 && e == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

func join(events []journal.Event) string {
	var words []string
	for _, e := range events {
		words = append(words, string(e))
	}
	return strings.Join(words, ", ")
}
