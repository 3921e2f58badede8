package vrrp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A scenario is a text: one step a line, "MS SOURCE WORDS" or "MS tick" with what must come of it after an arrow:
//
//	12 fifo GROUP VG MASTER   -> MASTER fifo
//	15 dbus INSTANCE A BACKUP -> -
//
// A dash wants no change; a state and its source want a change; "~ text" wants a note with that text. What
// is not written must not happen. Between two steps the tracker is ticked at its deadlines; a change or a
// note then must stand in a line of its own, "@MS -> ...".
func play(t *testing.T, tr *Tracker, text string) {
	t.Helper()
	p := &player{t: t, tr: tr, start: time.Unix(1000, 0)}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			p.step(line)
		}
	}
	p.drain(p.start.Add(time.Hour), "")
}

type player struct {
	t     *testing.T
	tr    *Tracker
	start time.Time
}

func (p *player) step(line string) {
	p.t.Helper()
	what, want, _ := strings.Cut(line, "->")
	want = strings.TrimSpace(want)
	words := strings.Fields(what)
	var ms int
	at, tick := strings.CutPrefix(words[0], "@")
	if _, err := fmt.Sscan(at, &ms); err != nil {
		p.t.Fatalf("%q: %v", line, err)
	}
	now := p.start.Add(time.Duration(ms) * time.Millisecond)
	p.drain(now, line)
	if tick {
		if d := p.tr.Deadline(); !d.Equal(now) {
			p.t.Fatalf("%q: the deadline is %v", line, d.Sub(p.start))
		}
		p.check(line, p.tr.Tick(now), want)
		return
	}
	if words[1] == "members" {
		p.tr.SetMembers(words[2:])
		return
	}
	p.check(line, p.tr.Notice(now, p.notice(words[1:])), want)
}

// drain ticks at every deadline before end; nothing may come of it.
func (p *player) drain(end time.Time, line string) {
	p.t.Helper()
	for range 100 {
		d := p.tr.Deadline()
		if d.IsZero() || !d.Before(end) {
			return
		}
		if got := p.tr.Tick(d); got.Changed || got.Disagreement != "" {
			p.t.Fatalf("before %q, at %v: %+v", line, d.Sub(p.start), got)
		}
	}
	p.t.Fatalf("before %q: the deadline stands at %v", line, p.tr.Deadline().Sub(p.start))
}

func (p *player) check(line string, got Decision, want string) {
	p.t.Helper()
	change, note, _ := strings.Cut(want, "~")
	change, note = strings.TrimSpace(change), strings.TrimSpace(note)
	is := "-"
	if got.Changed {
		is = got.State.String() + " " + got.Source.String()
		if got.Reason == "" {
			p.t.Errorf("%q: no reason", line)
		}
	}
	if change != "" && change != is || change == "" && got.Changed {
		p.t.Errorf("%q: got %s (%s)", line, is, got.Reason)
	}
	if (note == "") != (got.Disagreement == "") || !strings.Contains(got.Disagreement, note) {
		p.t.Errorf("%q: got the note %q", line, got.Disagreement)
	}
}

// notice reads "SOURCE GROUP|INSTANCE|DAEMON [NAME] STATE|EVENT [sent=MS]".
func (p *player) notice(w []string) (n Notice) {
	p.t.Helper()
	for s := range sources {
		if s.String() == w[0] {
			n.Source = s
		}
	}
	if last := w[len(w)-1]; strings.HasPrefix(last, "sent=") {
		var ms int
		fmt.Sscan(last[5:], &ms)
		n.At, w = time.Unix(0, 0).Add(time.Duration(ms)*time.Millisecond), w[:len(w)-1]
	}
	switch w[1] {
	case "GROUP":
		n.Kind, n.Name = Group, w[2]
	case "INSTANCE":
		n.Kind, n.Name = Instance, w[2]
	case "DAEMON":
		n.Kind = Daemon
	default:
		p.t.Fatalf("%q", w)
	}
	word := w[len(w)-1]
	switch s, ok := ParseState(word); {
	case ok:
		n.State = s
	case word == "GONE":
		n.State = Gone
	case word != "UNKNOWN":
		n.Event = word
	}
	return n
}

var hint = []string{"A", "B"}

func TestTracker(t *testing.T) {
	for _, test := range []struct {
		name    string
		members []string
		text    string
	}{
		{"start and takeover, the GROUP line first and last", hint, `
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			1 fifo INSTANCE A BACKUP  -> -
			1 fifo INSTANCE B BACKUP  -> -
			400 fifo INSTANCE A MASTER -> -
			403 fifo INSTANCE B MASTER -> MASTER fifo
			404 fifo GROUP VG MASTER   -> -`},
		{"members unknown: GROUP MASTER decides at once", nil, `
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			1 fifo INSTANCE A BACKUP  -> -
			1 fifo INSTANCE B BACKUP  -> -
			400 fifo INSTANCE A MASTER -> -
			403 fifo INSTANCE B MASTER -> -
			404 fifo GROUP VG MASTER   -> MASTER fifo
			500 fifo INSTANCE A BACKUP -> -
			501 fifo INSTANCE B BACKUP -> -
			502 fifo GROUP VG BACKUP   -> BACKUP fifo`},
		{"priority 255 writes no GROUP line: members known", hint, `
			0 fifo INSTANCE A MASTER -> -
			3 fifo INSTANCE B MASTER -> MASTER fifo`},
		{"priority 255 writes no GROUP line: members unknown", nil, `
			0 fifo INSTANCE A MASTER -> -
			3 fifo INSTANCE B MASTER -> -
			@103 -> MASTER fifo`},
		{"priority 255 with a member that is never heard: it is renamed or gone", []string{"A", "B", "OLD"}, `
			0 fifo INSTANCE A MASTER -> -
			3 fifo INSTANCE B MASTER -> -
			@103 -> MASTER fifo`},
		{"a link of one member is down", hint, `
			0 fifo GROUP VG MASTER    -> MASTER fifo
			1 fifo INSTANCE B FAULT   -> -
			2 fifo INSTANCE A FAULT   -> FAULT fifo
			3 fifo GROUP VG FAULT     -> -
			900 fifo INSTANCE B BACKUP -> -
			901 fifo INSTANCE A BACKUP -> BACKUP fifo
			902 fifo GROUP VG BACKUP   -> -`},
		{"start with track_script init_fail: the GROUP line in the middle", hint, `
			0 fifo INSTANCE A FAULT -> -
			1 fifo GROUP VG FAULT   -> FAULT fifo
			2 fifo INSTANCE B FAULT -> -`},
		{"SIGTERM", hint, `
			0 fifo GROUP VG MASTER  -> MASTER fifo
			9 fifo INSTANCE A STOP  -> -
			9 fifo INSTANCE B STOP  -> STOP fifo
			10 fifo GROUP VG STOP   -> -
			1010 process DAEMON GONE -> GONE process
			9000 process DAEMON UNKNOWN -> UNKNOWN process
			9050 fifo GROUP VG BACKUP -> BACKUP fifo`},
		{"kill -9: nothing is said, the process is gone; the FIFO is faster than the watch of the next one", hint, `
			0 process DAEMON UNKNOWN  -> -
			5 fifo GROUP VG MASTER   -> MASTER fifo
			900 process DAEMON GONE  -> GONE process
			2000 fifo GROUP VG BACKUP -> BACKUP fifo
			2100 process DAEMON UNKNOWN -> -`},
		{"kill -9 and a restart at once, before the next one speaks", hint, `
			0 fifo GROUP VG MASTER   -> MASTER fifo
			900 process DAEMON RESTARTED -> UNKNOWN process
			4000 fifo GROUP VG BACKUP -> BACKUP fifo`},
		{"kill -9 and a restart at once, after the next one spoke", hint, `
			0 fifo GROUP VG BACKUP   -> BACKUP fifo
			880 fifo INSTANCE A MASTER -> -
			881 fifo INSTANCE B MASTER -> MASTER fifo
			900 process DAEMON RESTARTED -> -`},
		{"after a death another source may be the first to speak", hint, `
			0 fifo GROUP VG MASTER   -> MASTER fifo
			900 process DAEMON GONE  -> GONE process
			2000 script GROUP VG BACKUP -> BACKUP script`},
		{"an instance removed from the group, deleted or in FAULT, is no FAULT of the group", []string{"A", "B", "C"}, `
			0 fifo GROUP VG MASTER    -> MASTER fifo
			10 fifo INSTANCE C DELETED -> -
			20 fifo INSTANCE B FAULT  -> -`},
		{"a deleted instance does not come back with the group's lines", []string{"A", "B", "C"}, `
			0 fifo INSTANCE C DELETED -> -
			1 fifo GROUP VG MASTER    -> MASTER fifo
			2 fifo INSTANCE A BACKUP  -> -
			2 fifo INSTANCE B BACKUP  -> BACKUP fifo`},
		{"every instance deleted", hint, `
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			9 fifo INSTANCE A DELETED -> -
			9 fifo INSTANCE B DELETED -> DELETED fifo`},
		{"an instance added: the whole group flaps", nil, `
			0 fifo GROUP VG MASTER    -> MASTER fifo
			9 fifo GROUP VG BACKUP    -> BACKUP fifo
			9 fifo INSTANCE A BACKUP  -> -
			9 fifo INSTANCE C BACKUP  -> -
			300 fifo INSTANCE A MASTER -> -
			300 fifo INSTANCE C MASTER -> -
			301 fifo GROUP VG MASTER  -> MASTER fifo`},
		{"a renamed group: the instances lead on, the operator is told", hint, `
			0 fifo GROUP VG BACKUP     -> BACKUP fifo
			9 fifo INSTANCE A MASTER   -> -
			9 fifo INSTANCE B MASTER   -> MASTER fifo
			10 fifo GROUP NEW MASTER   -> - ~ "NEW"
			20 fifo INSTANCE A BACKUP  -> -
			20 fifo INSTANCE B BACKUP  -> BACKUP fifo
			21 fifo GROUP NEW BACKUP   -> -`},
		{"a renamed group, members learned", nil, `
			0 fifo INSTANCE A MASTER   -> -
			0 fifo INSTANCE B MASTER   -> -
			1 fifo GROUP VG MASTER     -> MASTER fifo
			9 fifo INSTANCE A FAULT    -> -
			9 fifo INSTANCE B FAULT    -> -
			10 fifo GROUP NEW FAULT    -> - ~ "NEW"
			@109 -> FAULT fifo`},
		{"another group with members of its own, interleaved", nil, `
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			0 fifo INSTANCE A BACKUP  -> -
			0 fifo GROUP OTHER BACKUP -> -
			0 fifo INSTANCE X BACKUP  -> -
			9 fifo INSTANCE A MASTER  -> -
			9 fifo INSTANCE X MASTER  -> -
			9 fifo INSTANCE B MASTER  -> -
			9 fifo GROUP VG MASTER    -> MASTER fifo
			9 fifo GROUP OTHER MASTER -> -
			500 fifo INSTANCE X FAULT -> -
			500 fifo GROUP OTHER FAULT -> -
			900 fifo INSTANCE A BACKUP -> -
			900 fifo INSTANCE B BACKUP -> -
			901 fifo GROUP VG BACKUP  -> BACKUP fifo
			950 fifo INSTANCE X BACKUP -> -`},
		{"another group's instance is known as such by the next line of its group", nil, `
			9 fifo INSTANCE A MASTER  -> -
			9 fifo INSTANCE X MASTER  -> -
			9 fifo GROUP VG MASTER    -> MASTER fifo
			20 fifo GROUP VG BACKUP   -> BACKUP fifo
			500 fifo INSTANCE X FAULT -> -
			500 fifo GROUP OTHER FAULT -> -`},
		{"two groups start: the lines before a group's BACKUP are the other's", nil, `
			0 fifo GROUP OTHER BACKUP -> -
			0 fifo INSTANCE X BACKUP  -> -
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			0 fifo INSTANCE A BACKUP  -> -
			9 fifo INSTANCE X FAULT   -> -`},
		{"another group, members known", hint, `
			0 fifo GROUP OTHER MASTER  -> -
			0 fifo INSTANCE X MASTER  -> -
			0 fifo INSTANCE A BACKUP  -> -
			0 fifo INSTANCE B BACKUP  -> BACKUP fifo
			5 fifo INSTANCE X FAULT   -> -`},
		{"another group's start before anything is learned", nil, `
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			0 fifo INSTANCE X FAULT   -> -`},
		{"members that come later than the lines", nil, `
			0 fifo INSTANCE A MASTER  -> -
			0 fifo INSTANCE B MASTER  -> -
			0 fifo INSTANCE X BACKUP  -> -
			500 members A B
			@0 -> MASTER fifo`},
		{"D-Bus alone", hint, `
			0 dbus INSTANCE A BACKUP  -> -
			0 dbus INSTANCE B BACKUP  -> BACKUP dbus
			9 dbus INSTANCE A MASTER  -> -
			10 dbus INSTANCE B MASTER -> MASTER dbus
			20 dbus INSTANCE B UNKNOWN -> -`},
		{"D-Bus is a witness: its skew is no disagreement, its lasting difference is, once", hint, `
			0 fifo GROUP VG BACKUP     -> BACKUP fifo
			9 dbus INSTANCE A MASTER   -> -
			9 dbus INSTANCE B MASTER   -> -
			12 fifo GROUP VG MASTER    -> MASTER fifo
			20 dbus INSTANCE A BACKUP  -> -
			20 dbus INSTANCE B BACKUP  -> -
			@5020 -> - ~ dbus says BACKUP
			6000 dbus INSTANCE A BACKUP -> -
			7000 dbus INSTANCE A MASTER -> -
			7000 dbus INSTANCE B MASTER -> -
			8000 dbus INSTANCE A BACKUP  -> -
			8000 dbus INSTANCE B BACKUP  -> -
			@13000 -> - ~ decides`},
		{"D-Bus first, the FIFO takes the lead with its first word", hint, `
			0 dbus INSTANCE A MASTER -> -
			0 dbus INSTANCE B MASTER -> MASTER dbus
			9 fifo GROUP VG BACKUP   -> BACKUP fifo
			9 dbus INSTANCE A BACKUP -> -
			9 dbus INSTANCE B BACKUP -> -`},
		{"the bus breaks: the state stands", hint, `
			0 dbus INSTANCE A MASTER  -> -
			0 dbus INSTANCE B MASTER  -> MASTER dbus
			9 dbus DAEMON BUS_LOST    -> -`},
		{"keepalived leaves the bus, its process is seen alive: the state stands", hint, `
			0 process DAEMON UNKNOWN  -> -
			0 dbus INSTANCE A MASTER  -> -
			0 dbus INSTANCE B MASTER  -> MASTER dbus
			9 dbus DAEMON GONE        -> - ~ left the D-Bus`},
		{"keepalived leaves the bus, and nothing else tells of it", hint, `
			0 dbus INSTANCE A MASTER  -> -
			0 dbus INSTANCE B MASTER  -> MASTER dbus
			9 dbus DAEMON GONE        -> -
			@3009 -> GONE dbus`},
		{"the vrrp child is killed and respawned: off the bus and back", hint, `
			0 dbus INSTANCE A MASTER  -> -
			0 dbus INSTANCE B MASTER  -> MASTER dbus
			9 dbus DAEMON GONE        -> -
			60 dbus DAEMON UNKNOWN    -> -
			61 dbus INSTANCE A BACKUP -> -
			61 dbus INSTANCE B BACKUP -> BACKUP dbus`},
		{"off the bus while the FIFO decides is nothing", hint, `
			0 dbus INSTANCE A MASTER  -> -
			0 dbus INSTANCE B MASTER  -> MASTER dbus
			1 fifo GROUP VG MASTER    -> -
			9 dbus DAEMON GONE        -> -
			50 fifo GROUP VG BACKUP   -> BACKUP fifo`},
		{"scripts swapped: the older one is dropped", nil, `
			0 script GROUP VG MASTER sent=10  -> MASTER script
			9 script GROUP VG FAULT sent=40   -> FAULT script
			10 script GROUP VG BACKUP sent=30 -> - ~ too late
			11 script GROUP VG BACKUP sent=50 -> BACKUP script
			12 script GROUP VG BACKUP sent=50 -> -`},
		{"an INSTANCE script older than the GROUP script", hint, `
			0 script GROUP VG MASTER sent=30   -> MASTER script
			1 script INSTANCE A BACKUP sent=20 -> - ~ too late
			1 script INSTANCE B BACKUP sent=20 -> - ~ too late`},
		{"an INSTANCE script older than the GROUP script, of an instance that was not heard yet", nil, `
			0 script GROUP VG MASTER sent=30   -> MASTER script
			1 script INSTANCE A BACKUP sent=20 -> - ~ too late`},
		{"an INSTANCE script older than another of it", hint, `
			0 script INSTANCE A BACKUP sent=30 -> -
			1 script INSTANCE A MASTER sent=20 -> - ~ too late
			2 script INSTANCE B BACKUP sent=20 -> BACKUP script`},
		{"a GROUP script older than an INSTANCE script does not undo it", hint, `
			0 script INSTANCE A FAULT sent=40  -> -
			1 script GROUP VG MASTER sent=30   -> MASTER script
			2 script INSTANCE B FAULT sent=41  -> FAULT script`},
		{"scripts are witnesses of the FIFO", nil, `
			0 fifo GROUP VG BACKUP    -> BACKUP fifo
			1 script GROUP VG MASTER sent=9 -> -
			100 fifo GROUP VG MASTER  -> MASTER fifo
			200 fifo GROUP VG BACKUP  -> BACKUP fifo
			210 script GROUP VG BACKUP sent=20 -> -`},
		{"adverts of lower priority: told, not for each", hint, `
			0 fifo GROUP VG MASTER  -> MASTER fifo
			1 fifo INSTANCE A MASTER_RX_LOWER_PRI -> - ~ another node
			2 fifo INSTANCE A MASTER_RX_LOWER_PRI -> -
			29000 fifo INSTANCE B MASTER_RX_LOWER_PRI -> -
			31000 fifo INSTANCE B MASTER_RX_LOWER_PRI -> - ~ another node`},
		{"adverts of lower priority tell a late listener that it is MASTER", hint, `
			1 fifo INSTANCE A MASTER_RX_LOWER_PRI -> - ~ another node
			2 fifo INSTANCE X MASTER_RX_LOWER_PRI -> -
			@101 -> MASTER fifo`},
		{"priorities are no states", hint, `
			1 fifo INSTANCE A MASTER_PRIORITY -> -
			1 fifo INSTANCE B BACKUP_PRIORITY -> -`},
		{"the FIFO was full: its state is not believed until its next line, D-Bus leads", hint, `
			0 fifo GROUP VG MASTER    -> MASTER fifo
			0 fifo DAEMON LINES_LOST  -> - ~ lost
			9 dbus INSTANCE A BACKUP  -> -
			9 dbus INSTANCE B BACKUP  -> BACKUP dbus
			20 fifo GROUP VG MASTER   -> MASTER fifo
			@5020 -> - ~ dbus says BACKUP`},
		{"a dump of the state at a late start gives way to everything", hint, `
			0 process INSTANCE A MASTER -> -
			0 process INSTANCE B MASTER -> MASTER process
			9 fifo INSTANCE A BACKUP    -> -
			10 fifo INSTANCE B BACKUP   -> BACKUP fifo`},
		{"a cluster manager alone", nil, `
			0 cluster GROUP VG MASTER    -> MASTER cluster
			1 cluster GROUP OTHER BACKUP -> -
			9 cluster GROUP VG BACKUP    -> BACKUP cluster`},
		{"the operator's word holds until VRRP changes", hint, `
			0 fifo GROUP VG MASTER       -> MASTER fifo
			1 operator GROUP VG BACKUP   -> BACKUP operator
			2 fifo GROUP VG MASTER       -> -
			3 fifo INSTANCE A MASTER     -> -
			4 dbus INSTANCE A MASTER     -> -
			5 fifo GROUP VG BACKUP       -> -
			6 fifo GROUP VG MASTER       -> MASTER fifo`},
		{"the operator's word is given back", hint, `
			0 fifo GROUP VG MASTER       -> MASTER fifo
			1 operator GROUP VG BACKUP   -> BACKUP operator
			2 operator GROUP VG UNKNOWN  -> MASTER fifo`},
		{"the operator's word ends with keepalived, and can be said after that", hint, `
			0 fifo GROUP VG BACKUP       -> BACKUP fifo
			1 operator GROUP VG MASTER   -> MASTER operator
			2 process DAEMON GONE        -> GONE process
			3 operator GROUP VG MASTER   -> MASTER operator
			9 process DAEMON UNKNOWN     -> -`},
		{"rapid flapping", hint, `
			0 fifo GROUP VG MASTER -> MASTER fifo
			1 fifo GROUP VG FAULT  -> FAULT fifo
			2 fifo GROUP VG BACKUP -> BACKUP fifo
			3 fifo GROUP VG MASTER -> MASTER fifo
			4 fifo GROUP VG BACKUP -> BACKUP fifo`},
		{"reload tells nothing", hint, `
			0 fifo GROUP VG MASTER   -> MASTER fifo
			1 dbus DAEMON RELOADED   -> -`},
	} {
		t.Run(test.name, func(t *testing.T) {
			play(t, NewTracker("VG", test.members), test.text)
		})
	}
}

func TestStateSince(t *testing.T) {
	tr := NewTracker("VG", nil)
	if s, _, since, _ := tr.State(); s != Unknown || !since.IsZero() {
		t.Fatalf("at first: %v since %v", s, since)
	}
	at := time.Unix(5, 0)
	tr.Notice(at, Notice{Kind: Group, Name: "VG", State: Master})
	tr.Notice(at.Add(time.Second), Notice{Source: SourceFIFO, Kind: Group, Name: "VG", State: Master})
	s, src, since, reason := tr.State()
	if s != Master || src != SourceFIFO || !since.Equal(at) || reason != `GROUP "VG" MASTER` {
		t.Fatalf("got %v %v %v %q", s, src, since, reason)
	}
}

func TestWords(t *testing.T) {
	for s := Unknown; s <= Gone; s++ {
		back, ok := ParseState(s.String())
		if want := s >= Backup && s <= Deleted; ok != want || (ok && back != s) {
			t.Errorf("%v is read as %v %v", s, back, ok)
		}
	}
	for s := range sources {
		if s.String() == "" {
			t.Errorf("source %d has no name", s)
		}
	}
}
