package engine

import (
	"fmt"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
)

// counters are what Status shows and nothing decides on, but for what is remembered between Steps here.
type counters struct {
	internal, external CacheStats
	expectInternal     CacheStats
	expectExternal     CacheStats
	kernel             KernelStats
	messages           MessageStats
	activity           ActivityStats
	mismatches         uint64
	ready              Readiness
	peersLooked        time.Time
	refusedAt          time.Time // the last datagram that was refused, and for what
	refusedFor         string
}

func (c *counters) init() { c.messages.Refused = map[string]uint64{} }

// reset begins all counters anew; what is active counts as created.
func (c *counters) reset(internal, external int) {
	c.expectInternal = CacheStats{Created: c.expectInternal.Created - c.expectInternal.Destroyed}
	c.expectExternal = CacheStats{Created: c.expectExternal.Created - c.expectExternal.Destroyed}
	c.internal = CacheStats{Created: uint64(internal) - c.expectInternal.Created}
	c.external = CacheStats{Created: uint64(external) - c.expectExternal.Created}
	c.messages = MessageStats{Refused: map[string]uint64{}}
	k := &c.kernel
	k.Events, k.Overruns, k.Dumps, k.Created, k.Updated, k.Deleted, k.Retried = 0, 0, 0, 0, 0, 0, 0
}

// applied counts what a record did.
func (c *CacheStats) applied(what cache.Applied) {
	switch what {
	case cache.Added:
		c.Created++
	case cache.Changed:
		c.Updated++
	case cache.Reborn:
		c.Destroyed++
		c.Created++
	case cache.Removed:
		c.Destroyed++
	}
}

// settled counts what is active.
func (c CacheStats) settled() CacheStats {
	c.Active = int(c.Created - c.Destroyed)
	return c
}

// moveTo counts n entries that came or went as a whole.
func (c *CacheStats) moveTo(n uint64) {
	if was := c.Created - c.Destroyed; n > was {
		c.Created += n - was
	} else {
		c.Destroyed += was - n
	}
}

// recountExternal follows a change of which node's flows are the external cache: they come and go as a whole.
func (e *Engine) recountExternal() {
	expects := e.externalExpects()
	e.count.external.moveTo(uint64(e.externalLive() - expects))
	e.count.expectExternal.moveTo(uint64(expects))
}

// external says whether the flows of p count as the external cache: those of nodes that are or were active.
// A standby's own flows are nobody's truth.
func (e *Engine) external(p *peer) bool { return e.role.is == Standby && p == e.peers.leader }

// Status is all that an operator can ask about.
func (e *Engine) Status() Status {
	state, source, since, _ := e.tracker.State()
	s := Status{
		Now: e.now, Node: e.cfg.Node, Started: e.start,
		Role: e.role.is, RoleSince: e.role.since, RoleReason: e.role.reason,
		VRRP: state, VRRPSince: since, Hot: e.cfg.Hot, Ready: e.count.ready, Complete: e.complete(),
		Internal: e.count.internal, External: e.count.external, Kernel: e.count.kernel,
		Messages: e.count.messages, Activity: e.count.activity,
	}
	if !since.IsZero() {
		s.VRRPSource = source.String()
	}
	s.ExpectInternal, s.ExpectExternal = e.count.expectInternal.settled(), e.count.expectExternal.settled()
	s.Internal.Active = e.log.Live - s.ExpectInternal.Active
	s.External.Active = e.externalLive() - s.ExpectExternal.Active
	s.Young = e.young.waiting
	if e.peers.leader != nil {
		s.Leader = e.peers.leader.name
	}
	s.Messages.Refused = make(map[string]uint64, len(e.count.messages.Refused))
	for k, v := range e.count.messages.Refused {
		s.Messages.Refused[k] = v
	}
	k := &s.Kernel
	k.Pending, k.Outstanding = e.writer.pending()+len(e.writer.waiting), e.writer.outstanding
	k.Silent = e.dump.shown.silent
	if e.role.is == Standby {
		k.Suspects = e.dump.shown.suspects
	}
	k.TableMax, k.TableCount = e.cfg.TableMax, e.writer.tableCount
	k.Failed = map[string]int{}
	for errno, n := range e.writer.failures {
		k.Failed[failureReason(errno)] += n
	}
	e.peers.each(func(p *peer) { s.Peers = append(s.Peers, e.peerStatus(p)) })
	s.Verdict, s.Why = e.verdict()
	return s
}

func (e *Engine) peerStatus(p *peer) PeerStatus {
	return PeerStatus{
		Name: p.name, Epoch: fmt.Sprintf("%x", p.epoch[:4]), Role: p.role, Complete: p.complete,
		Live: p.live(e.now), Proven: p.proven(e.now), LastHeard: e.now.Sub(p.lastHeard),
		Flows: p.rep.Live, Stale: p.rep.Stale, Refused: p.refused, Have: p.rep.Have, Last: p.last,
		TheyHave: p.theyHave, OwnLast: e.log.Last, Leader: p == e.peers.leader && e.role.is == Standby,
		Restarts: p.restarts, Address: p.addr.String(), Sealed: p.keyID != 0, KeyID: p.keyID,
	}
}

// verdict is one word on the whole, and why.
func (e *Engine) verdict() (Verdict, string) {
	if !e.peers.anyLive(e.now) {
		return Alone, e.whyAlone()
	}
	if e.writer.failing > 0 {
		return Degraded, fmt.Sprintf("%d flows are not in the kernel: see the reasons below", e.writer.failing)
	}
	if n := len(e.writer.waiting); n > 0 && e.writer.paused.After(e.now) {
		return Degraded, fmt.Sprintf("the kernel's table is full, %d flows wait for room: raise net.netfilter.nf_conntrack_max", n)
	}
	if e.peers.two {
		return Degraded, "two nodes are active: " + e.activePeers() + " as well as this one; check VRRP's links"
	}
	if !e.dump.current {
		return Syncing, "reading this node's kernel table"
	}
	if e.role.is == Standby {
		return e.standbyVerdict()
	}
	behind := ""
	e.peers.each(func(p *peer) {
		if p.live(e.now) && !p.keepsUp(e.now) {
			behind = p.name
		}
	})
	if behind != "" {
		return Syncing, behind + " has not got every flow of this node yet"
	}
	return InSync, "every peer has every flow of this node"
}

// refusedLately is how long ago a refused datagram may be to say why no peer is heard: a peer is silent after two seconds.
const refusedLately = 3 * time.Second

// whyAlone tells an operator whose peer is there and is not believed from one whose peer is not.
func (e *Engine) whyAlone() string {
	if c := &e.count; c.refusedFor != "" && e.now.Sub(c.refusedAt) < refusedLately {
		return "no peer is heard, and what comes is refused: " + c.refusedFor + ": see ctsync check"
	}
	return "no peer is heard: check the sync link, the peer's ctsync and cluster-id"
}

func (e *Engine) standbyVerdict() (Verdict, string) {
	l := e.peers.leader
	switch {
	case l == nil:
		return Syncing, "no node is active"
	case !l.live(e.now):
		return Syncing, "the active node " + l.name + " is not heard"
	case !e.leaderSettled():
		return Syncing, fmt.Sprintf("%d flows of %s are here, not yet all", l.rep.Live, l.name)
	case e.cfg.Hot && !e.drained():
		return Syncing, fmt.Sprintf("%d flows are being written to the kernel", e.writer.pending())
	}
	return InSync, "every flow of " + l.name + " is here"
}

// Internal fills into with flows of the own cache from entry at on, and gives how many and where to go on; at
// the end that is 0.
func (e *Engine) Internal(at uint32, into []flow.Flow) (n int, next uint32) {
	return e.list(at, into, func(r ref) *copyOf { return e.log.Lives(r) })
}

// External is Internal for the flows heard from the leader, or, at an active node, none.
func (e *Engine) External(at uint32, into []flow.Flow) (n int, next uint32) {
	if e.role.is != Standby {
		return 0, 0
	}
	return e.list(at, into, func(r ref) *copyOf { return e.leaderLists(r) })
}

func (e *Engine) list(at uint32, into []flow.Flow, pick func(ref) *copyOf) (n int, next uint32) {
	r := ref(max(at, 1))
	for ; r <= e.tbl.Top() && n < len(into); r++ {
		if !e.tbl.Used(r) {
			continue
		}
		if c := pick(r); c != nil {
			into[n] = e.flowOf(r, c)
			n++
		}
	}
	if r > e.tbl.Top() {
		return n, 0
	}
	return n, uint32(r)
}

// restartAsked tells p to read our log again.
func (e *Engine) restartAsked(p *peer) {
	e.send.body = wire.AppendRestart(e.send.body[:0], e.log.Last)
	e.post(wire.Restart, p, e.send.body)
}
