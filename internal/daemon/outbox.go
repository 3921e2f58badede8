package daemon

import (
	"fmt"
	"io"
	"time"
)

// outbox writes log lines in a goroutine of its own: the log is written to while the engine is locked, and a reader
// of it that hangs must not hold up a takeover. Safe for concurrent use until close.
type outbox struct {
	lines   chan []byte
	dropped chan int // holds how many lines were dropped, where any were
	done    chan struct{}
}

const (
	outboxLines = 4096
	// lastWords is how long close waits for the reader.
	lastWords = time.Second
)

func newOutbox(w io.Writer) *outbox {
	o := &outbox{lines: make(chan []byte, outboxLines), dropped: make(chan int, 1), done: make(chan struct{})}
	go o.run(w)
	return o
}

// Write takes one line; it never waits.
func (o *outbox) Write(line []byte) (int, error) {
	select {
	case o.lines <- append([]byte(nil), line...):
	default:
		n := 0
		select {
		case n = <-o.dropped:
		default:
		}
		select {
		case o.dropped <- n + 1:
		default:
		}
	}
	return len(line), nil
}

func (o *outbox) run(w io.Writer) {
	defer close(o.done)
	for line := range o.lines {
		_, _ = w.Write(line)
		select {
		case n := <-o.dropped:
			fmt.Fprintf(w, "%d lines are missing here: nobody read them in time\n", n)
		default:
		}
	}
}

// close writes what is left, as long as somebody reads it.
func (o *outbox) close() {
	close(o.lines)
	select {
	case <-o.done:
	case <-time.After(lastWords):
	}
}
