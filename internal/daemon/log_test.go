package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLogToJournal(t *testing.T) {
	var b bytes.Buffer
	level := &slog.LevelVar{}
	level.Set(slog.LevelDebug)
	log := logTo(&b, level, true)
	log.Debug("d", "time", 1)
	log.Info("i")
	log.Warn("w", "error", "two\nlines")
	log.Error("e")
	if want := "<7>msg=d time=1\n<6>msg=i\n<4>msg=w error=\"two\\nlines\"\n<3>msg=e\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	logTo(&b, level, false).Info("i")
	if !strings.HasPrefix(b.String(), "time=") || !strings.HasSuffix(b.String(), " level=INFO msg=i\n") {
		t.Errorf("%q", b.String())
	}
}
