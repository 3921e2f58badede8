package engine

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"ctsync/engine/wire"
)

// Trust (PROTOCOL section 4): who may say something. A datagram counts only if it opens, or, without a key,
// if its sender can be reached where it claims to be; and only after that sender has answered a challenge, so
// that what was recorded of an earlier run says nothing. Everything up to the answer counts as heard.
type guard struct {
	keys       []wire.Key
	permissive bool
	own        []*wire.Cipher // by key

	pending []challenge
	second  time.Time // of the rates
	from    map[netip.Addr]int
	unknown int
	answers int
}

// challenge is an epoch that has not answered yet.
type challenge struct {
	epoch wire.Epoch
	nonce wire.Nonce
	name  string
	last  uint64 // its log's end
	sent  time.Time
}

const (
	maxPending       = 16
	challengeEvery   = 200 * time.Millisecond
	unknownPerAddr   = 100 // datagrams of unknown epochs opened per second and source address
	unknownAll       = 1000
	maxAddresses     = 1024
	answersAtMost    = 100 // per second
	trustFor         = 60 * time.Second
	pendingAtLongest = 10 * time.Second
)

var errRate = errors.New("too many datagrams of unknown senders")

// Keys replaces the shared keys: the first that every peer has seals, all of them open.
type Keys struct {
	Keys       []wire.Key
	Permissive bool // what is not sealed is heard too, while a key is introduced
}

func (*Keys) isInput() {}

func (e *Engine) setKeys(k []wire.Key, permissive bool) {
	g := &e.guard
	g.keys, g.permissive, g.own = k, permissive, nil
	for i := range k {
		g.own = append(g.own, wire.NewCipher(k[i], e.cfg.Cluster, e.cfg.Epoch, e.cfg.Random))
	}
	e.peers.each(func(p *peer) { p.ciphers = nil })
	e.send.beatNow = true
}

// sealWith is the cipher for what goes out: of the key that a reply is to be sealed with, else of the first key that
// every live peer can open, else of the first key; none without a key, and none, while a key is introduced, until every
// peer has it.
func (e *Engine) sealWith() *wire.Cipher {
	g := &e.guard
	for i := range g.keys {
		if e.send.keyID != 0 && g.keys[i].ID == e.send.keyID {
			return g.own[i]
		}
	}
	if len(g.own) == 0 {
		return nil
	}
	peers := e.peers.anyLive(e.now)
	for i, c := range g.own {
		if peers && e.allOpen(g.keys[i].ID) {
			return c
		}
	}
	if g.permissive {
		return nil
	}
	return g.own[0]
}

func (e *Engine) allOpen(id uint8) bool {
	for _, p := range e.peers.list {
		if p != nil && p.live(e.now) && !p.opens[id] {
			return false
		}
	}
	return true
}

// open gives the body of a datagram whose header has n bytes, if its seal or its checksum is right. p is nil for
// an epoch that is not trusted.
func (e *Engine) openBody(p *peer, d *Datagram, h *wire.Header, n int) ([]byte, error) {
	g := &e.guard
	if h.KeyID == 0 {
		if len(g.keys) > 0 && !g.permissive {
			return nil, wire.ErrUnsealed
		}
		return wire.Checked(d.Payload, n)
	}
	for i := range g.keys {
		if g.keys[i].ID == h.KeyID {
			return e.cipherOf(p, h, i).Open(d.Payload, n, h.Counter)
		}
	}
	return nil, wire.ErrSealed
}

func (e *Engine) cipherOf(p *peer, h *wire.Header, key int) *wire.Cipher {
	if p == nil {
		return wire.NewCipher(e.guard.keys[key], e.cfg.Cluster, h.Sender, nil)
	}
	if p.ciphers == nil {
		p.ciphers = make([]*wire.Cipher, len(e.guard.keys))
	}
	if p.ciphers[key] == nil {
		p.ciphers[key] = wire.NewCipher(e.guard.keys[key], e.cfg.Cluster, p.epoch, nil)
	}
	return p.ciphers[key]
}

// within counts a datagram of an unknown epoch and says whether the rates allow to look at it.
func (g *guard) within(from netip.Addr, now time.Time) bool {
	if now.Sub(g.second) >= time.Second {
		g.second, g.unknown, g.answers = now, 0, 0
		clear(g.from)
	}
	if g.from == nil {
		g.from = map[netip.Addr]int{}
	}
	if g.unknown >= unknownAll || g.from[from] >= unknownPerAddr || len(g.from) >= maxAddresses && g.from[from] == 0 {
		return false
	}
	g.unknown++
	g.from[from]++
	return true
}

// stranger takes a datagram of an epoch that has not answered: of its heartbeats comes a challenge, its
// challenge is answered, and its answer makes it known. All else it has to say again.
func (e *Engine) stranger(p *peer, d *Datagram, h *wire.Header, n int) {
	if !e.guard.within(d.From.Addr(), e.now) {
		e.refuse(errRate, d)
		return
	}
	body, err := e.openBody(nil, d, h, n)
	if err == nil {
		switch h.Type {
		case wire.Beat:
			err = e.challenge(d, h, body)
		case wire.Challenge:
			err = e.answerChallenge(d.From, h, body)
		case wire.Answer:
			err = e.trust(p, d, h, body)
		}
	}
	if err != nil {
		e.refuse(err, d)
	}
}

// challenge asks the sender of a heartbeat to answer.
func (e *Engine) challenge(d *Datagram, h *wire.Header, body []byte) error {
	b := &e.send.heard
	if err := wire.DecodeHeartbeat(body, b); err != nil {
		return err
	}
	c := e.pendingOf(h.Sender)
	if c == nil {
		return errTooManyPeers
	}
	c.name, c.last = b.Node, b.Last
	if e.now.Sub(c.sent) < challengeEvery {
		return nil
	}
	if c.sent.IsZero() {
		if _, err := io.ReadFull(e.cfg.Random, c.nonce[:]); err != nil {
			return err
		}
	}
	c.sent = e.now
	e.replyTo(wire.Challenge, h, d.From, c.nonce[:])
	return nil
}

// pendingOf gives the challenge of an epoch, making one if there is room.
func (e *Engine) pendingOf(epoch wire.Epoch) *challenge {
	g := &e.guard
	oldest := -1
	for i := range g.pending {
		if g.pending[i].epoch == epoch {
			return &g.pending[i]
		}
		if oldest < 0 || g.pending[i].sent.Before(g.pending[oldest].sent) {
			oldest = i
		}
	}
	if len(g.pending) < maxPending {
		g.pending = append(g.pending, challenge{epoch: epoch})
		return &g.pending[len(g.pending)-1]
	}
	if e.now.Sub(g.pending[oldest].sent) < pendingAtLongest {
		return nil
	}
	g.pending[oldest] = challenge{epoch: epoch}
	return &g.pending[oldest]
}

// replyTo speaks to the sender of h, whom it may not know yet, with the key that it used: it may have no other, and while
// keys are changed both would wait for each other.
func (e *Engine) replyTo(typ wire.Type, h *wire.Header, to netip.AddrPort, body []byte) {
	e.send.keyID = h.KeyID
	e.postTo(typ, h.Sender, to, body)
	e.send.keyID = 0
}

// answerChallenge repeats the nonce.
func (e *Engine) answerChallenge(to netip.AddrPort, h *wire.Header, body []byte) error {
	nonce, err := wire.DecodeNonce(body)
	if err != nil {
		return err
	}
	if e.guard.answers++; e.guard.answers > answersAtMost {
		return errRate
	}
	e.replyTo(wire.Answer, h, to, nonce[:])
	return nil
}

// trust takes an answer: its sender is there, now, and has the key.
func (e *Engine) trust(p *peer, d *Datagram, h *wire.Header, body []byte) error {
	nonce, err := wire.DecodeNonce(body)
	if err != nil {
		return err
	}
	g := &e.guard
	for i := range g.pending {
		c := &g.pending[i]
		if c.epoch != h.Sender || c.nonce != nonce || c.sent.IsZero() || h.Dest != e.cfg.Epoch {
			continue
		}
		name, last := c.name, c.last
		g.pending = append(g.pending[:i], g.pending[i+1:]...)
		return e.meet(p, d, h, name, last)
	}
	return nil // late, or made up: nothing was asked
}

// meet makes an epoch known, or known again.
func (e *Engine) meet(p *peer, d *Datagram, h *wire.Header, name string, last uint64) error {
	if p == nil {
		if p = e.newPeer(h.Sender, name, d.From); p == nil {
			return errTooManyPeers
		}
		p.base = last
		p.floor = h.Counter
	}
	p.window.reset(h.Counter)
	p.beat = h.Counter
	p.trusted, p.lastHeard = true, e.now
	p.addr = d.From
	return nil
}

// trusts says whether p need not answer again.
func (e *Engine) trusts(p *peer) bool {
	if p == nil {
		return false
	}
	if e.now.Sub(p.lastHeard) > trustFor {
		p.trusted = false
	}
	return p.trusted
}
