package top

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ErrNoJournal says that there is nothing to follow: no systemd, or no right to read.
var ErrNoJournal = errors.New("there is no journal to read")

// lastLines is how much of the past is shown.
const lastLines = 50

// Follow reads the unit's journal, from its last lines on, until ctx ends.
func Follow(ctx context.Context, unit string, deliver func(Event)) error {
	cmd := exec.CommandContext(ctx, "journalctl", "--unit", unit, "--follow", "--lines", strconv.Itoa(lastLines), "--output", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return ErrNoJournal
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if e, ok := entry(lines.Bytes()); ok {
			deliver(e)
		}
	}
	_ = cmd.Process.Kill() // of a line too long; else it has ended
	if err := cmd.Wait(); ctx.Err() == nil && err != nil {
		return ErrNoJournal
	}
	return ctx.Err()
}

// warning is syslog's number (RFC 5424, 6.2.1); what is worse has a lower one.
const warning = 4

// entry is an event of one line of `journalctl --output json`.
func entry(line []byte) (Event, bool) {
	var j struct {
		Message  any    `json:"MESSAGE"` // bytes, where it is no UTF-8
		Priority string `json:"PRIORITY"`
		Time     string `json:"__REALTIME_TIMESTAMP"` // microseconds
	}
	if json.Unmarshal(line, &j) != nil {
		return Event{}, false
	}
	text, ok := j.Message.(string)
	if text = strings.TrimSpace(text); !ok || text == "" {
		return Event{}, false
	}
	text, _, _ = strings.Cut(text, "\n")
	micro, err := strconv.ParseInt(j.Time, 10, 64)
	if err != nil {
		return Event{}, false
	}
	priority, err := strconv.Atoi(j.Priority)
	return Event{time.UnixMicro(micro), text, err == nil && priority <= warning}, true
}
