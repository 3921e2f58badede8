package engine

import (
	"net/netip"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/wire"
)

// sender makes datagrams: live changes within flushEvery, repairs by cursor and credit, heartbeats.
type sender struct {
	cluster  uint32
	counter  uint64
	keyID    uint8  // of what it replies to
	sent     uint64 // own log up to here has gone out
	flushed  time.Time
	beatAt   time.Time // the last heartbeat
	nextBeat time.Time
	beatNow  bool
	joins    bool      // the next heartbeat goes out with one that was heard
	told     uint64    // end of the own log as of the last heartbeat
	stirred  time.Time // when there was something to tell last
	leaving  bool
	marks    []beatMark
	timeline timeline

	bufs    [][]byte
	used    int
	body    []byte
	data    wire.DataWriter
	hb      wire.Heartbeat
	heard   wire.Heartbeat // decoding
	asked   wire.Ask       // decoding
	asking  wire.Ask
	records [cache.MaxWarm]wire.Record // decoding
}

type beatMark struct {
	at      time.Time
	counter uint64
	last    uint64 // end of the own log
}

const (
	beatEvery  = 100 * time.Millisecond
	quietBeat  = 500 * time.Millisecond // instead, see quiet
	joinSlack  = quietBeat / 4          // how much later a node is than one whose heartbeats it joins
	flushEvery = 500 * time.Microsecond
	// liveBudget and repairBudget are the most datagrams of one flush: a burst has to fit into the peer's
	// socket buffer.
	liveBudget   = 32
	repairBudget = 32
)

// buffer gives memory for one datagram, which lives as long as the output.
func (s *sender) buffer() []byte {
	if s.used == len(s.bufs) {
		s.bufs = append(s.bufs, make([]byte, 0, 2048))
	}
	s.used++
	return s.bufs[s.used-1][:0]
}

// post puts a datagram into the output, to dest or, if that is nil, to all.
func (e *Engine) post(typ wire.Type, dest *peer, body ...[]byte) {
	if dest != nil {
		e.postTo(typ, dest.epoch, dest.addr, body...)
		return
	}
	e.postTo(typ, wire.Epoch{}, netip.AddrPort{}, body...)
}

func (e *Engine) postTo(typ wire.Type, dest wire.Epoch, to netip.AddrPort, body ...[]byte) {
	e.postAs(wire.Header{Type: typ, Dest: dest}, to, body...)
}

// postAs posts with a header whose type, destination and flags are set.
func (e *Engine) postAs(h wire.Header, to netip.AddrPort, body ...[]byte) {
	s := &e.send
	s.counter++
	h.Cluster, h.Sender, h.Counter = e.clusterHash(), e.cfg.Epoch, s.counter
	b := wire.AppendHeader(s.buffer(), &h)
	n := len(b)
	for _, part := range body {
		b = append(b, part...)
	}
	if b = e.sealed(b, n); len(b) == 0 {
		return
	}
	s.bufs[s.used-1] = b
	e.out.Datagrams = append(e.out.Datagrams, Datagram{Payload: b, To: to})
	e.count.messages.Sent++
}

// sealed ends a datagram whose header has n bytes.
func (e *Engine) sealed(b []byte, n int) []byte {
	c := e.sealWith()
	if c == nil {
		return wire.Seal(b)
	}
	out, err := c.Seal(b, n, e.send.counter)
	if err != nil { // no randomness: what cannot be sealed must not go out readable
		e.count.messages.SealFailed++
		return b[:0]
	}
	return out
}

// counterAt is the lowest counter that was not used before t, or one that was not used yet: who slept has said nothing lately,
// and what waited for it proves nothing.
func (s *sender) counterAt(t time.Time) uint64 {
	for _, m := range s.marks {
		if !m.at.Before(t) {
			return m.counter
		}
	}
	return s.counter + 1
}

// lastBefore is the end of the own log when counter was used, or before that; 0 where that is not known any more.
func (s *sender) lastBefore(counter uint64) (last uint64) {
	for _, m := range s.marks {
		if m.counter <= counter {
			last = m.last
		}
	}
	return last
}

func (e *Engine) flushAt() time.Time {
	s := &e.send
	if s.sent < e.log.Last || e.giving() {
		return s.flushed.Add(flushEvery)
	}
	return time.Time{}
}

func (e *Engine) giving() bool {
	return e.peers.any(func(p *peer) bool { return p.give.credit > 0 })
}

// flush sends what is due.
func (e *Engine) flush() {
	s := &e.send
	beat := s.beatNow || !e.now.Before(s.nextBeat)
	if at := e.flushAt(); beat || !at.IsZero() && !e.now.Before(at) {
		e.sendLive()
		e.repair()
		s.flushed = e.now
	}
	if beat {
		e.beat()
	}
}

// sendLive sends the changes since the last time, to all. Without a peer there is nobody to send to: who
// comes asks.
func (e *Engine) sendLive() {
	s := &e.send
	if !e.peers.anyLive(e.now) {
		s.sent = e.log.Last
		return
	}
	if soon := e.now.Add(beatEvery); s.sent < e.log.Last && soon.Before(s.nextBeat) {
		s.nextBeat = soon // which tells it if this is lost
	}
	s.sent = max(s.sent, e.log.Horizon) // the table limit had ends forgotten before: a gap tells that
	for n := 0; n < liveBudget && s.sent < e.log.Last; n++ {
		s.sent = e.sendRange(s.sent, e.log.Last, nil)
	}
}

// room is the most bytes of records in one datagram.
func (e *Engine) room() int { return e.cfg.PayloadLimit - wire.Overhead - 20 }

// sendRange sends one DATA that begins after sequence number from and covers at most up to to, to all or to dest, who
// asked for it; it gives how far it got.
func (e *Engine) sendRange(from, to uint64, dest *peer) uint64 {
	s := &e.send
	room := e.room()
	recs := s.body[:0]
	before, last := from, to
	s.data.Begin(from)
	for {
		c := e.log.Next(before)
		if c == nil || c.Seq > to {
			break
		}
		n := len(recs)
		recs = s.data.Append(recs, c.Seq, c.Born, tombOf(c.Bits), &e.tbl.Entry(c.Entry()).Key, &c.Value.Value, e.extras.get(c.Value.extra))
		if len(recs) > room {
			recs, last = recs[:n], before
			break
		}
		before = c.Seq
	}
	s.body = recs
	var prefix [24]byte
	h, addr := wire.Header{Type: wire.Data}, netip.AddrPort{}
	if dest != nil {
		h.Dest, h.Final, addr = dest.epoch, dest.give.endsAt(last), dest.addr
	}
	e.postAs(h, addr, wire.AppendDataPrefix(prefix[:0], from, last), recs)
	return last
}

func tombOf(b cache.Bits) uint8 {
	switch {
	case b&cache.Ended != 0:
		return wire.TombEnded
	case b&cache.Yielded != 0:
		return wire.TombYielded
	}
	return 0
}

// beat sends a heartbeat, which describes the log up to its end; what has not gone out will be asked for if
// it does not come.
func (e *Engine) beat() {
	s := &e.send
	if s.beatNow || s.told != e.log.Last {
		s.stirred = e.now
	}
	s.beatNow, s.told = false, e.log.Last
	s.beatAt, s.nextBeat = e.now, e.now.Add(beatEvery)
	if e.quiet() {
		s.nextBeat = e.now.Add(quietBeat)
		if s.joins {
			s.nextBeat = s.nextBeat.Add(joinSlack) // who began is heard first
		}
	}
	s.joins = false
	h := &s.hb
	*h = wire.Heartbeat{
		Min: wire.Version, Max: wire.Version, Node: e.cfg.Node, Role: uint8(e.role.is), Complete: e.complete(),
		Hot: e.cfg.Hot, Leaving: s.leaving, Activation: e.role.activation,
		Last: e.log.Last, Count: uint64(e.log.Live), Digest: e.log.Digest, Known: h.Known[:0], Keys: h.Keys[:0],
	}
	if h.WasActive = e.role.is == Standby && e.role.activation > 0; h.WasActive {
		h.StandbyFor = e.now.Sub(e.role.since)
	}
	for i := range e.guard.keys {
		if len(h.Keys) < wire.MaxKeys {
			h.Keys = append(h.Keys, e.guard.keys[i].ID)
		}
	}
	for _, p := range e.peers.list {
		if p != nil && len(h.Known) < wire.MaxKnown && e.now.Sub(p.lastHeard) < forgetAfter {
			h.Known = append(h.Known, wire.Known{Epoch: p.epoch, Have: p.rep.Have, Counter: p.window.top})
		}
	}
	s.body = wire.AppendHeartbeat(s.body[:0], h)
	e.post(wire.Beat, nil, s.body)
	if len(s.marks) >= 64 {
		s.marks = s.marks[:copy(s.marks, s.marks[1:])]
	}
	s.marks = append(s.marks, beatMark{e.now, s.counter, e.log.Last})
	s.timeline.note(e.now, e.log.Last)
}

// paceBeat sets when the next heartbeat goes out, now that one was heard. While nothing happens it goes with that one, if the last was
// not a moment ago: to wake up costs more than all that an idle node does then. Else it must not be as late as it was meant to be
// while nothing happened.
func (e *Engine) paceBeat() {
	s := &e.send
	quiet, left := e.quiet(), s.nextBeat.Sub(e.now)
	switch {
	case !quiet && left > beatEvery:
		s.nextBeat = e.now.Add(beatEvery)
	case quiet && left < quietBeat-joinSlack && !e.now.Before(s.beatAt.Add(beatEvery)):
		s.nextBeat, s.joins = e.now, true
	}
}

// quiet says that nothing has happened for a while, and that everybody has everything and hears each of us well:
// heartbeats need not come as often as where they tell what was lost.
func (e *Engine) quiet() bool {
	l := e.peers.leader
	if e.now.Sub(e.send.stirred) < 2*time.Second || !e.complete() || !e.peers.anyLive(e.now) || l != nil && e.role.is == Standby && !e.peers.settled {
		return false
	}
	return !e.peers.any(func(p *peer) bool {
		good := p.proven(e.now) && p.theyHave == e.log.Last && p.rep.Complete(p.last) && !p.hardOfHearing
		return p.live(e.now) && !good
	})
}

// complete says that the own cache describes this whole kernel table.
func (e *Engine) complete() bool { return e.dump.current && e.role.is != TakingOver }
