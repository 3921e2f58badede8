package top

import (
	"fmt"
	"strings"
	"time"
)

// Style is how a piece of text looks.
type Style uint8

// Styles.
const (
	Plain Style = iota
	Bold
	Head // of a table
	Good
	Bad
	Dim
)

// Span is text of one style.
type Span struct {
	Text  string
	Style Style
}

// Line is one line of the screen, in ASCII.
type Line []Span

// String is the text alone.
func (l Line) String() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.Text)
	}
	return b.String()
}

// frame is a screen under construction.
type frame struct {
	width int
	lines []Line
}

func (f *frame) add(spans ...Span) { f.lines = append(f.lines, cut(spans, f.width)) }

func (f *frame) text(style Style, format string, args ...any) {
	f.add(Span{fmt.Sprintf(format, args...), style})
}

// cut shortens a line to width columns. What is no printable ASCII takes the place of one character.
func cut(spans []Span, width int) (line Line) {
	for _, s := range spans {
		text := strings.Map(printable, s.Text)
		if len(text) > width {
			text = text[:max(width, 0)]
		}
		width -= len(text)
		if text != "" {
			line = append(line, Span{text, s.Style})
		}
	}
	return line
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// Frame lays everything out for a screen of width columns and height lines. What does not fit is left out from the
// end: of the events first, then of the peers and links.
func (m *Model) Frame(width, height int) []Line {
	f := &frame{width: width}
	m.header(f)
	if m.last == nil {
		return f.lines[:min(len(f.lines), max(height, 0))]
	}
	m.rates(f)
	// both tables have a head and an empty line before it, and events have at least three lines
	room := max(height-len(f.lines)-2*2-(2+3), 2)
	links := min(len(m.last.Links), max(room/3, 1, room-len(m.last.Peers)))
	m.peers(f, max(room-links, 1))
	m.links(f, links)
	m.happened(f, height-len(f.lines))
	return f.lines[:min(len(f.lines), max(height, 0))]
}

func (m *Model) header(f *frame) {
	right := m.at.Format("15:04:05") + "  q quit"
	left := Line{{"ctsync", Bold}}
	if m.last != nil {
		left = Line{{m.last.Node, Bold}}
	}
	switch {
	case m.err != nil && m.last != nil:
		left = append(left, Span{"  no answer", Bad}, Span{"  what follows was so before", Plain})
	case m.err != nil:
		left = append(left, Span{"  no answer", Bad})
	case m.last == nil:
		left = append(left, Span{"  asking the daemon", Dim})
	default:
		left = append(left, Span{"  " + m.last.Verdict, verdictStyle(m.last.Code)})
	}
	left = cut(left, f.width-len(right)-2)
	f.add(append(left, Span{strings.Repeat(" ", max(f.width-len(left.String())-len(right), 0)) + right, Dim})...)
	if m.err != nil {
		f.wrapped(m.err.Error())
		return
	}
	if m.last != nil {
		f.text(Plain, "%s", m.last.Why)
		m.role(f)
	}
}

// wrapped is a text on two lines: the remedy stands at its end.
func (f *frame) wrapped(text string) {
	at := len(text)
	if at > f.width {
		at = max(strings.LastIndexByte(text[:f.width], ' '), 0)
	}
	f.text(Plain, "%s", text[:at])
	f.text(Plain, "%s", strings.TrimSpace(text[at:]))
}

func (m *Model) role(f *frame) {
	st := m.last
	line := Line{{st.Role, Bold}, {" for " + ago(m.at.Sub(st.RoleSince)), Plain}, {"  failover ", Dim}, {told(st), Plain},
		{"  " + ready(st.Ready) + "  " + st.Standby + " standby", Plain}}
	if st.Role != "active" {
		line = append(line, Span{"  leader ", Dim}, Span{or(st.Leader, "none"), Plain})
	}
	f.add(line...)
}

func verdictStyle(code int) Style {
	if code == 0 {
		return Good
	}
	return Bad
}

func told(st *Status) string {
	if st.VRRP.Source == "" {
		return "nothing heard"
	}
	return st.VRRP.State + " by " + st.VRRP.Source
}

func ready(r *bool) string {
	switch {
	case r == nil:
		return "readiness not known"
	case *r:
		return "ready"
	}
	return "not ready"
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// ago is a duration in its two largest units.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}
