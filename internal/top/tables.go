package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// short is a number of at most 7 characters.
func short[N int | uint64 | float64](n N) string {
	switch v := float64(n); {
	case v < 1e6:
		return fmt.Sprintf("%.0f", v)
	case v < 1e9:
		return fmt.Sprintf("%.2fM", v/1e6)
	default:
		return fmt.Sprintf("%.2fG", v/1e9)
	}
}

// perSecond is a counter's rate, or - where it is not known.
func (m *Model) perSecond(counter func(*Status) uint64) string {
	r, known := m.rate(counter)
	switch {
	case !known:
		return "-"
	case r > 0 && r < 10:
		return fmt.Sprintf("%.1f", r)
	}
	return short(r)
}

// rates are the counters that change all the time.
func (m *Model) rates(f *frame) {
	st := m.last
	f.add()
	f.text(Head, "%-15s %9s %11s %11s %11s %11s", "", "ENTRIES", "CREATED/s", "UPDATED/s", "DESTROYED/s", "WAITING")
	row := func(name, entries string, created, updated, destroyed func(*Status) uint64, waiting string) {
		f.text(Plain, "%-15s %9s %11s %11s %11s %11s", name, entries, m.perSecond(created), m.perSecond(updated), m.perSecond(destroyed), waiting)
	}
	row("internal cache", short(st.Internal.Active), func(s *Status) uint64 { return s.Internal.Created },
		func(s *Status) uint64 { return s.Internal.Updated }, func(s *Status) uint64 { return s.Internal.Destroyed }, "")
	row("external cache", short(st.External.Active), func(s *Status) uint64 { return s.External.Created },
		func(s *Status) uint64 { return s.External.Updated }, func(s *Status) uint64 { return s.External.Destroyed }, "")
	row("kernel writes", short(st.Kernel.TableCount), func(s *Status) uint64 { return s.Kernel.Created },
		func(s *Status) uint64 { return s.Kernel.Updated }, func(s *Status) uint64 { return s.Kernel.Deleted }, short(st.Kernel.Pending+st.Kernel.Outstanding))
	m.table(f)
	f.text(Plain, "%-15s %s events/s, %s sent/s, %s received/s", "traffic",
		m.perSecond(func(s *Status) uint64 { return s.Kernel.Events }), m.perSecond(func(s *Status) uint64 { return s.Messages.Sent }),
		m.perSecond(func(s *Status) uint64 { return s.Messages.Received }))
	f.add(Span{fmt.Sprintf("%-15s ", "since the start"), Plain}, alarm(st.Kernel.Overruns, "overruns"), Span{", ", Plain}, alarm(st.Messages.Lost, "lost"),
		Span{", ", Plain}, alarm(st.Messages.Malformed, "refused"))
	for _, reason := range slices.Sorted(maps.Keys(st.Kernel.Failed)) {
		f.text(Bad, "%-15s %d flows: %s", "not in kernel", st.Kernel.Failed[reason], reason)
	}
}

func alarm(n uint64, what string) Span {
	style := Plain
	if n > 0 {
		style = Bold
	}
	return Span{short(n) + " " + what, style}
}

// fullShare of the kernel's table is worth a colour.
const fullShare = 0.9

func (m *Model) table(f *frame) {
	k := &m.last.Kernel
	if k.TableMax == 0 {
		f.text(Plain, "%-15s %9s of no limit", "kernel table", short(k.TableCount))
		return
	}
	share := float64(k.TableCount) / float64(k.TableMax)
	text := fmt.Sprintf("%-15s %9s of %s, %.1f %% ", "kernel table", short(k.TableCount), short(k.TableMax), 100*share)
	style := Good
	if share >= fullShare {
		style = Bad
	}
	room := max(f.width-len(text)-2, 0)
	full := min(int(share*float64(room)+0.5), room)
	f.add(Span{text + "[", Plain}, Span{strings.Repeat("#", full), style}, Span{strings.Repeat(" ", room-full) + "]", Plain})
}

// shown says how many of n rows fit into room, one of which then tells of the rest.
func shown(n, room int) int {
	if n <= room {
		return n
	}
	return max(room-1, 0)
}

func (f *frame) rest(n, shown int, what string) {
	if n > shown {
		f.text(Dim, "and %d more %s: ctsync status", n-shown, what)
	}
}

func (m *Model) peers(f *frame, room int) {
	f.add()
	wide := max(f.width-80, 0)
	f.text(Head, "%-*s %-11s %-8s %9s %8s %8s %8s %5s", 15+wide, "PEER", "ROLE", "STATE", "FLOWS", "BEHIND", "LACKS", "HEARD", "KEY")
	peers := slices.Clone(m.last.Peers) // those that are heard first
	slices.SortStableFunc(peers, func(a, b Peer) int { return cmp.Compare(silent(a), silent(b)) })
	if len(peers) == 0 {
		f.text(Bad, "none is heard")
	}
	n := shown(len(peers), room)
	for _, p := range peers[:n] {
		name := p.Name
		if p.Leader {
			name += " *"
		}
		f.add(Span{fmt.Sprintf("%-*s %-11s ", 15+wide, fit(name, 15+wide), p.Role), Plain}, Span{fmt.Sprintf("%-8s", p.State), stateStyle(p.State)},
			Span{fmt.Sprintf(" %9s %8s %8s %8s %5s", short(p.Flows), short(p.Behind), short(p.Lacks), heard(p.LastHeard), p.KeyID), Plain})
	}
	f.rest(len(peers), n, "peers")
}

func silent(p Peer) int {
	if p.State == "silent" {
		return 1
	}
	return 0
}

func stateStyle(state string) Style {
	switch state {
	case "in sync":
		return Good
	case "silent":
		return Bad
	}
	return Bold
}

func heard(seconds float64) string {
	if seconds < 100 {
		return fmt.Sprintf("%.1fs", seconds)
	}
	return short(seconds) + "s"
}

func fit(s string, width int) string {
	if len(s) > width {
		return s[:width-1] + "~"
	}
	return s
}

func (m *Model) links(f *frame, room int) {
	links := m.last.Links
	if len(links) == 0 || room < 1 {
		return
	}
	f.add()
	wide := max(f.width-80, 0)
	f.text(Head, "%-15s %-11s %6s %11s %11s %8s %-*s", "LINK", "MODE", "MTU", "SENT B/s", "RECV B/s", "ERRORS", 12+wide, "STATE")
	n := shown(len(links), room)
	for i := range links[:n] {
		l := &links[i]
		style := Good
		if !l.Up {
			style = Bad
		}
		f.add(Span{fmt.Sprintf("%-15s %-11s %6d %11s %11s %8s ", l.Interface, l.Mode, l.MTU, m.perSecond(linkOf(i, func(l *Link) uint64 { return l.BytesSent })),
			m.perSecond(linkOf(i, func(l *Link) uint64 { return l.BytesReceived })), short(l.SendErrors+l.ReceiveErrors)), Plain}, Span{l.State, style})
	}
	f.rest(len(links), n, "links")
}

// linkOf is a counter of the link at place i.
func linkOf(i int, counter func(*Link) uint64) func(*Status) uint64 {
	return func(s *Status) uint64 {
		if i >= len(s.Links) {
			return 0
		}
		return counter(&s.Links[i])
	}
}

// happened shows the last events, the newest first.
func (m *Model) happened(f *frame, room int) {
	if room < 3 {
		return
	}
	f.add()
	title := "LAST EVENTS"
	if m.observed {
		title = "LAST EVENTS, since this view began: there is no journal"
	}
	f.text(Head, "%s", title)
	if len(m.events) == 0 {
		f.text(Dim, "none")
	}
	for i := len(m.events) - 1; i >= 0 && len(m.events)-i <= room-2; i-- {
		e := m.events[i]
		style := Plain
		if e.Bad {
			style = Bad
		}
		f.add(Span{e.At.Format("15:04:05") + "  ", Dim}, Span{e.Text, style})
	}
}
