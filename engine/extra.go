package engine

import "ctsync/engine/flow"

// extraRef names an extra in extras; 0 is none.
type extraRef uint32

// extras holds what is rare beside the table, so that the common flow stays small.
type extras struct {
	items []flow.Extra
	free  []extraRef
}

func (x *extras) put(v *flow.Extra) extraRef {
	if v == nil {
		return 0
	}
	if n := len(x.free); n > 0 {
		r := x.free[n-1]
		x.free = x.free[:n-1]
		x.items[r-1] = *v
		return r
	}
	x.items = append(x.items, *v)
	return extraRef(len(x.items))
}

// get gives the extra of r, or nil; it is valid until the next put.
func (x *extras) get(r extraRef) *flow.Extra {
	if r == 0 {
		return nil
	}
	return &x.items[r-1]
}

func (x *extras) drop(r extraRef) {
	if r != 0 {
		x.free = append(x.free, r)
	}
}

func (e *Engine) forgetValue(v *record) { e.extras.drop(v.extra) }

// setValue gives copy c the value v and, beside it, x.
func (e *Engine) setValue(c *copyOf, v *flow.Value, x *flow.Extra) {
	c.Value.Value = *v
	if x == nil {
		e.extras.drop(c.Value.extra)
		c.Value.extra = 0
		return
	}
	if c.Value.extra != 0 {
		*e.extras.get(c.Value.extra) = *x
		return
	}
	c.Value.extra = e.extras.put(x)
}

// mergeExtra is what a flow has that is rare after a kernel message that showed x of it, where it had old before.
// Both may be nil. A message always tells the helper; the master only at the beginning.
func mergeExtra(x, old *flow.Extra, has flow.Has) *flow.Extra {
	if old == nil {
		return x
	}
	m := flow.Extra{}
	if x != nil {
		m = *x
	}
	if !m.HasMaster {
		m.HasMaster, m.Master = old.HasMaster, old.Master
	}
	if has&flow.HasProtoInfo == 0 || m.VTag == [2]uint32{} {
		m.VTag = old.VTag
	}
	if has&flow.HasRare == 0 {
		keepRare(&m, old)
	}
	// What it had and has no more is all zero now, which a copy must be told.
	m.HasSeqAdj = m.HasSeqAdj || old.HasSeqAdj
	m.HasSynProxy = m.HasSynProxy || old.HasSynProxy
	m.LabelsCleared = m.Labels == [16]byte{} && (old.Labels != [16]byte{} || old.LabelsCleared)
	if m == (flow.Extra{}) {
		return nil
	}
	return &m
}

// keepRare keeps of old what x does not show.
func keepRare(x, old *flow.Extra) {
	if x.Labels == [16]byte{} {
		x.Labels = old.Labels
	}
	if !x.HasSeqAdj {
		x.HasSeqAdj, x.SeqAdj = old.HasSeqAdj, old.SeqAdj
	}
	if !x.HasSynProxy {
		x.HasSynProxy, x.SynProxy = old.HasSynProxy, old.SynProxy
	}
}

// learnRare takes from the kernel's answer what is rare of own, of whose beginning we did not hear: a message on a change
// leaves out what has not changed.
func (e *Engine) learnRare(r ref, own *copyOf, f *flow.Flow) {
	old := e.extras.get(own.Value.extra)
	if !showsMore(f.Extra, old) {
		return
	}
	v, x := own.Value.Value, mergeExtra(f.Extra, old, 0)
	e.setValue(e.log.Put(r, false), &v, x)
}

// showsMore says whether a dump shows something rare in x that old does not have. That labels are missing
// says nothing: this kernel may have no rule that uses them.
func showsMore(x, old *flow.Extra) bool {
	if x == nil {
		return false
	}
	if old == nil {
		old = &flow.Extra{}
	}
	return x.Labels != [16]byte{} && x.Labels != old.Labels || x.Helper[0] != 0 && x.Helper != old.Helper ||
		x.HasMaster && !old.HasMaster || x.HasSeqAdj && x.SeqAdj != old.SeqAdj ||
		x.HasSynProxy && x.SynProxy != old.SynProxy || x.VTag != [2]uint32{} && x.VTag != old.VTag
}

// What a kernel's entry may have that stays there when it is updated without it.
const (
	rareLabels   uint8 = 1 << iota
	rareAdjusted       // its sequence numbers
)

// noteRare notes that our kernel's entry has x, as it told or was told. Only a create of ours makes sure that it has nothing: what
// the kernel tells of a new one may be older than our last update, which met that.
func noteRare(ent *entry, x *flow.Extra) {
	if x == nil {
		return
	}
	rare := ent.Rare()
	if x.Labels != [16]byte{} {
		rare |= rareLabels
	}
	if x.HasSeqAdj {
		rare |= rareAdjusted
	}
	ent.SetRare(rare)
}

// flowOf is the flow that copy c of entry r describes, as it is now.
func (e *Engine) flowOf(r ref, c *copyOf) flow.Flow {
	f := e.told(r, c)
	f.Timeout = e.timeoutOf(r, c)
	return f
}

// told is the flow of copy c of entry r as its log tells it.
func (e *Engine) told(r ref, c *copyOf) flow.Flow {
	f := flow.Flow{Key: e.tbl.Entry(r).Key, Value: c.Value.Value}
	if x := e.extras.get(c.Value.extra); x != nil {
		cp := *x
		f.Extra = &cp
	}
	return f
}
