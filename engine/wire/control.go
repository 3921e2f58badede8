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

// Ask is the body of a WANT: send what you have in (From, To], at most Credit datagrams. What ended up to
// Base is of no interest: the asker began with nothing when the log ended there.
type Ask struct{ From, To, Base, Credit uint64 }

// AppendAsk writes the body of a WANT.
func AppendAsk(b []byte, a *Ask) []byte {
	b = binary.AppendUvarint(b, a.From)
	b = binary.AppendUvarint(b, a.To)
	b = binary.AppendUvarint(b, a.Base)
	return binary.AppendUvarint(b, a.Credit)
}

// DecodeAsk reads the body of a WANT.
func DecodeAsk(b []byte) (Ask, error) {
	r := reader{b: b}
	a := Ask{From: r.varint(), To: r.varint(), Base: r.varint(), Credit: r.varint()}
	if r.bad || a.To < a.From {
		return Ask{}, ErrBody
	}
	return a, nil
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
