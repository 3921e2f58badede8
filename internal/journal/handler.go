package journal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/journal"
)

// New is a handler for the journal if standard error leads there, and else for lines on stderr. level is the least
// level that is logged. It is safe for concurrent use.
func New(stderr io.Writer, level slog.Leveler) slog.Handler {
	if Here() {
		if s, err := dial(socketPath); err == nil {
			return &handler{to: s, level: level}
		}
	}
	return slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})
}

// Here says that what is printed as an error goes to the journal.
func Here() bool {
	there, err := sd.StderrIsJournalStream()
	return err == nil && there
}

// handler makes entries of records.
type handler struct {
	to     *socket
	level  slog.Leveler
	attrs  []attr // of With
	prefix string // of WithGroup, with a dot at its end
}

// attr is one attribute: the key is the whole path, with dots.
type attr struct {
	key   string
	value slog.Value
}

// Enabled is slog.Handler's.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= h.level.Level()
}

// WithAttrs is slog.Handler's.
func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append([]attr(nil), h.attrs...)
	for _, a := range as {
		next.attrs = flatten(next.attrs, h.prefix, a)
	}
	return &next
}

// WithGroup is slog.Handler's.
func (h *handler) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.prefix += name + "."
	}
	return &next
}

// Handle is slog.Handler's. The error is that the journal could not take the entry.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	attrs := append([]attr(nil), h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs, h.prefix, a)
		return true
	})
	return h.to.send(entryOf(r.Message, r.Level, attrs))
}

// flatten appends an attribute, or those of a group, with their whole keys.
func flatten(to []attr, prefix string, a slog.Attr) []attr {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, sub := range v.Group() {
			to = flatten(to, prefix, sub)
		}
		return to
	}
	if a.Key == "" {
		return to
	}
	return append(to, attr{prefix + a.Key, v})
}

// entryOf lays a record out: the message for people, a field for each attribute for programs.
func entryOf(message string, level slog.Level, attrs []attr) entry {
	e := entry{{"PRIORITY", priority(level)}, {"SYSLOG_IDENTIFIER", "ctsync"}}
	var short, long []string
	for _, a := range attrs {
		text := a.value.String()
		e = append(e, field{fieldName(a), fieldValue(a.value)})
		switch {
		case a.key == Key:
			if id := MessageID(Event(text)); id != "" {
				e = append(e, field{"MESSAGE_ID", id})
			}
		case isField(a.value):
		case strings.Contains(text, "\n"):
			long = append(long, text)
		default:
			short = append(short, a.key+" "+text)
		}
	}
	if len(short) > 0 {
		message += " (" + strings.Join(short, ", ") + ")"
	}
	for _, text := range long {
		message += "\n" + text
	}
	return append(e, field{"MESSAGE", message})
}

// Field is the value of an attribute that is for programs alone: the journal's message does not repeat it.
type Field string

func isField(v slog.Value) bool {
	_, is := v.Any().(Field)
	return is
}

// priority is syslog's number (RFC 5424, 6.2.1).
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "3"
	case l >= slog.LevelWarn:
		return "4"
	case l >= slog.LevelInfo:
		return "6"
	}
	return "7"
}

// fieldName is CTSYNC_ and the key in capitals; the journal allows letters, digits and _.
func fieldName(a attr) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, a.key)
	if a.value.Kind() == slog.KindDuration {
		name += "_USEC" // systemd's way to say the unit
	}
	return "CTSYNC_" + name
}

func fieldValue(v slog.Value) string {
	switch v.Kind() {
	case slog.KindDuration:
		return strconv.FormatInt(v.Duration().Microseconds(), 10)
	case slog.KindTime:
		return v.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindAny:
		return fmt.Sprint(v.Any())
	}
	return v.String()
}
