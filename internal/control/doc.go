// Package control is the operator's way to a running daemon: a unix socket, one request a connection.
//
//	client ── {"verb":["show","conntrack-sync","status"],"output":"text"}\n ──> daemon
//	       <── o 00001000 <4096 bytes of standard output> ── ... any number, as they come
//	       <── e 0000001b <bytes of standard error>
//	       <── x 00000004 <exit code> ── and the connection ends
//
// The request is one line of JSON of at most 64 KiB. The answer is frames: a kind byte, a length of four bytes in
// network order, the payload. With the request's bytes may come open files of root's, which are the daemon's then (SCM_RIGHTS, unix(7)). Listings of any size stream in constant memory. A client that goes away, or shuts
// its sending side down, ends its handler's context. An answer without an exit frame was cut short, which is an
// error, never success.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds of a request.
const (
	maxRequest = 64 << 10 // bytes of the line
	maxWords   = 64
	maxFiles   = 4
)

// Exit codes that this package gives by itself.
const (
	ExitRefused    = 1 // the request was not understood, or the server is busy
	ExitNotRunning = 2 // no daemon answered
)

// Request is what an operator asks.
type Request struct {
	Verb   []string `json:"verb"`   // the words as typed
	Output string   `json:"output"` // "text" or "json"; empty is text
	PID    int      `json:"-"`      // the client's process, as the server sees it; 0 unknown
	Root   bool     `json:"-"`      // it is root's, as the server sees it

	// Files go with the request, if it is root's. Those that come are the Handler's to close.
	Files []*os.File `json:"-"`

	// Started is when the client's process began, in nanoseconds since the boot, of a notify script: scripts of
	// keepalived overtake each other. 0: see PID.
	Started int64 `json:"started,omitempty"`
}

// ParseRequest reads one line. Unknown fields are refused, so that a newer client learns that this daemon does
// not know what it asks for.
func ParseRequest(line []byte) (Request, error) {
	var r Request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, fmt.Errorf("control: request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Request{}, errors.New("control: request: one JSON object is allowed on the line")
	}
	return r, r.check()
}

func (r *Request) check() error {
	if len(r.Verb) == 0 || len(r.Verb) > maxWords {
		return fmt.Errorf("control: request: verb has %d words, 1 to %d are allowed", len(r.Verb), maxWords)
	}
	switch r.Output {
	case "":
		r.Output = "text"
	case "text", "json":
	default:
		return fmt.Errorf("control: request: output %q: text and json are allowed", r.Output)
	}
	return nil
}
