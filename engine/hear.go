package engine

import (
	"errors"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// Refusals that are not wire's.
var (
	errTooManyPeers = errors.New("too many nodes or epochs")
	errFull         = errors.New("over the memory bound")
)

func newReplica(e *Engine, p *peer) *replica {
	return cache.NewReplica(e.tbl, p.owner, digestOf(p.epoch))
}

// hear takes one datagram. Whatever is wrong with it is counted by reason and changes nothing.
func (e *Engine) hear(d *Datagram) {
	e.count.messages.Received++
	var h wire.Header
	n, err := wire.Parse(d.Payload, e.clusterHash(), &h)
	if err != nil {
		e.refuse(err, d)
		return
	}
	if h.Sender == e.cfg.Epoch || h.Dest != (wire.Epoch{}) && h.Dest != e.cfg.Epoch {
		return
	}
	p := e.peers.byEpoch[h.Sender]
	if !e.trusts(p) {
		e.stranger(p, d, &h, n)
		return
	}
	body, err := e.openBody(p, d, &h, n)
	if err == nil && p.window.fresh(h.Counter) {
		p.addr = d.From
		p.keyID = h.KeyID
		err = e.hearType(p, d, &h, body)
	}
	if err != nil {
		e.refuse(err, d)
	}
}

func (e *Engine) hearType(p *peer, d *Datagram, h *wire.Header, body []byte) error {
	switch h.Type {
	case wire.Data:
		return e.hearData(p, h, body)
	case wire.Beat:
		return e.hearBeat(p, h, body)
	case wire.Want:
		return e.hearWant(p, h, body)
	case wire.Restart:
		return e.hearRestart(p, h, body)
	case wire.Challenge:
		return e.answerChallenge(d.From, h, body)
	case wire.Answer:
		return nil // answered already
	}
	return wire.ErrType
}

func (e *Engine) clusterHash() uint32 {
	if e.send.cluster == 0 {
		e.send.cluster = wire.ClusterHash(e.cfg.Cluster)
	}
	return e.send.cluster
}

func (e *Engine) refuse(err error, d *Datagram) {
	m := &e.count.messages
	m.Malformed++
	e.count.refusedAt, e.count.refusedFor = e.now, err.Error()
	if m.Refused[err.Error()]++; m.Refused[err.Error()] == 1 {
		e.note(Note{Kind: NoteRefused, Reason: err.Error(), Peer: d.From.String()})
	}
}

func (e *Engine) hearBeat(p *peer, h *wire.Header, body []byte) error {
	b := &e.send.heard
	if err := wire.DecodeHeartbeat(body, b); err != nil {
		return err
	}
	if h.Counter > p.beat {
		e.beatSays(p, h, b)
	}
	return nil
}

// beatSays takes what a heartbeat, newer than those before, says.
func (e *Engine) beatSays(p *peer, h *wire.Header, b *wire.Heartbeat) {
	p.beat, p.lastHeard = h.Counter, e.now
	p.complete, p.hot, p.leaving, p.last = b.Complete, b.Hot, b.Leaving, b.Last
	p.fresh = false
	role := Role(min(b.Role, uint8(Active)))
	p.timeline.note(e.now, p.last)
	e.duplicated(p)
	p.opens = [256]bool{}
	for _, id := range b.Keys {
		p.opens[id] = true
	}
	for i := range b.Known {
		if b.Known[i].Epoch != e.cfg.Epoch {
			continue
		}
		p.theyHave = b.Known[i].Have
		if role != Standby {
			p.actsPast = e.send.lastBefore(b.Known[i].Counter)
		}
		p.fresh = b.Known[i].Counter >= e.send.counterAt(e.now.Add(-liveFor))
		p.hardOfHearing = b.Known[i].Counter < e.send.counterAt(e.now.Add(-3*quietBeat))
	}
	if p.fresh && p.theyHave >= p.theyKnow {
		p.caughtUp = e.now
	}
	if p.theyHave >= p.theyKnow {
		p.theyKnow = e.log.Last
	}
	acts := role != Standby || b.Activation > p.activation
	e.roleSays(p, role, b)
	e.endedEarly(p, acts)
	e.prove(p, h, b)
	e.paceBeat()
}

// roleSays takes a peer's role. Its activation number tells also of an activation that was not heard.
func (e *Engine) roleSays(p *peer, role Role, b *wire.Heartbeat) {
	acted := p.role != Standby || b.Activation > p.activation
	met := p.activation == 0 && b.Activation > 0
	if role == Active && p.role != Active {
		p.activeFrom = e.now
	}
	p.role, p.activation, p.told = role, b.Activation, b.Last
	if by := e.now.Add(-b.StandbyFor); role == Standby && (acted || by.Before(p.stepped)) {
		p.stepped = by
	}
	switch {
	case e.role.is != Standby && acted && role == Standby:
		e.mergeFrom(p, p.last) // it steps back (PROTOCOL O8)
	case e.role.is == TakingOver && met:
		e.mergeOnce(p) // what it listed came before this
	}
}

// prove compares the replica with what the heartbeat says of the log (PROTOCOL R6, R7, R8).
func (e *Engine) prove(p *peer, h *wire.Header, b *wire.Heartbeat) {
	if !p.rep.Complete(b.Last) {
		return
	}
	p.whole = e.now
	if !p.rep.Agrees(b.Last, int(b.Count), b.Digest) {
		if h.Counter < p.data {
			return // a later repair may leave out what has changed since this was said
		}
		e.count.mismatches++
		p.provenAt = time.Time{}
		if e.restartPeer(p, b.Last, "digests differ") {
			e.note(Note{Kind: NoteMismatch, Peer: p.name})
		}
		return
	}
	p.rep.Sweep(func(r ref) { e.sweeping(p, r) }, e.release)
	if p.fresh {
		p.provenAt = e.now
		p.proofs++
		p.restart.delay = 0
	}
	e.provenNow(p)
}

// restartPeer reads the log of p again, from the beginning (PROTOCOL R5), unless it has just done so.
func (e *Engine) restartPeer(p *peer, last uint64, reason string) bool {
	if !p.restart.ready(e.now, time.Second, time.Minute) {
		return false
	}
	p.restarts++
	p.floor, p.base = max(p.floor, p.beat, p.data), last
	p.provenAt = time.Time{}
	p.rep.Restart(e.release)
	p.ask = asking{}
	e.note(Note{Kind: NoteRestart, Peer: p.name, Reason: reason})
	return true
}

func (e *Engine) hearRestart(p *peer, h *wire.Header, body []byte) error {
	last, err := wire.DecodeRestart(body)
	if err != nil {
		return err
	}
	before := p.restarts
	e.restartPeer(p, last, "asked for by the peer")
	if p.restarts > before {
		p.floor = max(p.floor, h.Counter)
	}
	return nil
}

// hearData takes changes of a peer's log, live ones or those asked for.
func (e *Engine) hearData(p *peer, h *wire.Header, body []byte) error {
	d, err := wire.OpenData(body)
	if err != nil {
		return err
	}
	if h.Counter < p.floor {
		return nil
	}
	p.data = max(p.data, h.Counter)
	p.answers = h.Dest != wire.Epoch{}
	if p.over = e.tbl.Copies() >= maxCopies(e.cfg.TableMax); p.over {
		return errFull
	}
	for more := true; more && err == nil; {
		more, err = e.applyNext(p, &d)
	}
	if err != nil {
		return err
	}
	if p.rep.Range(d.Prev, d.Last, e.release) {
		e.answered(p, h)
	}
	p.last = max(p.last, d.Last)
	return nil
}

// applyNext takes the next records of a datagram, and says whether there may be more.
func (e *Engine) applyNext(p *peer, d *wire.DataReader) (more bool, err error) {
	var keys [cache.MaxWarm]*flow.Key
	n := 0
	for n < len(keys) {
		rec := &e.send.records[n]
		if more, err = d.Next(rec); !more {
			break
		}
		keys[n] = &rec.Flow.Key
		n++
	}
	e.tbl.Warm(keys[:n])
	for i := range n {
		e.apply(p, &e.send.records[i])
	}
	return more, err
}

// maxCopies bounds the records of all nodes together (PROTOCOL R9).
func maxCopies(tableMax int) int { return max(4*tableMax, 65536) }

// apply takes one record of a peer's log.
func (e *Engine) apply(p *peer, rec *wire.Record) {
	r, c, what := p.rep.Apply(&rec.Flow.Key, rec.Born, rec.Seq, tombBits(rec.Tomb))
	if what == cache.Ignored {
		return
	}
	e.countExpects(p, r, what)
	if e.external(p) {
		e.externalOf(r).applied(what)
	}
	e.foreign(&rec.Flow.Key)
	if rec.Tomb == 0 && what != cache.Confirmed {
		e.hasSuccessor(p, r, c, what)
		e.bornAgain(p, r, c, &rec.Flow.Value, what)
		e.setValue(c, &rec.Flow.Value, rec.Flow.Extra)
	}
	e.heard(p, r, c, what)
}

// bornAgain looks, before copy c gets value v of what the leader lists now, whether our kernel may have an incarnation
// before, of which an update would leave behind what an entry never loses: that it was answered or is assured, its labels,
// helper and master, a sequence adjustment that would ruin the new connection. What one had that has ended is not known any
// more, so that the next one is made anew in any case.
func (e *Engine) bornAgain(p *peer, r ref, c *copyOf, v *flow.Value, what cache.Applied) {
	ent := e.tbl.Entry(r)
	ended := what == cache.Added && ent.Kern&kEnded != 0
	if !ended && what != cache.Reborn || p != e.peers.leader || e.role.is != Standby || e.log.Lives(r) != nil {
		return
	}
	had := c.Value.Status
	if k := e.tbl.Of(r, kernelOwner); k != nil {
		had |= k.Value.Status
	}
	e.dropAside(r) // what a packet made of the one before is over
	if ended || c.Value.extra != 0 || had&sticky&^v.Status != 0 {
		ent.Kern |= kReborn
	}
}

func tombBits(tomb uint8) cache.Bits {
	switch tomb {
	case wire.TombEnded:
		return cache.Ended
	case wire.TombYielded:
		return cache.Yielded
	}
	return 0
}

// heard acts on a record that took effect: what the leader lists goes to the kernel of a hot standby, and
// while taking over every record that arrives is adopted.
func (e *Engine) heard(p *peer, r ref, c *copyOf, what cache.Applied) {
	ended := (what == cache.Removed || what == cache.Absent) && c.Bits&cache.Ended != 0
	if what == cache.Changed {
		c.Bits &^= cache.Doubted
	}
	if c.Bits&cache.Yielded != 0 && p.adoptable() && p.role == Standby {
		e.wentElsewhere(r)
	}
	switch {
	case !ended:
	case p.role == Standby:
		e.mayCount(p, r)
	case e.role.is == Active:
		e.endedThere(r)
	case e.role.is == Standby && p != e.peers.leader:
		e.endedThere(r)
		e.endedSince(p, r, c.Value.Reply, what)
	}
	if own := e.log.Lives(r); own != nil && p.role == Active && (what == cache.Added || what == cache.Reborn) {
		own.Bits &^= cache.Dead
	}
	switch {
	case e.adopts(p, c):
		if ended && p == e.peers.leader {
			e.leaderEnded(p, r)
		}
		if what == cache.Changed && c.Bits&cache.Adopted != 0 {
			e.wentOnThere(r, c)
		}
		e.adopt(p, r, c)
	case e.role.is == Standby && p == e.peers.leader:
		if ended {
			e.leaderEnded(p, r)
			e.changedBeforeProof(p, r)
			return
		}
		if c.Bits&cache.Yielded != 0 {
			e.takenBack(r)
		}
		e.tbl.Entry(r).Kern &^= kEnded
		own := e.log.Lives(r)
		if own != nil {
			own.Bits &^= cache.Dead
		}
		if e.writes() || e.outlived(r, own, c) {
			e.dirty(r)
			return
		}
		e.changedBeforeProof(p, r)
	}
}

// sweeping is the end of a flow that a peer did not confirm; from the leader it counts as ended (PROTOCOL O3).
func (e *Engine) sweeping(p *peer, r ref) {
	e.countExpects(p, r, cache.Removed)
	if e.external(p) {
		e.externalOf(r).Destroyed++
	}
	if p == e.peers.leader {
		e.leaderEnded(p, r)
	}
}
