package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"ctsync/engine"
	native "ctsync/internal/journal"
)

// journal turns notes into lines: one for each fact that an operator should know.
type journal struct{ log *slog.Logger }

func (j journal) note(n engine.Note) {
	level, text := noteText(n)
	args := []any{native.Key, string(eventOf(n))}
	if n.Kind == engine.NoteRole {
		args = append(args, "role", native.Field(n.To.String()), "was", native.Field(n.From.String()))
	}
	if n.Peer != "" {
		args = append(args, "peer", n.Peer)
	}
	if reason := cmp.Or(n.Reason, reasons[n.Kind]); reason != "" {
		args = append(args, "reason", reason)
	}
	if n.Kind == engine.NoteRole && n.To == engine.Active {
		j.log.Log(context.Background(), level, text, append(args, takeoverFigures(n)...)...)
		return
	}
	if n.Count != 0 {
		args = append(args, "count", n.Count)
	}
	if n.Duration != 0 {
		args = append(args, "duration", n.Duration.Round(10*time.Microsecond))
	}
	j.log.Log(context.Background(), level, text, args...)
}

// reasons are of notes that have none of their own: the journal's explanations name one.
var reasons = map[engine.NoteKind]string{
	engine.NotePeerLost: "nothing was heard of it any more",
}

// takeoverFigures are there even if they are 0: a history of takeovers can be put into a table.
func takeoverFigures(n engine.Note) []any {
	const unit = 10 * time.Microsecond
	return []any{"duration", n.Duration.Round(unit), "forwarding", n.Forwarding.Round(unit),
		"adopted", n.Count, "written", n.Written, "failed", n.Failed}
}

// eventOf is the journal's name of a note.
func eventOf(n engine.Note) native.Event {
	if n.Kind != engine.NoteRole {
		return eventNames[n.Kind]
	}
	switch n.To {
	case engine.Active:
		return native.Takeover
	case engine.TakingOver:
		return native.TakingOver
	}
	return native.SteppedBack
}

var eventNames = map[engine.NoteKind]native.Event{
	engine.NoteRole:   "role",                                  // which of them, eventOf says
	engine.NoteAction: "action", engine.NoteResynced: "resync", // steps of others, which have no explanation of their own
	engine.NotePeerFound: native.PeerFound, engine.NotePeerLost: native.PeerLost,
	engine.NotePeerReplaced: native.PeerRestarted, engine.NoteDuplicate: native.DuplicateName,
	engine.NoteInSync: native.InSync, engine.NoteOutOfSync: native.OutOfSync, engine.NoteMismatch: native.Mismatch,
	engine.NoteRestart: native.Restart, engine.NoteOverrun: native.Overrun,
	engine.NoteTableFull: native.TableFull, engine.NoteTableFreed: native.TableFreed, engine.NoteFailures: native.RefusedByKernel,
	engine.NoteTwoActive: native.TwoActive, engine.NoteOneActive: native.OneActive, engine.NoteEvicted: native.Evicted,
	engine.NotePurged: native.Purged, engine.NoteReady: native.Readiness, engine.NoteNotice: native.Disagreement,
	engine.NoteAsleep: native.Asleep, engine.NoteRefused: native.Refused,
}

func noteText(n engine.Note) (slog.Level, string) {
	const info, warn = slog.LevelInfo, slog.LevelWarn
	switch n.Kind {
	case engine.NoteRole:
		return info, fmt.Sprintf("role: %s, was %s", n.To, n.From)
	case engine.NoteAction:
		return info, "action: " + n.Text
	case engine.NotePeerFound:
		return info, "peer found"
	case engine.NotePeerLost:
		if n.Reason != "" {
			return info, "peer lost: its ctsync stopped, or runs anew"
		}
		return warn, "peer lost: check the sync link and the peer's ctsync"
	case engine.NotePeerReplaced:
		return info, "peer runs anew"
	case engine.NoteDuplicate:
		return warn, "two nodes have one name: set node-name on one of them"
	case engine.NoteInSync:
		return info, "in sync with the peer's flows"
	case engine.NoteOutOfSync:
		return info, "not in sync with the peer's flows"
	case engine.NoteMismatch:
		return warn, "the copy of the peer's flows differs from them: it is read again"
	case engine.NoteRestart:
		return info, "reading the peer's flows from the beginning"
	case engine.NoteOverrun:
		return warn, "the kernel dropped events: raise event-listen-queue-size; comparing with the table"
	case engine.NoteResynced:
		return slog.LevelDebug, "compared with the kernel's table"
	case engine.NoteTableFull:
		return warn, "the kernel's conntrack table is full: raise net.netfilter.nf_conntrack_max"
	case engine.NoteTableFreed:
		return info, "the kernel's conntrack table has room again"
	case engine.NoteFailures:
		return warn, "the kernel refused flows"
	case engine.NoteTwoActive:
		return warn, "two nodes are active: check VRRP's links"
	case engine.NoteOneActive:
		return info, "one node is active again"
	case engine.NoteEvicted:
		return info, "flows kept that the kernel dropped with an address"
	case engine.NotePurged:
		return info, "purged flows that the active node does not have"
	case engine.NoteReady:
		return info, "readiness: " + n.Text
	case engine.NoteNotice:
		return warn, n.Text
	case engine.NoteAsleep:
		return warn, "this process or machine was asleep"
	case engine.NoteRefused:
		return warn, "refusing datagrams: further ones are only counted"
	}
	return info, "note"
}
