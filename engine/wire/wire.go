// Package wire is the bytes between nodes.
//
// A datagram is a header, a body that its type decides, and a 32-bit checksum (CRC-32C over all before it).
// Integers are big-endian; "varint" is the unsigned LEB128 of encoding/binary.
//
//	byte  0-1   magic 0xC7 0x5C (conntrackd's datagrams begin with 0x1x)
//	byte  2     version, 1
//	byte  3     type
//	byte  4     flags: bit 0 directed
//	byte  5     key id, 0: not sealed
//	byte  6-9   cluster id, hashed
//	byte 10-25  sender's epoch
//	byte 26-33  counter, +1 per datagram of that epoch
//	byte 34-49  destination's epoch, only if directed
//
//	DATA       prev, last (delta) varint; records in order of seq
//	HEARTBEAT  see Heartbeat
//	WANT       from, to, base, credit varint
//	RESTART    last varint
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
}

// Overhead is the most that a header and the checksum take.
const Overhead = 54

const headerLen, destLen, sumLen = 34, 16, 4

// Refusals.
var (
	ErrShort      = errors.New("too short")
	ErrConntrackd = errors.New("conntrackd's datagram")
	ErrMagic      = errors.New("not ctsync's datagram")
	ErrVersion    = errors.New("unknown version")
	ErrType       = errors.New("unknown type")
	ErrCluster    = errors.New("another cluster-id")
	ErrSealed     = errors.New("sealed, and no key here")
	ErrChecksum   = errors.New("wrong checksum")
	ErrBody       = errors.New("malformed body")
	ErrRecord     = errors.New("malformed record")
)

// Refusals lists every error that a datagram can be refused with, for counters.
var Refusals = []error{ErrShort, ErrConntrackd, ErrMagic, ErrVersion, ErrType, ErrCluster, ErrSealed, ErrChecksum, ErrBody, ErrRecord}

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
		flags = 1
	}
	b = append(b, 0xC7, 0x5C, Version, byte(h.Type), flags, 0)
	b = binary.BigEndian.AppendUint32(b, h.Cluster)
	b = append(b, h.Sender[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Counter)
	if flags&1 != 0 {
		b = append(b, h.Dest[:]...)
	}
	return b
}

// Seal ends a datagram.
func Seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Open checks a datagram of cluster and gives its header and body, which points into b.
func Open(b []byte, cluster uint32, h *Header) (body []byte, err error) {
	if len(b) > 0 && b[0]>>4 == 1 {
		return nil, ErrConntrackd
	}
	if len(b) < headerLen+sumLen {
		return nil, ErrShort
	}
	if b[0] != 0xC7 || b[1] != 0x5C {
		return nil, ErrMagic
	}
	if b[2] != Version {
		return nil, ErrVersion
	}
	if b[5] != 0 {
		return nil, ErrSealed
	}
	h.Type = Type(b[3])
	h.Cluster = binary.BigEndian.Uint32(b[6:])
	if h.Cluster != cluster {
		return nil, ErrCluster
	}
	h.Sender = Epoch(b[10:26])
	h.Counter = binary.BigEndian.Uint64(b[26:])
	h.Dest = Epoch{}
	end := len(b) - sumLen
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return nil, ErrChecksum
	}
	if h.Type < Data || h.Type > Restart {
		return nil, ErrType
	}
	body = b[headerLen:end]
	if b[4]&1 != 0 {
		if len(body) < destLen {
			return nil, ErrShort
		}
		h.Dest = Epoch(body[:destLen])
		body = body[destLen:]
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
