package engine

import (
	"fmt"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// Inspection is what an engine holds, as values: for simulations and tests, which judge it. It costs a copy
// of everything.
type Inspection struct {
	Role       Role
	Activation uint64
	Complete   bool // as the heartbeat says
	Leader     wire.Epoch
	Settled    bool
	Last       uint64
	Horizon    uint64
	Own        []Listed
	Peers      []PeerInspection

	Entries, Copies, Tombstones         int
	Dirty, Waiting, Outstanding, Failed int
	Held                                int // tombstones that wait, and flows kept although evicted
}

// Listed is one key of a log or of a replica.
type Listed struct {
	Flow      flow.Flow
	Born, Seq uint64
	Bits      cache.Bits
	Present   bool // in this node's kernel, as far as the engine knows
	Failed    bool // the kernel refused it
}

// PeerInspection is the replica of one epoch.
type PeerInspection struct {
	Name       string
	Epoch      wire.Epoch
	Role       Role
	Live       bool
	Adoptable  bool
	Have, Last uint64
	TheyHave   uint64
	Intervals  int
	Tombstones int
	Restarts   uint64
	ProvenAt   time.Time // of the last proof
	Flows      []Listed
}

// Inspect copies what e holds.
func (e *Engine) Inspect() Inspection {
	in := Inspection{
		Role: e.role.is, Activation: e.role.activation, Complete: e.complete(), Settled: e.leaderSettled(),
		Last: e.log.Last, Horizon: e.log.Horizon,
		Entries: e.tbl.Len(), Copies: e.tbl.Copies(), Tombstones: e.log.Tombs,
		Dirty: e.writer.pending(), Waiting: len(e.writer.waiting), Outstanding: e.writer.outstanding,
		Failed: e.writer.failing, Held: len(e.evict.waiting) + len(e.evict.evicted),
		Own: e.listedBy(ownOwner, e.log.Live+e.log.Tombs),
	}
	if e.peers.leader != nil {
		in.Leader = e.peers.leader.epoch
	}
	e.peers.each(func(p *peer) {
		in.Peers = append(in.Peers, PeerInspection{
			Name: p.name, Epoch: p.epoch, Role: p.role, Live: p.live(e.now), Adoptable: p.adoptable(),
			Have: p.rep.Have, Last: p.last, TheyHave: p.theyHave, Intervals: p.rep.Intervals(),
			Tombstones: p.rep.Tombs(), Restarts: p.restarts, ProvenAt: p.provenAt, Flows: e.listedBy(p.owner, p.rep.Live+p.rep.Tombs()),
		})
	})
	return in
}

// listedBy is every copy of owner, some n of them, tombstones included, in order of entry.
func (e *Engine) listedBy(owner uint8, n int) []Listed {
	all := make([]Listed, 0, n)
	for r := ref(1); r <= e.tbl.Top(); r++ {
		if !e.tbl.Used(r) {
			continue
		}
		if c := e.tbl.Of(r, owner); c != nil {
			all = append(all, e.listed(r, c))
		}
	}
	return all
}

func (e *Engine) listed(r ref, c *copyOf) Listed {
	ent := e.tbl.Entry(r)
	return Listed{
		Flow: e.told(r, c), Born: c.Born, Seq: c.Seq, Bits: c.Bits,
		Present: ent.Kern&kPresent != 0, Failed: ent.Kern&kFailed != 0,
	}
}

// Changes visits the own log's entries above after, in order; an entry that was superseded is not among them.
func (e *Engine) Changes(after uint64, visit func(Listed)) {
	for c := e.log.Next(after); c != nil; c = e.log.Next(c.Seq) {
		visit(e.listed(c.Entry(), c))
	}
}

// Position is how far one epoch's log is known here.
type Position struct {
	Epoch   wire.Epoch
	Have    uint64
	Proofs  uint64 // so far
	Leader  bool
	Settled bool // as leader
}

// Positions visits every epoch that is known, without copying what it lists.
func (e *Engine) Positions(visit func(Position)) {
	for _, p := range e.peers.list {
		if p != nil {
			leads := p == e.peers.leader && e.role.is == Standby
			visit(Position{p.epoch, p.rep.Have, p.proofs, leads, leads && e.leaderSettled()})
		}
	}
}

// Replica copies what the replica of epoch holds.
func (e *Engine) Replica(epoch wire.Epoch) []Listed {
	p := e.peers.byEpoch[epoch]
	if p == nil {
		return nil
	}
	return e.listedBy(p.owner, p.rep.Live+p.rep.Tombs())
}

// Live is the own log's end, and how many keys it lists.
func (e *Engine) Live() (last uint64, live int) { return e.log.Last, e.log.Live }

// Holds says in words what e knows of k: the marks of its entry, and every copy. For simulations.
func (e *Engine) Holds(k *flow.Key) string {
	r := e.tbl.Find(k)
	if r == 0 {
		return "nothing"
	}
	ent := e.tbl.Entry(r)
	text := "marks"
	for i, name := range markNames {
		if ent.Kern&(1<<i) != 0 {
			text += " " + name
		}
	}
	e.tbl.Each(r, func(c *copyOf) {
		owner := "own"
		switch {
		case c.Owner == kernelOwner:
			owner = "kernel's"
		case c.Owner >= firstPeer:
			p := e.peers.of(c.Owner)
			owner = fmt.Sprintf("%s %x", p.name, p.epoch[:2])
			if p == e.peers.leader {
				owner += " (leader)"
			}
		}
		text += fmt.Sprintf("; %s: mark %d born %d seq %d bits %x", owner, c.Value.Mark, c.Born, c.Seq, c.Bits)
	})
	return text
}

// markNames are the marks of an entry, in order of their bits.
var markNames = [...]string{
	"present", "dirty", "flight", "again", "gone", "later", "liberal", "rewrite",
	"replace", "failed", "no master", "no helper", "suspect", "commit", "ended", "reborn",
}
