package engine

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"ctsync/engine/wire"
)

// peer is one epoch of another node: its replica, what it said of itself and what it knows of us.
type peer struct {
	name  string
	epoch wire.Epoch
	owner uint8
	rep   *replica
	addr  netip.AddrPort

	met       time.Time // when it was first heard
	duplicate bool      // another run of its name is heard at the same time, and that was told

	trusted bool // it has answered a challenge, and not been silent for long since
	keyID   uint8
	opens   [256]bool      // ids of the keys it has
	ciphers []*wire.Cipher // of its datagrams, by our keys

	// What its heartbeats say.
	lastHeard  time.Time
	beat       uint64 // counter of the newest one
	role       Role
	activation uint64 // above 0: was active once
	activeFrom time.Time
	complete   bool
	leaving    bool
	hot        bool
	last       uint64 // end of its log
	theyHave   uint64 // of ours
	theyKnow   uint64 // the end of our log when they had it last, or when they came
	caughtUp   time.Time
	fresh      bool // the newest one was made after we spoke
	// hardOfHearing: what it heard of us last is old, so that some of what we said since was lost.
	hardOfHearing bool

	// Replication.
	window   window
	timeline timeline
	data     uint64 // highest counter of a DATA
	answers  bool   // the present one is an answer
	floor    uint64 // DATA below this counter is from before a restart
	base     uint64 // its log's end when we began with nothing
	expects  int    // expectations in its replica
	provenAt time.Time
	proofs   uint64
	whole    time.Time // when a heartbeat showed last that nothing of its log is missing
	ask      asking
	trip     time.Duration // from a question to its answer, the shortest of late; 0: not known
	give     giving
	restarts uint64
	restart  backoff
	refused  int
	over     bool // a memory bound keeps its records out

	// Ownership.
	marked   bool   // some copy has the adopted or dead mark
	cleared  bool   // the marks were cleared since it became leader
	mergeTo  uint64 // active: adopt from it up to here, then it is merged
	merging  bool
	stepped  time.Time // by when a standby had stepped down
	told     uint64    // end of its log as its newest heartbeat says: what it listed in that role
	actsPast uint64    // end of our log, at least, when it said last that it acts
	early    []held    // own flows whose end it told, as a standby as far as its heartbeats said
	wasLive  bool
	wasProof bool
}

const (
	liveFor     = 3 * time.Second // PROTOCOL section 5: live is a heartbeat within this
	forgetAfter = 10 * time.Minute
	maxNames    = 16
	maxEpochs   = 2 // of one name
)

func (p *peer) live(now time.Time) bool { return now.Sub(p.lastHeard) < liveFor && !p.leaving }

// acts says that it decides, as far as is heard; active that it has done with taking over, too.
func (p *peer) acts(now time.Time) bool   { return p.role != Standby && p.live(now) }
func (p *peer) active(now time.Time) bool { return p.role == Active && p.live(now) }

// proven says that all of its flows are here, by digest, and that it knew us when it said so (PROTOCOL R7).
func (p *peer) proven(now time.Time) bool {
	return !p.provenAt.IsZero() && now.Sub(p.provenAt) < liveFor && !p.leaving
}

// keepsUp says that it has, or had within the last seconds, every flow of this node.
func (p *peer) keepsUp(now time.Time) bool { return now.Sub(p.caughtUp) <= liveFor }

// adoptable says that its flows may become ours (PROTOCOL O2): it was active once.
func (p *peer) adoptable() bool { return p.activation > 0 }

// actedUntil is when it can have been active last: a node that is not heard counts as one that was not from then on.
func (p *peer) actedUntil() time.Time {
	if p.role == Standby {
		return p.stepped
	}
	return p.lastHeard
}

// backoff spaces what must not be repeated at once.
type backoff struct {
	next  time.Time
	delay time.Duration
}

func (b *backoff) ready(now time.Time, first, most time.Duration) bool {
	if now.Before(b.next) {
		return false
	}
	b.delay = min(max(b.delay*2, first), most)
	b.next = now.Add(b.delay)
	return true
}

// peerSet is every epoch that is known, and the leader among them.
type peerSet struct {
	byEpoch map[wire.Epoch]*peer
	list    []*peer // in order of owner; nil where none is
	leader  *peer
	settled bool // the leader was proven as active since it became our leader
	two     bool // two nodes are active, and were for long enough to say so
	twoFrom time.Time
	alone   time.Time // this node is the only active one since
	marked  bool      // ends that others told are noted with own flows that our kernel has
	pruned  time.Time // the own log, last
}

func (s *peerSet) init() { s.byEpoch = map[wire.Epoch]*peer{} }

func (s *peerSet) of(owner uint8) *peer { return s.list[owner-firstPeer] }

// each gives the peers in order of owner.
func (s *peerSet) each(visit func(*peer)) {
	for _, p := range s.list {
		if p != nil {
			visit(p)
		}
	}
}

// any says whether is holds for one of the peers.
func (s *peerSet) any(is func(*peer) bool) bool {
	return slices.ContainsFunc(s.list, func(p *peer) bool { return p != nil && is(p) })
}

func (s *peerSet) anyLive(now time.Time) bool {
	return s.any(func(p *peer) bool { return p.live(now) })
}

// anyActs says that a node besides this one decides.
func (s *peerSet) anyActs(now time.Time) bool {
	return s.any(func(p *peer) bool { return p.acts(now) })
}

func (s *peerSet) restartLeases(now time.Time) {
	s.each(func(p *peer) {
		p.provenAt = time.Time{}
		if now.Sub(p.lastHeard) < forgetAfter {
			p.lastHeard = now
		}
	})
}

// known makes room for a new epoch of name and adds it; nil if a bound forbids that (PROTOCOL R9).
func (e *Engine) newPeer(epoch wire.Epoch, name string, from netip.AddrPort) *peer {
	s := &e.peers
	names := map[string][]*peer{}
	s.each(func(p *peer) { names[p.name] = append(names[p.name], p) })
	for _, q := range names[name] {
		if q.addr.Addr() == from.Addr() {
			q.leaving = true // a node has one run at a time; if this is another node after all, it is heard again
		}
	}
	if same := names[name]; len(same) >= maxEpochs {
		least := e.leastNeeded(same)
		if least.live(e.now) {
			return nil
		}
		e.dropPeer(least)
	} else if len(same) == 0 && len(names) >= maxNames {
		return nil
	}
	i := 0
	for i < len(s.list) && s.list[i] != nil {
		i++
	}
	if i == len(s.list) {
		s.list = append(s.list, nil)
	}
	p := &peer{name: name, epoch: epoch, owner: firstPeer + uint8(i), addr: from, theyKnow: e.log.Last}
	p.rep = newReplica(e, p)
	s.list[i] = p
	s.byEpoch[epoch] = p
	e.greet(p, names[name])
	return p
}

// leastNeeded is the run of a node that can be forgotten first: one that was never active before one that was,
// the leader last of all, and among equals the one not heard for longest.
func (e *Engine) leastNeeded(same []*peer) *peer {
	need := func(p *peer) int {
		switch {
		case p.live(e.now):
			return 3
		case p == e.peers.leader:
			return 2
		case p.adoptable():
			return 1
		}
		return 0
	}
	return slices.MinFunc(same, func(p, q *peer) int {
		return cmp.Or(cmp.Compare(need(p), need(q)), p.lastHeard.Compare(q.lastHeard))
	})
}

func (e *Engine) greet(p *peer, same []*peer) {
	p.met = e.now
	if len(same) > 0 {
		e.note(Note{Kind: NotePeerReplaced, Peer: p.name})
	}
}

// duplicated notes, once, that two nodes have one name: a run that another has followed is still heard.
func (e *Engine) duplicated(p *peer) {
	if p.duplicate {
		return
	}
	e.peers.each(func(q *peer) {
		if q != p && q.name == p.name && q.met.After(p.met) && e.now.Sub(q.met) > time.Second && q.live(e.now) {
			p.duplicate = true
		}
	})
	if p.duplicate {
		e.note(Note{Kind: NoteDuplicate, Peer: p.name})
	}
}

// dropPeer forgets an epoch and all that it listed.
func (e *Engine) dropPeer(p *peer) {
	p.rep.Clear(e.release)
	delete(e.peers.byEpoch, p.epoch)
	e.peers.list[p.owner-firstPeer] = nil
	if e.peers.leader == p {
		e.peers.leader, e.peers.settled = nil, false
		e.recountExternal()
	}
}

// peerTimers notes who has fallen silent, and forgets old epochs (PROTOCOL O7).
func (e *Engine) peerTimers() {
	active := 0
	e.peers.each(func(p *peer) {
		if live := p.live(e.now); live != p.wasLive {
			p.wasLive = live
			e.peerLiveness(p, live)
		}
		if proof := p.proven(e.now); proof != p.wasProof {
			p.wasProof = proof
			e.peerProof(p, proof)
		}
		if e.now.Sub(p.lastHeard) < twoActiveAfter && !p.leaving && p.role != Standby {
			active++
		}
		e.askFor(p)
	})
	e.twoActive()
	e.alone(active)
	if !e.now.Before(e.peers.pruned.Add(beatEvery)) {
		e.peers.pruned = e.now
		e.pruneLog()
	}
	if e.now.Before(e.peersNext()) {
		return
	}
	e.count.peersLooked = e.now
	e.forgetPeers()
	e.retryRefused()
}

func (e *Engine) peersNext() time.Time { return e.count.peersLooked.Add(time.Second) }

func (e *Engine) peerLiveness(p *peer, live bool) {
	if live {
		e.note(Note{Kind: NotePeerFound, Peer: p.name})
		return
	}
	n := Note{Kind: NotePeerLost, Peer: p.name, Duration: e.now.Sub(p.lastHeard)}
	if p.leaving {
		n.Reason = "it stopped"
	}
	e.note(n)
	if e.role.is != Standby && p.role != Standby {
		e.mergeFrom(p, p.last) // it was active and is silent (PROTOCOL O8)
	}
}

func (e *Engine) peerProof(p *peer, proof bool) {
	if proof {
		e.note(Note{Kind: NoteInSync, Peer: p.name, Count: p.rep.Live})
		return
	}
	reason := "not heard"
	if p.live(e.now) {
		reason = "its flows are not all here"
	}
	e.note(Note{Kind: NoteOutOfSync, Peer: p.name, Reason: reason})
}

// pruneLog forgets tombstones that have gone out and every peer knows (PROTOCOL R4).
func (e *Engine) pruneLog() {
	upTo := e.send.sent
	e.peers.each(func(p *peer) {
		if e.now.Sub(p.lastHeard) >= forgetAfter || e.superseded(p) {
			return
		}
		upTo = min(upTo, p.theyHave)
		if e.role.is != Standby && p.adoptable() && p.rep.Have < p.last {
			upTo = min(upTo, e.role.from) // what comes late may have ended here
		}
	})
	const budget = 65536
	e.log.Prune(upTo, e.cfg.TableMax, budget, func(r ref) { e.release(r) })
}

// superseded says that the node of p runs anew, and that the new run is proven and complete.
func (e *Engine) superseded(p *peer) bool {
	if p.live(e.now) {
		return false
	}
	done := false
	e.peers.each(func(q *peer) {
		done = done || q != p && q.name == p.name && q.live(e.now) && q.complete && q.proven(e.now)
	})
	return done
}

// forgetPeers drops the replicas of epochs that are over, once nobody can need them: at a Standby whose
// leader has been proven and complete for purge-timeout, at an active node those that run anew.
func (e *Engine) forgetPeers() {
	s := &e.peers
	if !e.settledLong() {
		return
	}
	s.each(func(p *peer) {
		if p == s.leader || p.live(e.now) || p.merging || e.hasJob(jobAdopt) {
			return
		}
		if e.superseded(p) || e.role.is == Standby && e.now.Sub(p.lastHeard) > forgetAfter {
			e.dropPeer(p)
		}
	})
}

func (e *Engine) settledLong() bool {
	if e.role.is == Active {
		return e.dump.current && e.now.Sub(e.role.since) > e.cfg.PurgeTimeout
	}
	return e.role.is == Standby && e.leaderSettled() && !e.purge.since.IsZero() && e.now.Sub(e.purge.since) > e.cfg.PurgeTimeout
}
