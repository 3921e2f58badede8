package daemon

import (
	"bytes"
	"io"
	"log/slog"

	systemd "github.com/coreos/go-systemd/v22/journal"
)

// newLog writes lines of key=value. Where they go to systemd's journal it keeps the time by itself, and reads the
// level as a prefix (sd-daemon(3)), so that `journalctl -p warning` finds what matters.
func newLog(out io.Writer, level *slog.LevelVar) *slog.Logger {
	toJournal, _ := systemd.StderrIsJournalStream()
	return logTo(out, level, toJournal)
}

func logTo(out io.Writer, level *slog.LevelVar, toJournal bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if toJournal {
		out = prefixer{out}
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// prefixer puts the journal's level in the place of ours.
type prefixer struct{ io.Writer }

var prefixes = []struct{ ours, journals []byte }{
	{[]byte("level=DEBUG "), []byte("<7>")},
	{[]byte("level=INFO "), []byte("<6>")},
	{[]byte("level=WARN "), []byte("<4>")},
	{[]byte("level=ERROR "), []byte("<3>")},
}

func (p prefixer) Write(line []byte) (int, error) {
	for _, x := range prefixes {
		if rest, ok := bytes.CutPrefix(line, x.ours); ok {
			if _, err := p.Writer.Write(append(bytes.Clone(x.journals), rest...)); err != nil {
				return 0, err
			}
			return len(line), nil
		}
	}
	return p.Writer.Write(line)
}
