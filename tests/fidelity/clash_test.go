package fidelity

import (
	"testing"

	"ctsync/engine/flow"
)

// TestOneReplyTuple: hosts behind one public address that speak ESP to the same remote one have the same reply tuple, of which a
// kernel can have one. Whose turn it is changes at once, to and fro: the standby has the one that the active node has.
func TestOneReplyTuple(t *testing.T) {
	p := newPair(t, "hot", rules+labelRule, rules+labelRule).start()
	var ks kinds
	tunnel := func(host string) flow.Flow {
		f := ks.base(flow.IPv4, flow.ESP, 0, 0)
		f.Src, f.Dst = addr(host), addr("203.0.113.77")
		f.SrcL4, f.DstL4 = 0, 0
		f.Reply = f.Inverse()
		return snat(f, "198.51.100.1", 0)
	}
	hosts := []flow.Flow{tunnel("10.66.0.1"), tunnel("10.66.0.2"), tunnel("10.66.0.3")}
	p.a.write(flow.OpCreate, hosts[0])
	for turn := range 30 {
		old, next := hosts[turn%3], hosts[(turn+1)%3]
		p.a.write(flow.OpDelete, flow.Flow{Key: old.Key})
		p.a.write(flow.OpCreate, next)
		if turn%10 != 9 {
			continue
		}
		p.b.await("the tunnel", func() bool {
			table := p.b.library()
			return len(table) == 1 && table[keyName(&next)] != nil
		})
	}
}

// TestMasterGone: a related flow outlives its master, and a standby that comes later gets it without.
func TestMasterGone(t *testing.T) {
	p := newPair(t, "hot", rules+labelRule, rules+labelRule)
	var ks kinds
	master := ks.base(flow.IPv4, flow.TCP, 2100, 21)
	child := ks.base(flow.IPv4, flow.TCP, 20, 2101)
	child.Extra.HasMaster, child.Extra.Master = true, master.Key
	child.Status |= flow.Expected
	p.start()
	p.a.write(flow.OpCreate, master, child)
	p.b.await("both", func() bool { return len(p.b.library()) == 2 })
	p.a.write(flow.OpDelete, flow.Flow{Key: master.Key})
	alone := func() bool {
		table := p.b.library()
		return len(table) == 1 && table[keyName(&child)] != nil
	}
	p.b.await("the child alone", alone)
	p.b.run("conntrack", "-F") // and once more, now that there is no master
	p.b.await("the child made anew", alone)
	child.Mark = 9
	p.a.write(flow.OpUpdate, child)
	p.b.await("its change", func() bool { return alone() && p.b.library()[keyName(&child)][fMark] == "0x9" })
}
