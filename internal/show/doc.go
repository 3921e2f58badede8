// Package show is what an operator sees: the layouts of VyOS's conntrack-sync commands, to the column and to
// the tab, what is ctsync's own after them, and the same as JSON.
//
// Listings of flows are streamed (Table, Cache): they hold one line. Everything else is a value that is
// printed whole. In JSON numbers are numbers, times are RFC 3339, durations are seconds, and a field that is
// documented is always there; the json tags of this package are that documentation.
package show

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Link is one sync link as the transport counts it.
type Link struct {
	Interface                    string
	Mode                         string // "multicast" or "UDP"
	Up                           bool
	BytesSent, BytesReceived     uint64
	PacketsSent, PacketsReceived uint64
	SendErrors, ReceiveErrors    uint64
	MTU                          int
	State                        string // "running", or what is awaited or wrong
}

// writeJSON prints v on indented lines.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// write prints what was built, in one piece.
func write(w io.Writer, b *strings.Builder) error {
	_, err := io.WriteString(w, b.String())
	return err
}

// seconds is a duration for JSON, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// moment is a time for JSON, null where there is none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// span is a duration for people: at most two units.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}
