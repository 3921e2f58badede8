package sim

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"time"

	"ctsync/engine/wire"
)

// upgrade is a node that speaks another version than the others for a while: a newer one, whose heartbeats say more at
// their end and whose records have an attribute that the others do not know, or one that the others refuse. Its daemon
// ends and begins anew for that, twice. It draws from a source of its own.
type upgrade struct {
	w       *world
	rng     *rand.Rand
	node    *node
	refused bool // its version is
	running bool // the other version
}

func newUpgrade(w *world) *upgrade {
	u := &upgrade{w: w, rng: rand.New(rand.NewSource(w.seed ^ 0x76657273))}
	u.node, u.refused = w.nodes[u.rng.Intn(len(w.nodes))], u.rng.Intn(4) == 0
	return u
}

// begin has the node upgraded at some time, and mostly, if it is refused always, downgraded again.
func (u *upgrade) begin() {
	at := u.between(time.Second, 15*time.Second)
	u.w.after(at, func() { u.restart(true) })
	if u.refused || u.rng.Intn(3) == 0 {
		u.w.after(at+u.between(2*time.Second, 15*time.Second), func() { u.restart(false) })
	}
}

func (u *upgrade) restart(other bool) {
	u.w.trace(u.node, "changes its version: another %v, refused %v", other, u.refused)
	u.w.count("change of version")
	u.node.kill(true)
	u.running = other
	u.w.after(u.between(5*time.Millisecond, 2*time.Second), u.node.start)
}

func (u *upgrade) between(a, b time.Duration) time.Duration {
	return a + time.Duration(u.rng.Int63n(int64(b-a)+1))
}

// says is what n sends instead of payload.
func (u *upgrade) says(n *node, payload []byte) []byte {
	if n != u.node || !u.running {
		return payload
	}
	if u.refused {
		other := bytes.Clone(payload)
		other[2] = wire.Version + 1
		return other
	}
	var h wire.Header
	at, err := wire.Parse(payload, wire.ClusterHash(cluster), &h)
	if err != nil {
		u.w.fail("versions", "%s sends what cannot be parsed: %v", n, err)
		return payload
	}
	c := u.cipher(n, &h)
	body, err := open(c, bytes.Clone(payload), at, h.Counter)
	if err != nil {
		u.w.fail("versions", "%s sends what cannot be opened: %v", n, err)
		return payload
	}
	switch h.Type {
	case wire.Beat:
		body = append(bytes.Clone(body), "and more"...)
		body[1] = wire.Version + 1
	case wire.Data:
		body = u.richer(body)
	case wire.Want:
		body = u.longer(body)
	default:
		return payload
	}
	return u.closed(c, append(bytes.Clone(payload[:at]), body...), at, h.Counter)
}

// cipher is n's for the key that h names, nil for none.
func (u *upgrade) cipher(n *node, h *wire.Header) *wire.Cipher {
	for _, k := range n.keys {
		if k.ID == h.KeyID {
			return wire.NewCipher(k, cluster, h.Sender, u.rng)
		}
	}
	return nil
}

func open(c *wire.Cipher, payload []byte, at int, counter uint64) ([]byte, error) {
	if c == nil {
		return wire.Checked(payload, at)
	}
	return c.Open(payload, at, counter)
}

func (u *upgrade) closed(c *wire.Cipher, b []byte, at int, counter uint64) []byte {
	if c == nil {
		return wire.Seal(b)
	}
	b, err := c.Seal(b, at, counter)
	if err != nil {
		u.w.fail("versions", "cannot seal: %v", err)
	}
	return b
}

// richer gives every flow of a DATA an attribute more.
func (u *upgrade) richer(body []byte) []byte {
	d, err := wire.OpenData(body)
	if err != nil {
		u.w.fail("versions", "a DATA cannot be opened: %v", err)
		return body
	}
	out := wire.AppendDataPrefix(nil, d.Prev, d.Last)
	before := d.Prev
	for {
		var rec wire.Record
		ok, err := d.Next(&rec)
		if err != nil {
			u.w.fail("versions", "a record cannot be read: %v", err)
		}
		if !ok {
			return out
		}
		out = appendRicher(out, before, &rec)
		before = rec.Seq
	}
}

// hasAttributes is the flag of a record's first byte that says so.
const hasAttributes = 1 << 6

// unknown is an attribute of the next version: type, length, value.
var unknown = []byte{100, 5, 'l', 'a', 't', 'e', 'r'}

func appendRicher(b []byte, before uint64, rec *wire.Record) []byte {
	f := &rec.Flow
	plain := wire.AppendRecord(nil, before, rec.Seq, rec.Born, rec.Tomb, &f.Key, &f.Value, nil)
	if rec.Tomb != 0 {
		return append(b, plain...)
	}
	attributes := []byte(nil)
	if f.Extra != nil {
		whole := wire.AppendRecord(nil, before, rec.Seq, rec.Born, 0, &f.Key, &f.Value, f.Extra)
		_, n := binary.Uvarint(whole[len(plain):])
		attributes = whole[len(plain)+n:]
	}
	plain[0] |= hasAttributes
	b = binary.AppendUvarint(append(b, plain...), uint64(len(unknown)+len(attributes)))
	return append(append(b, unknown...), attributes...)
}

// longer is a question that says more at its end, after its further ranges.
func (u *upgrade) longer(body []byte) []byte {
	var a wire.Ask
	if err := wire.DecodeAsk(body, &a); err != nil {
		u.w.fail("versions", "%s asks what cannot be read: %v", u.node, err)
		return body
	}
	b := bytes.Clone(body)
	if len(a.Further) == 0 {
		b = append(b, 0)
	}
	return append(b, "and more"...)
}
