package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ctsync/engine"
)

// journal turns notes into lines: one for each fact that an operator should know.
type journal struct{ log *slog.Logger }

func (j journal) note(n engine.Note) {
	level, text := noteText(n)
	args := []any{"event", eventNames[n.Kind]}
	if n.Peer != "" {
		args = append(args, "peer", n.Peer)
	}
	if n.Reason != "" {
		args = append(args, "reason", n.Reason)
	}
	if n.Count != 0 {
		args = append(args, "count", n.Count)
	}
	if n.Duration != 0 {
		args = append(args, "duration", n.Duration.Round(10*time.Microsecond))
	}
	j.log.Log(context.Background(), level, text, args...)
}

var eventNames = map[engine.NoteKind]string{
	engine.NoteRole: "role", engine.NoteAction: "action", engine.NotePeerFound: "peer-found",
	engine.NotePeerLost: "peer-lost", engine.NotePeerReplaced: "peer-restarted", engine.NoteDuplicate: "duplicate-name",
	engine.NoteInSync: "in-sync", engine.NoteOutOfSync: "out-of-sync", engine.NoteMismatch: "mismatch",
	engine.NoteRestart: "restart", engine.NoteOverrun: "overrun", engine.NoteResynced: "resync",
	engine.NoteTableFull: "table-full", engine.NoteTableFreed: "table-freed", engine.NoteFailures: "refused-by-kernel",
	engine.NoteTwoActive: "two-active", engine.NoteOneActive: "one-active", engine.NoteEvicted: "evicted",
	engine.NotePurged: "purged", engine.NoteReady: "ready", engine.NoteNotice: "notice",
	engine.NoteAsleep: "asleep", engine.NoteRefused: "refused",
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
