package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

func allHelpers(c *Config) { c.Filter.AllHelpers = true }

// announced is an expectation of master, for its connection number i.
func announced(master flow.Flow, i int) flow.Flow {
	f := conn(i, noNAT)
	f.Kind, f.Status, f.State = flow.KindExpect, 0, 0
	f.Extra = &flow.Extra{HasMaster: true, Master: master.Key, Helper: [16]byte{'f', 't', 'p'}}
	return f
}

// TestExpectation: it goes the way of a flow, and brings the sequence adjustment of its master along, of which no
// event told.
func TestExpectation(t *testing.T) {
	p := activeAndStandby(t, allHelpers)
	master := p.packet(p.a, conn(21, noNAT))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 21")
	adjusted := master
	adjusted.Extra = &flow.Extra{HasSeqAdj: true, SeqAdj: [2]flow.SeqAdj{{Pos: 1, After: 5}}}
	p.a.kernel[master.Key] = adjusted
	x := p.packet(p.a, announced(master, 20))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 20", "update 20", "update 21")
	if got := p.b.kernel[master.Key].Extra; got == nil || got.SeqAdj != adjusted.Extra.SeqAdj {
		t.Errorf("master %+v", got)
	}
	st := p.b.e.Status()
	if st.External.Active != 1 || st.ExpectExternal.Active != 1 {
		t.Errorf("%d flows, %d expectations", st.External.Active, st.ExpectExternal.Active)
	}
	p.event(p.a, flow.EventDestroy, x)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("delete 20")
	if st := p.a.e.Status(); st.Internal.Active != 1 || st.ExpectInternal.Active != 0 || st.ExpectInternal.Created != 1 {
		t.Errorf("%+v, %+v", st.Internal, st.ExpectInternal)
	}
}

// TestExpectationOfTranslated: what the expectation's master is translated to counts for the filter, not the
// virtual address that it was sent to.
func TestExpectationOfTranslated(t *testing.T) {
	p := activeAndStandby(t, allHelpers, func(c *Config) {
		c.Filter.Ignore = []netip.Prefix{netip.MustParsePrefix("198.18.0.1/32")}
	})
	master := conn(21, noNAT)
	master.Reply.Src = flow.Addr{10, 0, 0, 80}
	p.packet(p.a, master)
	p.packet(p.a, announced(master, 20))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 20", "create 21", "update 20")
}

// TestExpectationBeforeItsMaster: by the first packet of a flow, which is told of when it has left.
func TestExpectationBeforeItsMaster(t *testing.T) {
	p := activeAndStandby(t, allHelpers)
	master := conn(21, noNAT)
	gone := p.packet(p.a, announced(master, 19))
	p.packet(p.a, announced(master, 20))
	p.event(p.a, flow.EventDestroy, gone)
	p.packet(p.a, announced(conn(22, noNAT), 18))
	p.advance(10 * time.Millisecond)
	p.packet(p.a, master)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 20", "create 21", "update 20")
	if n := len(p.a.e.orphans); n != 1 {
		t.Errorf("%d expectations wait for a master", n)
	}
	p.advance(2 * time.Second)
	p.packet(p.a, announced(conn(22, noNAT), 17))
	if n := len(p.a.e.orphans); n != 1 {
		t.Errorf("%d expectations wait for a master", n)
	}
}

// TestRegistration: the kernel makes SIP's expectation active, for another time, without a word. The standby's is
// replaced, since the kernel cannot be told; and follows again when the phone registers once more.
func TestRegistration(t *testing.T) {
	p := activeAndStandby(t, allHelpers)
	master := p.packet(p.a, conn(21, noNAT))
	x := announced(master, 20)
	x.Extra.Expect.Flags, x.Timeout = flow.ExpectPermanent|flow.ExpectInactive, 180
	p.packet(p.a, x)
	p.advance(20 * time.Millisecond)
	p.b.wantOps("create 20", "create 21", "update 20")
	agreed := x
	agreed.Timeout, agreed.Extra = 3600, &flow.Extra{HasMaster: true, Master: master.Key, Helper: x.Extra.Helper}
	agreed.Extra.Expect.Flags = flow.ExpectPermanent
	p.advance(time.Second)
	p.a.kernel[x.Key] = agreed
	p.advance(2 * time.Second)
	p.b.wantOps("create 20", "delete 20", "update 20")
	if got := p.b.kernel[x.Key]; got.Timeout != 3600 || got.Extra.Expect.Flags != flow.ExpectPermanent {
		t.Errorf("%d s, flags %d", got.Timeout, got.Extra.Expect.Flags)
	}
	p.advance(10 * time.Second)
	p.event(p.a, flow.EventDestroy, agreed)
	p.packet(p.a, x)
	p.advance(20 * time.Millisecond)
	p.b.wantOps("create 20", "delete 20", "update 20")
	p.a.kernel[x.Key] = agreed
	p.advance(100 * time.Millisecond)
	p.b.wantOps("create 20", "delete 20", "update 20")
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.settle()
	p.a.ops, p.b.ops = nil, nil
	if got := p.b.kernel[x.Key]; got.Timeout != 3600 || got.Extra.Expect.Flags != flow.ExpectPermanent {
		t.Errorf("after the takeover %d s, flags %d", got.Timeout, got.Extra.Expect.Flags)
	}
}

// TestEvictionTakesExpectationsAlong: the kernel removes what a flow announced when it removes the flow, as it does with every
// masqueraded one when the address leaves. Neither is an end; without that, both are.
func TestEvictionTakesExpectationsAlong(t *testing.T) {
	for _, c := range []struct {
		name, order string
		helper      string
		leaves      bool
	}{
		{"address first", "amx", "ftp", true}, {"flow first", "mxa", "ftp", true}, {"in between", "max", "ftp", true},
		{"PPTP", "mxa", "pptp", true}, {"an end", "mx", "ftp", false}, {"an end of PPTP", "mx", "pptp", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, allHelpers)
			p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
			p.notice(p.a, vrrp.Master)
			p.notice(p.b, vrrp.Backup)
			p.advance(time.Second)
			master := p.packet(p.a, conn(1, vip))
			x := announced(master, 20)
			copy(x.Extra.Helper[:], c.helper+"\x00")
			both := []int{1, 20}
			if c.helper == "pptp" {
				x.L4 = flow.GRE
				both = []int{0, 1} // its source's key is left open
			}
			p.packet(p.a, x)
			p.advance(100 * time.Millisecond)
			p.b.wantKernel(both...)
			for _, what := range c.order {
				switch what {
				case 'a':
					p.tell(p.a, &Addresses{})
				case 'm':
					p.event(p.a, flow.EventDestroy, master)
				case 'x':
					p.event(p.a, flow.EventDestroy, x)
				}
			}
			if !c.leaves {
				p.advance(time.Second)
				p.b.wantKernel()
				p.a.ops, p.b.ops = nil, nil
				return
			}
			p.notice(p.a, vrrp.Backup)
			p.advance(50 * time.Millisecond)
			p.notice(p.b, vrrp.Master)
			p.advance(2 * time.Second)
			p.b.wantRole(Active)
			p.b.wantKernel(both...)
			p.a.wantKernel(both...) // back as copies
			p.a.ops, p.b.ops = nil, nil
		})
	}
}

// TestEvictionThatADumpShows: the events of both are lost, and the expectation's entry is compared first.
func TestEvictionThatADumpShows(t *testing.T) {
	p := newPair(t, allHelpers)
	p.tell(p.a, &Addresses{Addrs: []netip.Addr{vipNet}})
	p.notice(p.a, vrrp.Master)
	p.notice(p.b, vrrp.Backup)
	p.advance(time.Second)
	before := p.packet(p.a, conn(2, noNAT))
	master := p.packet(p.a, conn(1, vip))
	p.advance(100 * time.Millisecond)
	p.event(p.a, flow.EventDestroy, before)
	p.advance(time.Minute)
	x := p.packet(p.a, announced(master, 20)) // in the place of what was before its master
	p.advance(100 * time.Millisecond)
	if p.a.e.tbl.Find(&x.Key) > p.a.e.tbl.Find(&master.Key) {
		t.Fatal("the master is compared first: the test is none")
	}
	p.b.ops = nil
	p.b.wantKernel(1, 20)
	p.tell(p.a, &KernelEvents{Lost: true})
	delete(p.a.kernel, master.Key)
	delete(p.a.kernel, x.Key)
	p.tell(p.a, &Addresses{})
	p.advance(2 * time.Second)
	p.notice(p.a, vrrp.Backup)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.b.wantKernel(1, 20)
	p.a.ops, p.b.ops = nil, nil
}

// TestExpectationsOff: without expect-sync nothing is said of them.
func TestExpectationsOff(t *testing.T) {
	p := activeAndStandby(t)
	master := p.packet(p.a, conn(21, noNAT))
	p.packet(p.a, announced(master, 20))
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 21")
}

// TestRarePartsOfAMessage: what a message leaves out is as it was, unless it shows all that there is.
func TestRarePartsOfAMessage(t *testing.T) {
	adjusted, proxied := [2]flow.SeqAdj{{Pos: 1}}, flow.SynProxy{ISN: 1}
	had := flow.Extra{Labels: [16]byte{1}, Helper: [16]byte{'x'}, HasMaster: true, HasSeqAdj: true, SeqAdj: adjusted,
		HasSynProxy: true, SynProxy: proxied, VTag: [2]uint32{1, 2}}
	cleared := flow.Extra{LabelsCleared: true}
	for _, c := range []struct {
		name   string
		shown  *flow.Extra
		before *flow.Extra
		has    flow.Has
		want   *flow.Extra
	}{
		{"nothing before", &had, nil, 0, &had},
		{"nothing shown", nil, &had, 0, &flow.Extra{Labels: [16]byte{1}, HasMaster: true,
			HasSeqAdj: true, SeqAdj: adjusted, HasSynProxy: true, SynProxy: proxied, VTag: [2]uint32{1, 2}}},
		{"nothing there", nil, &had, flow.HasRare, &flow.Extra{HasMaster: true, HasSeqAdj: true, HasSynProxy: true, VTag: [2]uint32{1, 2}, LabelsCleared: true}},
		{"other labels", &flow.Extra{Labels: [16]byte{2}}, &cleared, 0, &flow.Extra{Labels: [16]byte{2}}},
		{"still cleared", nil, &cleared, 0, &cleared},
	} {
		if d := cmp.Diff(c.want, mergeExtra(c.shown, c.before, c.has)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// labelledFlow is a flow that a standby has, with labels.
func labelledFlow(t *testing.T) (*pair, flow.Flow) {
	t.Helper()
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.Extra = &flow.Extra{Labels: [16]byte{1}}
	p.packet(p.a, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 1")
	return p, f
}

// labelsOf are the labels of f, zero if it has none.
func labelsOf(f flow.Flow) (labels [16]byte) {
	if f.Extra != nil {
		labels = f.Extra.Labels
	}
	return labels
}

// TestRebornWithoutLabels: what the incarnation before had that is rare does not stay at the standby.
func TestRebornWithoutLabels(t *testing.T) {
	p, f := labelledFlow(t)
	f.Extra = nil
	p.event(p.a, flow.EventDestroy, f)
	p.packet(p.a, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 1", "delete 1")
	p.event(p.a, flow.EventUpdate, f)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("update 1")
}

// TestRebornInOneReceive: the end of one incarnation and the beginning of the next come in two datagrams, read together.
func TestRebornInOneReceive(t *testing.T) {
	for _, before := range []*flow.Extra{nil, {Labels: [16]byte{1}}} {
		p := activeAndStandby(t)
		f := conn(1, noNAT)
		f.Extra = before
		p.packet(p.a, f)
		p.advance(10 * time.Millisecond)
		p.b.wantOps("create 1")
		p.hold = func(from *fake, _ wire.Type) bool { return from == p.a }
		p.event(p.a, flow.EventDestroy, f)
		p.advance(10 * time.Millisecond)
		f.Extra, f.Status = nil, flow.Confirmed
		p.packet(p.a, f)
		p.advance(10 * time.Millisecond)
		p.hold = nil
		p.releaseTogether(p.b)
		p.advance(10 * time.Millisecond)
		p.b.wantOps("create 1", "delete 1")
	}
}

// TestOtherIncarnationsLabels: a node that steps back has a connection of its own under a key that the other one has begun
// anew. What is written over it is not labelled like it.
func TestOtherIncarnationsLabels(t *testing.T) {
	p := activeAndStandby(t)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	f := conn(1, noNAT)
	f.Extra = &flow.Extra{Labels: [16]byte{1}}
	p.packet(p.a, f)
	f.Extra = nil
	p.packet(p.b, f)
	p.advance(time.Second)
	p.notice(p.a, vrrp.Backup)
	p.advance(3 * time.Second)
	p.a.wantOps("update 1")
	p.b.wantOps("update 1")
	if x := labelsOf(p.a.kernel[f.Key]); x != [16]byte{} {
		t.Errorf("labelled %v, and the leader's is not", x)
	}
}

// TestOtherTranslationsLabels: what an event tells otherwise translated is another connection, the beginning of which was lost:
// it is not labelled like the one before.
func TestOtherTranslationsLabels(t *testing.T) {
	p, f := labelledFlow(t)
	other := conn(1, vip)
	p.event(p.a, flow.EventUpdate, other)
	p.advance(10 * time.Millisecond)
	p.b.wantOps("create 1", "delete 1")
	if x := labelsOf(p.b.kernel[f.Key]); x != [16]byte{} {
		t.Errorf("labelled %v", x)
	}
}

// TestAnUpdateMetTheNextOne: what an active node writes meets the next connection of the tuple, which is not labelled.
func TestAnUpdateMetTheNextOne(t *testing.T) {
	p, f := labelledFlow(t)
	p.a.late = everything
	p.a.e.rewrite(p.a.e.tbl.Find(&f.Key))
	p.tell(p.a, &Tick{})
	p.a.wantOps("update 1")
	labelled := f
	p.event(p.a, flow.EventDestroy, f)
	f.Extra = nil
	p.packet(p.a, f)
	p.a.kernel[f.Key] = labelled // the update came between
	p.a.answer()
	p.advance(time.Second)
	p.a.wantOps("update 1")
	if x := labelsOf(p.a.kernel[f.Key]); x != [16]byte{} {
		t.Errorf("labelled %v", x)
	}
	p.b.ops = nil
}

// TestOwnFlowAtAStandby: a node that stepped back keeps what it has of its own in its kernel, labels too, as long as it lists it, though
// the leader has begun another one under that key. What is flushed is the leader's.
func TestOwnFlowAtAStandby(t *testing.T) {
	p := activeAndStandby(t)
	p.notice(p.b, vrrp.Master)
	p.advance(time.Second)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data } // so that a does not yield it
	f := conn(1, noNAT)
	f.Mark, f.Extra = 1, &flow.Extra{Labels: [16]byte{1}}
	p.packet(p.a, f)
	other := f
	other.Mark, other.Extra = 2, nil
	p.packet(p.b, other)
	p.advance(time.Second)
	p.notice(p.a, vrrp.Backup)
	p.advance(2 * time.Second)
	p.a.wantOps("update 1")
	if got := p.a.kernel[f.Key]; got.Mark != 1 || labelsOf(got) != f.Extra.Labels {
		t.Errorf("mark %d, %v", got.Mark, got.Extra)
	}
	p.tell(p.a, &Command{Verb: VerbFlushInternal})
	p.advance(time.Second)
	p.a.wantOps("update 1")
	if got := p.a.kernel[f.Key]; got.Mark != 2 || labelsOf(got) != [16]byte{} {
		t.Errorf("mark %d, %v", got.Mark, got.Extra)
	}
	p.b.ops = nil
}

// TestADumpWithoutLabels: what the kernel shows without labels, and was never told any, has none, whatever the node had listed whose
// flow was taken over (sim seed 8508).
func TestADumpWithoutLabels(t *testing.T) {
	p := activeAndStandby(t)
	f := p.packet(p.a, conn(1, noNAT))
	p.advance(time.Second)
	own := p.a.e.log.Lives(p.a.e.tbl.Find(&f.Key))
	p.a.e.setValue(own, &own.Value.Value, &flow.Extra{Labels: [16]byte{1}})
	f.Mark = 2
	p.a.kernel[f.Key] = f
	p.tell(p.a, &Command{Verb: VerbResync})
	p.advance(time.Second)
	if l := p.a.e.Inspect().Own[0].Flow; l.Mark != 2 || labelsOf(l) != [16]byte{} {
		t.Errorf("mark %d, %v", l.Mark, l.Extra)
	}
	p.b.ops = nil
}

// TestHeardOfByAChange: what is rare of a flow of which a change is heard first, while the table is read, is what the table shows.
func TestHeardOfByAChange(t *testing.T) {
	p := activeAndStandby(t)
	f := conn(1, noNAT)
	f.Extra = &flow.Extra{Labels: [16]byte{1}}
	p.a.kernel[f.Key] = f
	p.tell(p.a, &Command{Verb: VerbResync})
	changed := f
	changed.Extra = nil
	p.hears(p.a, flow.EventUpdate, changed, flow.HasReply|flow.HasStatus|flow.HasProtoInfo|flow.HasMark|flow.HasTimeout)
	p.advance(time.Second)
	if l := p.a.e.Inspect().Own[0].Flow; labelsOf(l) != f.Extra.Labels {
		t.Errorf("%v", l.Extra)
	}
	if x := labelsOf(p.b.kernel[f.Key]); x != f.Extra.Labels {
		t.Errorf("at the standby %v", x)
	}
	p.a.ops, p.b.ops = nil, nil
}

// TestUnwrittenAtATakeover: what the standby was about to write of the leader's flow is written as it takes over: the kernel has an older
// mark, or another incarnation.
func TestUnwrittenAtATakeover(t *testing.T) {
	for _, reborn := range []bool{false, true} {
		p, f := labelledFlow(t)
		p.hold = func(from *fake, _ wire.Type) bool { return from == p.a }
		f.Mark = 2
		if reborn {
			p.event(p.a, flow.EventDestroy, f)
			f.Extra = nil
			p.packet(p.a, f)
		} else {
			p.event(p.a, flow.EventUpdate, f)
		}
		p.advance(50 * time.Millisecond)
		p.hold = nil
		p.b.e.writer.outstanding += maxOutstanding // the writer does not get to it
		p.releaseTogether(p.b)
		p.b.e.writer.outstanding -= maxOutstanding
		p.b.wantOps()
		p.swap(p.a, p.b)
		p.b.wantRole(Active)
		if got := p.b.kernel[f.Key]; got.Mark != 2 || reborn && labelsOf(got) != [16]byte{} {
			t.Errorf("reborn %v: mark %d, %v", reborn, got.Mark, got.Extra)
		}
		p.a.ops, p.b.ops = nil, nil
	}
}

// TestMasterLaterInARepair: a repair goes by what changed last, so that a master may come after its child.
func TestMasterLaterInARepair(t *testing.T) {
	p := activeAndStandby(t)
	p.lose = func(from *fake, typ wire.Type) bool { return from == p.a && typ == wire.Data }
	master, child := conn(21, noNAT), conn(20, noNAT)
	child.Extra = &flow.Extra{HasMaster: true, Master: master.Key}
	p.packet(p.a, master)
	p.packet(p.a, child)
	for i := range 6000 {
		p.packet(p.a, conn(1000+i, noNAT))
	}
	p.event(p.a, flow.EventUpdate, master)
	p.advance(50 * time.Millisecond)
	p.lose = nil
	p.advance(3 * time.Second)
	if x := p.b.kernel[child.Key].Extra; x == nil || !x.HasMaster {
		t.Errorf("the related flow came without its master: %v", x)
	}
	p.b.ops = nil
}
