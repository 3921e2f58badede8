package engine

import "ctsync/engine/cache"

// goal is what the kernel should have of an entry.
type goal uint8

const (
	goalLeave goal = iota
	goalThere
	goalAbsent
)

// target says what the kernel should have of entry r, and which copy says so (PROTOCOL K1).
func (e *Engine) target(r ref) (goal, *copyOf) {
	own := e.log.Lives(r)
	ent := e.tbl.Entry(r)
	if e.role.is != Standby {
		switch {
		case own == nil || e.evict.holds(own):
			return goalLeave, nil
		case ent.Kern&kPresent == 0 || ent.Kern&(kRewrite|kReplace) != 0 || ent.Shape != e.shapeOf(ent, own):
			return goalThere, own
		}
		return goalLeave, nil
	}
	leader := e.leaderLists(r)
	switch {
	case leader == nil && own == nil && ent.Kern&kEnded != 0 && (e.follows() || ent.Kern&kCommit != 0):
		return goalAbsent, nil // warm, too: it would meet the packets of who has its addresses and ports now
	case e.outlived(r, own, leader):
		return goalAbsent, nil
	case !e.writes() && ent.Kern&kCommit == 0 && !e.early(r):
		return goalLeave, nil
	case leader == nil || leader.Bits&cache.Refused != 0:
		return goalLeave, nil
	case ent.Kern&(kPresent|kRewrite) == 0 && e.ranOut(r, leader):
		return goalLeave, nil
	case e.ownIsThere(r, own) && own.Value.Reply != leader.Value.Reply:
		return goalLeave, nil // a suspect
	case e.leftAlone(r):
		return goalLeave, nil
	}
	return goalThere, leader
}

// ownIsThere says that what our kernel has of entry r is own, and not what was written for the leader since own left with an
// address.
func (e *Engine) ownIsThere(r ref, own *copyOf) bool {
	ent := e.tbl.Entry(r)
	return own != nil && ent.Kern&kPresent != 0 && ent.Shape == e.shapeOf(ent, own)
}

// leftAlone says that what a hot standby's leader lists is not written at present: a packet met the copy.
func (e *Engine) leftAlone(r ref) bool {
	return e.role.is == Standby && e.leaderLists(r) != nil && e.touched(r) && !e.leaderActs()
}

// heldInDoubt says that the end of entry r waits, and that an operation of ours may have made it anew meanwhile.
func (e *Engine) heldInDoubt(r ref) bool {
	own := e.log.Lives(r)
	return own != nil && own.Bits&cache.Waiting != 0
}

// endedInDoubt says that another node told the end of own entry r while an operation of ours may have put it into our
// kernel.
func (e *Engine) endedInDoubt(r ref) bool {
	own := e.log.Lives(r)
	return own != nil && own.Bits&cache.Dead != 0 && !e.evict.holds(own)
}

// follows says that there is a leader whose word counts: it is settled.
func (e *Engine) follows() bool { return e.peers.leader != nil && e.peers.settled }

// writes says that this node keeps the leader's flows in its kernel.
func (e *Engine) writes() bool { return e.cfg.Hot && e.follows() }

// outlived says that a warm standby's kernel has a flow from its own active time in entry r, of which the leader has
// the next one, translated otherwise.
func (e *Engine) outlived(r ref, own, leader *copyOf) bool {
	ent := e.tbl.Entry(r)
	return !e.cfg.Hot && e.follows() && own == nil && leader != nil && ent.Kern&(kPresent|kCommit) == kPresent &&
		ent.Shape != e.shapeOf(ent, leader)
}

// touched says that a packet met the copy of entry r, of which the kernel knows better since than a leader
// that is not heard (PROTOCOL K8).
func (e *Engine) touched(r ref) bool { return e.log.Lives(r) == nil && e.tbl.Of(r, kernelOwner) != nil }

// leaderActs says that the leader is live and active.
func (e *Engine) leaderActs() bool { return e.peers.leader.active(e.now) }
