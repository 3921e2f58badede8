package wire

import (
	"encoding/binary"
	"time"
)

// Known is what a heartbeat says of one epoch it hears: everything up to Have is known, Counter is the
// highest one heard.
type Known struct {
	Epoch         Epoch
	Have, Counter uint64
}

// Heartbeat tells who a node is, what its log holds, and what it knows of others.
type Heartbeat struct {
	Min, Max   uint8 // versions spoken
	Node       string
	Role       uint8
	Complete   bool
	Hot        bool
	Leaving    bool // the daemon stops
	Activation uint64
	Last       uint64 // end of the log
	Count      uint64 // live keys at Last
	Digest     uint64 // over them
	Known      []Known
	Keys       []byte        // ids of the keys that the node can open
	WasActive  bool          // a standby that was active in this epoch
	StandbyFor time.Duration // since it stepped down, in milliseconds; 0 unless WasActive
}

// Limits of a heartbeat.
const (
	MaxName  = 64
	MaxKnown = 32
	MaxKeys  = 8
)

const (
	beatComplete = 1 << iota
	beatHot
	beatLeaving
	beatWasActive
)

// AppendHeartbeat writes the body of a heartbeat.
func AppendHeartbeat(b []byte, h *Heartbeat) []byte {
	var flags byte
	if h.Complete {
		flags |= beatComplete
	}
	if h.Hot {
		flags |= beatHot
	}
	if h.Leaving {
		flags |= beatLeaving
	}
	if h.WasActive {
		flags |= beatWasActive
	}
	b = append(b, h.Min, h.Max, h.Role, flags, byte(len(h.Node)))
	b = append(b, h.Node...)
	b = binary.AppendUvarint(b, h.Activation)
	b = binary.AppendUvarint(b, h.Last)
	b = binary.AppendUvarint(b, h.Count)
	b = binary.BigEndian.AppendUint64(b, h.Digest)
	b = append(b, byte(len(h.Known)))
	for i := range h.Known {
		b = append(b, h.Known[i].Epoch[:]...)
		b = binary.AppendUvarint(b, h.Known[i].Have)
		b = binary.AppendUvarint(b, h.Known[i].Counter)
	}
	b = append(b, byte(len(h.Keys)))
	b = append(b, h.Keys...)
	if h.WasActive {
		b = binary.AppendUvarint(b, uint64(h.StandbyFor/time.Millisecond))
	}
	return b
}

// longest is the longest time that a heartbeat tells, some hundred years.
const longest = 1 << 42 * time.Millisecond

// DecodeHeartbeat reads a heartbeat into h, whose Known is used again. What follows the fields known here is
// a newer version's and skipped.
func DecodeHeartbeat(b []byte, h *Heartbeat) error {
	r := reader{b: b}
	h.Min, h.Max, h.Role = r.byte(), r.byte(), r.byte()
	flags := r.byte()
	h.Complete, h.Hot, h.Leaving = flags&beatComplete != 0, flags&beatHot != 0, flags&beatLeaving != 0
	n := int(r.byte())
	if n == 0 || n > MaxName {
		return ErrBody
	}
	name := r.take(n)
	if h.Node != string(name) {
		h.Node = string(name)
	}
	h.Activation, h.Last, h.Count = r.varint(), r.varint(), r.varint()
	h.Digest = r.uint64()
	known := int(r.byte())
	if known > MaxKnown {
		return ErrBody
	}
	h.Known = h.Known[:0]
	for range known {
		var k Known
		copy(k.Epoch[:], r.take(16))
		k.Have, k.Counter = r.varint(), r.varint()
		h.Known = append(h.Known, k)
	}
	keys := int(r.byte())
	if keys > MaxKeys {
		return ErrBody
	}
	h.Keys = append(h.Keys[:0], r.take(keys)...)
	h.WasActive, h.StandbyFor = flags&beatWasActive != 0, 0
	if h.WasActive {
		h.StandbyFor = time.Duration(min(r.varint(), uint64(longest/time.Millisecond))) * time.Millisecond
	}
	if r.bad {
		return ErrBody
	}
	return nil
}

// Range is what comes after the sequence number From, up to To.
type Range struct{ From, To uint64 }

// Ask is the body of a WANT: send what you have in Range, then in each of Further, at most Credit datagrams together.
// What ended up to Base is of no interest: the asker began with nothing when the log ended there.
type Ask struct {
	Range
	Base, Credit uint64
	Further      []Range // in order, apart; an older version knows none, and leaves them out
}

// MaxFurther is the most ranges of one WANT besides the first: with a credit of 64 no more are answered.
const MaxFurther = 63

// AskSize is the most bytes that the body of a WANT with so many further ranges takes.
func AskSize(further int) int { return (4+2*further)*binary.MaxVarintLen64 + 1 }

// AppendAsk writes the body of a WANT.
func AppendAsk(b []byte, a *Ask) []byte {
	b = binary.AppendUvarint(b, a.From)
	b = binary.AppendUvarint(b, a.To)
	b = binary.AppendUvarint(b, a.Base)
	b = binary.AppendUvarint(b, a.Credit)
	if len(a.Further) == 0 {
		return b
	}
	b = append(b, byte(len(a.Further)))
	before := a.To
	for _, r := range a.Further {
		b = binary.AppendUvarint(b, r.From-before)
		b = binary.AppendUvarint(b, r.To-r.From)
		before = r.To
	}
	return b
}

// DecodeAsk reads the body of a WANT into a, whose Further is used again. What follows is a newer version's and skipped.
func DecodeAsk(b []byte, a *Ask) error {
	r := reader{b: b}
	a.From, a.To, a.Base, a.Credit = r.varint(), r.varint(), r.varint(), r.varint()
	a.Further = a.Further[:0]
	if r.bad || a.To < a.From {
		return ErrBody
	}
	if len(r.b) == 0 {
		return nil
	}
	n := int(r.byte())
	if n > MaxFurther {
		return ErrBody
	}
	before := a.To
	for range n {
		apart, length := r.varint(), r.varint()
		next := Range{From: before + apart, To: before + apart + length}
		if r.bad || next.From <= before || next.To <= next.From {
			return ErrBody
		}
		a.Further = append(a.Further, next)
		before = next.To
	}
	return nil
}

// AppendRestart writes the body of a RESTART: the log ends at last now, and what you asked for begins before
// the tombstones that are still known. Begin again.
func AppendRestart(b []byte, last uint64) []byte { return binary.AppendUvarint(b, last) }

// DecodeRestart reads the body of a RESTART.
func DecodeRestart(b []byte) (last uint64, err error) {
	r := reader{b: b}
	if last = r.varint(); r.bad {
		return 0, ErrBody
	}
	return last, nil
}

// Nonce is what a challenge asks to be repeated.
type Nonce [16]byte

// DecodeNonce reads the body of a CHALLENGE or an ANSWER.
func DecodeNonce(b []byte) (n Nonce, err error) {
	if len(b) != len(n) {
		return n, ErrBody
	}
	return Nonce(b), nil
}
