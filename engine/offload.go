package engine

import "ctsync/engine/flow"

// A flowtable takes the packets of a flow past its conntrack entry, whose time the kernel then prolongs by itself, a day at
// once (nf_ct_offload_timeout). A listing of such an entry shows neither timeout nor state (ctnetlink_dump_info), and an
// event that day. What another node needs is what the flow had before, since no other node has it in its
// flowtable; and that it comes into one and leaves it again is no change to tell of.
const offloaded = flow.Offload | flow.HWOffload

// besideFlowtable makes of f, which the kernel showed when asked, what it would have shown without a flowtable.
func (e *Engine) besideFlowtable(f *flow.Flow) {
	if f.Status&offloaded == 0 {
		return
	}
	f.Status &^= offloaded
	if c := e.knownAs(f); c != nil {
		f.Timeout, f.State, f.WScale, f.TCPFlags = c.Value.Timeout, c.Value.State, c.Value.WScale, c.Value.TCPFlags
		return
	}
	f.Timeout = 0 // as long as its state's lasts: see asSeen
	if f.L4 == flow.TCP {
		f.State = flow.TCPEstablished // no other gets into a flowtable (nft_flow_offload_eval)
	}
}

// knownAs is what is known of f already, or nil.
func (e *Engine) knownAs(f *flow.Flow) *copyOf {
	r := e.tbl.Find(&f.Key)
	if r == 0 {
		return nil
	}
	c := e.log.Lives(r)
	if c == nil {
		c = e.bestCopy(r)
	}
	if c == nil || c.Value.Reply != f.Reply || f.L4 == flow.TCP && c.Value.State == flow.TCPNone {
		return nil
	}
	return c
}

// eventBesideFlowtable is the same for an event: of the timeout it tells nothing.
func (e *Engine) eventBesideFlowtable(ev *flow.Event) {
	f := &ev.Flow
	if f.Status&offloaded == 0 {
		return
	}
	f.Status &^= offloaded
	if ev.Kind == flow.EventDestroy {
		return
	}
	ev.Has &^= flow.HasTimeout
	if t := e.timeouts.Of(&f.Key, &f.Value); t != 0 {
		f.Timeout = min(f.Timeout, t)
	}
}
