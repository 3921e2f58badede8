package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Talk is a kind of conversation.
type Talk uint8

// Kinds of conversations.
const (
	TCP Talk = iota
	Bulk
	UDP
	Ping
)

func (k Talk) String() string { return [...]string{"tcp", "bulk tcp", "udp", "ping"}[k] }

// Outcome is what became of a conversation.
type Outcome uint8

// Outcomes. Moved is a UDP conversation that reached the server from another source than before: its
// translation was lost and made anew.
const (
	Survived Outcome = iota
	Reset
	Silent
	Moved
)

func (o Outcome) String() string { return [...]string{"survived", "reset", "silent", "moved"}[o] }

// direction of a conversation, as seen from the client.
type direction uint8

const (
	up direction = iota
	down
)

// Conversation is one of the client's conversations. It is judged by positions: everything that was sent has
// a place, and what arrives must be what was sent there. Safe for concurrent use.
type Conversation struct {
	Kind Talk
	IPv6 bool
	id   uint32
	end  io.Closer // ends the client's side

	mu             sync.Mutex
	sent, received [2]uint64 // positions by direction; in an echo only up is used
	mark           [2]uint64 // sent as of the last Check
	waiting        time.Time // since when something is unanswered
	stall          time.Duration
	outcome        Outcome
	reason         string
}

// Verdict is one conversation's fate since the last fault.
type Verdict struct {
	Kind    Talk
	IPv6    bool
	Outcome Outcome
	Reason  string
	Stall   time.Duration // the longest wait for an answer
}

// server is the server's address for the conversation.
func (c *Conversation) server() netip.Addr {
	if c.IPv6 {
		return ServerAddress6
	}
	return ServerAddress
}

// sending notes that the position up to which was sent is now n.
func (c *Conversation) sending(d direction, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[d] = n
	if c.waiting.IsZero() {
		c.waiting = time.Now()
	}
}

// arrived notes that everything up to n has arrived as it was sent.
func (c *Conversation) arrived(d direction, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received[d] = max(c.received[d], n)
	c.stall = max(c.stall, c.waited())
	c.waiting = time.Time{}
}

func (c *Conversation) waited() time.Duration {
	if c.waiting.IsZero() {
		return 0
	}
	return time.Since(c.waiting)
}

// lost ends the conversation; only the first cause counts.
func (c *Conversation) lost(o Outcome, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcome == Survived {
		c.outcome, c.reason = o, reason
	}
}

// failed ends the conversation with an error of its socket.
func (c *Conversation) failed(side string, err error) {
	c.lost(Reset, side+": "+errorName(err))
}

// errorName is the errno's words where there is one.
func errorName(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by the other side"
	}
	return err.Error()
}

// forget starts a new measurement.
func (c *Conversation) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stall = 0
}

// remark notes how far everything was sent, so that what is sent from now on can be told from it.
func (c *Conversation) remark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mark = c.sent
}

// active says whether, in every direction that is used, something arrived that was sent after the mark; an
// ended conversation is not.
func (c *Conversation) active() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcome == Survived && c.received[up] > c.mark[up] &&
		(c.Kind != Bulk || c.received[down] > c.mark[down])
}

func (c *Conversation) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcome != Survived
}

func (c *Conversation) verdict(active bool) Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := Verdict{Kind: c.Kind, IPv6: c.IPv6, Outcome: c.outcome, Reason: c.reason, Stall: max(c.stall, c.waited())}
	if v.Outcome == Survived && !active {
		v.Outcome, v.Reason = Silent, fmt.Sprintf("no answer for %s", v.Stall.Round(time.Millisecond))
	}
	return v
}

// fill writes what conversation id sends at a position: any byte that is lost, doubled or exchanged shows.
func fill(b []byte, id uint32, position uint64) {
	const odd = 0x9e3779b97f4a7c15 // a multiplicative hash's, 2^64 over the golden ratio
	who := bits.Reverse64(uint64(id))
	for i := range b {
		b[i] = byte((position + uint64(i) ^ who) * odd >> 56)
	}
}

// sameAs says whether b is what fill would have written.
func sameAs(b []byte, id uint32, position uint64) bool {
	want := make([]byte, len(b))
	fill(want, id, position)
	return string(b) == string(want)
}

// message is a datagram's payload: who, its number, and a pattern.
const messageSize = 48

func message(id uint32, number uint64) []byte {
	b := make([]byte, messageSize)
	binary.BigEndian.PutUint32(b, id)
	binary.BigEndian.PutUint64(b[4:], number)
	fill(b[12:], id, number)
	return b
}

// readMessage is the inverse of message; ok only for what message made.
func readMessage(b []byte) (id uint32, number uint64, ok bool) {
	if len(b) != messageSize {
		return 0, 0, false
	}
	id, number = binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:])
	return id, number, sameAs(b[12:], id, number)
}
