package engine

import "ctsync/engine/flow"

// Events come late, and an operation goes by the tuple: what a delete took away was perhaps not what it was meant for, but
// an entry that a packet had just made, and the event that tells of its beginning comes after the answer. An active node
// makes it again, since its packets go on; a standby asks.

// deletions are the keys that were deleted lately, as far as there is room: an event that comes this late is rare, and what
// is not found here the next dump shows.
type deletions struct {
	keys [1 << 13]deletion
	last uint32
}

// deletion is the hash of a key, and when it was deleted, in seconds of the engine; 0 is never.
type deletion struct{ hash, at uint32 }

func (d *deletions) of(hash uint32) *deletion { return &d.keys[hash%uint32(len(d.keys))] }

func (d *deletions) note(k *flow.Key, now uint32) {
	h := uint32(k.Hash(0))
	d.last = max(now, 1)
	*d.of(h) = deletion{h, d.last}
}

// lately says that k was deleted within the time that an event may be late.
func (d *deletions) lately(k *flow.Key, now uint32) bool {
	if d.last == 0 || now > d.last+eventsLate {
		return false
	}
	h := uint32(k.Hash(0))
	s := d.of(h)
	return s.hash == h && s.at != 0 && now <= s.at+eventsLate
}

// perhapsDeleted looks after own entry r, of whose beginning the kernel has just told, if an operation of ours may have
// taken it away since: at a standby also to make room for what the leader lists.
func (e *Engine) perhapsDeleted(r ref) {
	ent := e.tbl.Entry(r)
	lately := e.writer.deleted.lately(&ent.Key, e.seconds())
	switch {
	case e.role.is != Standby && lately:
		e.rewrite(r)
	case e.role.is != Standby || !lately && e.leaderLists(r) == nil:
	case ent.Kern&kFlight == 0:
		e.askWhether(r)
	case lately:
		e.dirty(r)
	}
}
