// Package wire is the bytes between nodes.
//
// A datagram is a header, a body that its type decides, and a 32-bit checksum (CRC-32C over all before it) or,
// with a key, a seal (seal.go).
// Integers are big-endian; "varint" is the unsigned LEB128 of encoding/binary.
//
//	byte  0-1   magic 0xC7 0x5C (conntrackd's datagrams begin with 0x1x)
//	byte  2     version, 1
//	byte  3     type
//	byte  4     flags: bit 0 directed, bit 1 the last DATA of an answer; others are a newer version's
//	byte  5     key id, 0: not sealed
//	byte  6-9   cluster id, hashed
//	byte 10-25  sender's epoch
//	byte 26-33  counter, +1 per datagram of that epoch
//	byte 34-49  destination's epoch, only if directed
//
//	DATA       prev, last (delta) varint; records in order of seq
//	HEARTBEAT  see Heartbeat
//	WANT       from, to, base, credit varint; then, unless there are none, a byte of how many further ranges, and for
//	           each what is between it and the one before it, and its length, varint
//	RESTART    last varint
//	CHALLENGE  nonce of 16 bytes; ANSWER the same nonce
//
// What a decoder does not know it skips where a length says how (record attributes) and refuses by name
// where none does. Every refusal is one of the Err values.
package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
)

// Version of the format.
const Version = 1

// Type of a datagram.
type Type uint8

// Types.
const (
	Data Type = iota + 1
	Beat
	Want
	Restart
	Challenge
	Answer
)

// Epoch is one run of one daemon.
type Epoch [16]byte

// Header begins every datagram. Dest is zero for all.
type Header struct {
	Type    Type
	Cluster uint32
	Sender  Epoch
	Counter uint64
	Dest    Epoch
	KeyID   uint8 // 0: not sealed; Seal writes it
	Final   bool  // the last DATA of an answer
}

// Flags of a header.
const (
	flagDirected = 1 << iota
	flagFinal
)

// Overhead is the most that a header and the checksum take.
const Overhead = headerLen + destLen + sumLen + SealOverhead

const headerLen, destLen, sumLen = 34, 16, 4

// Refusals.
var (
	ErrShort      = errors.New("too short")
	ErrConntrackd = errors.New("conntrackd's datagram")
	ErrMagic      = errors.New("not ctsync's datagram")
	ErrVersion    = errors.New("unknown version")
	ErrType       = errors.New("unknown type")
	ErrCluster    = errors.New("another cluster-id")
	ErrSealed     = errors.New("sealed with a key that is not here")
	ErrChecksum   = errors.New("wrong checksum")
	ErrBody       = errors.New("malformed body")
	ErrRecord     = errors.New("malformed record")
)

// Refusals lists every error that a datagram can be refused with, for counters.
var Refusals = []error{ErrShort, ErrConntrackd, ErrMagic, ErrVersion, ErrType, ErrCluster, ErrSealed, ErrUnsealed, ErrForged, ErrChecksum, ErrBody, ErrRecord}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ClusterHash is the cluster id as it stands in the header.
func ClusterHash(id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	return h.Sum32()
}

// AppendHeader begins a datagram.
func AppendHeader(b []byte, h *Header) []byte {
	var flags byte
	if h.Dest != (Epoch{}) {
		flags |= flagDirected
	}
	if h.Final {
		flags |= flagFinal
	}
	b = append(b, 0xC7, 0x5C, Version, byte(h.Type), flags, 0)
	b = binary.BigEndian.AppendUint32(b, h.Cluster)
	b = append(b, h.Sender[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Counter)
	if flags&flagDirected != 0 {
		b = append(b, h.Dest[:]...)
	}
	return b
}

// Seal ends a datagram.
func Seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Parse checks the header of a datagram of cluster and gives its length.
func Parse(b []byte, cluster uint32, h *Header) (n int, err error) {
	if len(b) > 0 && b[0]>>4 == 1 {
		return 0, ErrConntrackd
	}
	if len(b) < headerLen+sumLen {
		return 0, ErrShort
	}
	if b[0] != 0xC7 || b[1] != 0x5C {
		return 0, ErrMagic
	}
	if b[2] != Version {
		return 0, ErrVersion
	}
	h.Type = Type(b[3])
	h.KeyID = b[keyIDAt]
	h.Cluster = binary.BigEndian.Uint32(b[6:])
	if h.Cluster != cluster {
		return 0, ErrCluster
	}
	h.Sender = Epoch(b[10:26])
	h.Counter = binary.BigEndian.Uint64(b[26:])
	h.Final = b[4]&flagFinal != 0
	h.Dest = Epoch{}
	if b[4]&flagDirected == 0 {
		return headerLen, nil
	}
	if len(b) < headerLen+destLen+sumLen {
		return 0, ErrShort
	}
	h.Dest = Epoch(b[headerLen : headerLen+destLen])
	return headerLen + destLen, nil
}

// Checked gives the body of a datagram that is not sealed, after a header of n bytes. It points into b.
func Checked(b []byte, n int) ([]byte, error) {
	end := len(b) - sumLen
	if end < n {
		return nil, ErrShort
	}
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return nil, ErrChecksum
	}
	return b[n:end], nil
}

// Open is Parse and Checked for what cannot be sealed.
func Open(b []byte, cluster uint32, h *Header) (body []byte, err error) {
	n, err := Parse(b, cluster, h)
	if err != nil {
		return nil, err
	}
	if h.KeyID != 0 {
		return nil, ErrSealed
	}
	if body, err = Checked(b, n); err != nil {
		return nil, err
	}
	if h.Type < Data || h.Type > Answer {
		return nil, ErrType
	}
	return body, nil
}

// reader takes a body apart; once it has failed it gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) < 1 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uint16() uint16 {
	b := r.take(2)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func (r *reader) uint32() uint32 {
	b := r.take(4)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (r *reader) uint64() uint64 {
	b := r.take(8)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *reader) varint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint32() uint32 {
	v := r.varint()
	if v > 1<<32-1 {
		r.bad = true
	}
	return uint32(v)
}

func (r *reader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}
