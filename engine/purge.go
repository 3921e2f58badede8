package engine

import (
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
)

// The purge at a Standby (PROTOCOL section 7). Suspects are what is in this kernel and not the leader's: own
// flows that it does not list or lists with another translation, and copies that it lists no more. They are
// deleted only when the leader could have adopted them, said so, and no packet refreshed them since: two
// dumps, purge-timeout apart, show a timeout that just ran down.
type purger struct {
	since   time.Time // every condition holds since then
	last    uint64    // own log's end at step-down
	theirs  uint64    // leader's log's end when it had all of ours
	looked  time.Time // when the last dump began that judges
	judges  bool      // the dump under way does, or else the last one
	judged  int       // how many did since
	yielded time.Time
	deleted int
	again   bool // another dump is needed to judge a suspect
}

func (p *purger) reset() { p.since, p.judged, p.theirs = time.Time{}, 0, 0 }

// looksAgain says whether a dump that begins now may judge: not before a suspect of the last one had purge-timeout.
func (p *purger) looksAgain(now time.Time, timeout time.Duration) bool {
	return !p.since.IsZero() && (p.looked.Before(p.since) || now.Sub(p.looked) >= timeout)
}

// dumpBegins decides whether a dump judges. Other causes than the purge have their dumps too, and one that failed is begun anew.
func (p *purger) dumpBegins(now time.Time, timeout time.Duration) {
	if p.judges = p.looksAgain(now, timeout); p.judges {
		p.looked, p.again = now, false
	}
}

// yieldAndPurge does a Standby's tidying.
func (e *Engine) yieldAndPurge() {
	p := &e.purge
	if e.role.is != Standby || !e.leaderSettled() || !e.dump.current {
		p.since = time.Time{}
		p.judged = 0
		return
	}
	if e.log.Live > 0 && !e.now.Before(p.yielded) {
		p.yielded = e.now.Add(yieldEvery)
		e.addJob(e.scanEntries(func(r ref) {
			if e.role.is == Standby && e.leaderSettled() {
				e.yield(r)
				e.forsake(r)
			}
		}))
	}
	e.purgeConditions()
}

// forsake drops own entry r, which left with an address, when the leader had the chance to adopt it and lists it
// not: a takeover would bring it back.
func (e *Engine) forsake(r ref) {
	own, l := e.log.Lives(r), e.leads(r)
	if own == nil || e.evict.holds(own) || e.tbl.Entry(r).Kern&(kPresent|kFlight) != 0 || l != nil && l.Live() {
		return
	}
	if p := &e.purge; !p.since.IsZero() && e.now.Sub(p.since) >= e.cfg.PurgeTimeout {
		e.endOwn(r, cache.Yielded)
	}
}

func (e *Engine) purgeConditions() {
	p, l := &e.purge, e.peers.leader
	if l.theyHave < p.last {
		p.reset()
		return
	}
	if p.theirs == 0 {
		p.theirs = l.last // what it has adopted of ours stands before this
	}
	if p.since.IsZero() {
		if l.rep.Have < p.theirs {
			return
		}
		p.since, p.judged = e.now, 0
	}
	if (p.judged < 2 || p.again) && p.looksAgain(e.now, e.cfg.PurgeTimeout) && !e.dump.running {
		e.beginDump()
	}
}

// purgeDumped counts a dump during which the conditions held.
func (e *Engine) purgeDumped() {
	p := &e.purge
	if !p.since.IsZero() && !e.dump.began.Before(p.since) && p.judges {
		p.judged++
	}
	if p.deleted > 0 {
		e.note(Note{Kind: NotePurged, Count: p.deleted})
		p.deleted = 0
	}
}

// refreshSlack is how much a timeout may differ between two dumps without a packet.
const refreshSlack = 2

// takenBack has the copy of entry r judged anew, which the leader lists no more though its flow has not ended: its filter
// refuses it now, or it could not be made in the leader's kernel.
func (e *Engine) takenBack(r ref) {
	if e.tbl.Entry(r).Kern&(kPresent|kLiberal) == kPresent|kLiberal && e.log.Lives(r) == nil {
		e.purge.again = true
	}
}

// suspect looks at one entry of a dump: deleted if it is a suspect that no packet has refreshed. What the filter refuses
// is none, unless it was written by us.
func (e *Engine) suspect(r ref, f *flow.Flow) {
	p := &e.purge
	ent := e.tbl.Entry(r)
	if e.role.is != Standby || p.since.IsZero() || e.dump.began.Before(p.since) || !e.isSuspect(r) ||
		!e.accepts(f) && ent.Kern&kLiberal == 0 {
		if ent.Kern&kSuspect != 0 {
			ent.Kern &^= kSuspect
			ent.Due = 0
		}
		return
	}
	if !p.judges {
		return
	}
	expires := e.seconds() + f.Timeout
	if ent.Kern&kSuspect == 0 || expires > ent.Due+refreshSlack {
		ent.Kern |= kSuspect
		ent.Due = max(expires, 1)
		p.again = true
		return
	}
	if e.now.Sub(p.since) < e.cfg.PurgeTimeout || ent.Kern&(kFlight|kDirty|kLater) != 0 {
		return
	}
	p.deleted++
	e.count.activity.Purged++
	e.endOwn(r, cache.Yielded)
	e.mark(r, cache.Dead, func(c *copyOf) bool { return c.Bits&cache.Doubted != 0 && !e.peers.of(c.Owner).acts(e.now) })
	ent.Kern |= kEnded
	e.sendDelete(r)
}

func (e *Engine) isSuspect(r ref) bool {
	own, l := e.log.Lives(r), e.leads(r)
	if e.evict.holds(own) || e.tbl.Entry(r).Kern&kPresent == 0 {
		return false
	}
	if l == nil || !l.Live() {
		return true
	}
	return e.ownIsThere(r, own) && own.Value.Reply != l.Value.Reply
}
