package fidelity

import (
	"fmt"
	"sort"
	"strconv"
	"testing"
	"time"

	"ctsync/engine/flow"
)

// slack is how many seconds two timeouts may differ: a copy is written later than its original, and each is
// reported in whole seconds.
const slack = 8

// shortest is the longest timeout, in seconds, of those that are short.
const shortest = 120

// difference is a field of one kind that the two kernels do not agree on.
type difference struct{ kind, field, a, b string }

func (d difference) String() string {
	return fmt.Sprintf("%s: %s is %q and %q", d.kind, d.field, d.a, d.b)
}

// matrix is the comparison of a pair's kernels, stage by stage.
type matrix struct {
	t     *testing.T
	pair  *pair
	names map[string]string // kinds by what the witness calls their flow
	lacks string            // a field that the second node's kernel cannot hold
}

// record says of each kind and field what was seen: the values that both kernels had, and that it is not carried.
type record struct {
	values map[[2]string]map[string]bool
	lost   map[[2]string]int // the note that says why
}

func newRecord() record {
	return record{values: map[[2]string]map[string]bool{}, lost: map[[2]string]int{}}
}

// tables are equal when every flow of from is in to and the other way round, each field the same, but for what
// is known not to be carried. Waits for that, and tells what stays different.
func (m *matrix) same(stage string, from, to *node) {
	m.t.Helper()
	var ds []difference
	var a, b map[string]entry
	for end := time.Now().Add(4 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		a, b = from.library(), to.library()
		if ds = m.compare(a, b); len(ds) == 0 || time.Now().After(end) {
			break
		}
	}
	for i, d := range ds {
		if i == 40 {
			m.t.Errorf("%s: and %d more", stage, len(ds)-i)
			break
		}
		m.t.Errorf("%s: %v", stage, d)
	}
	m.remember(a)
}

// alike has conntrack(8) list both tables: each line is in both.
func (m *matrix) alike(from, to *node) {
	m.t.Helper()
	a, b := from.program(), to.program()
	for line := range a {
		if !b[line] {
			m.t.Errorf("not at %s: %s", to.name, line)
		}
	}
	for line := range b {
		if !a[line] {
			m.t.Errorf("not at %s: %s", from.name, line)
		}
	}
	if len(a) == 0 {
		m.t.Error("conntrack(8) lists nothing")
	}
}

func (m *matrix) compare(a, b map[string]entry) (ds []difference) {
	for key := range a {
		if m.names[key] == "" {
			m.names[key] = key
		}
		if b[key] == nil {
			ds = append(ds, difference{m.names[key], "entry", "there", "missing"})
			continue
		}
		for field, v := range a[key] {
			w := b[key][field]
			switch {
			case v == w, field == fTimeout && near(v, w), field == m.lacks && w == "":
			case rule(field, a[key]) != 0:
				seen.lost[[2]string{m.names[key], field}] = rule(field, a[key])
			default:
				ds = append(ds, difference{m.names[key], field, v, w})
			}
		}
	}
	for key := range b {
		if a[key] == nil {
			ds = append(ds, difference{key, "entry", "missing", "there"})
		}
	}
	sort.Slice(ds, func(i, j int) bool {
		return ds[i].field+ds[i].kind < ds[j].field+ds[j].kind
	})
	return ds
}

// remember notes which values there were to carry.
func (m *matrix) remember(a map[string]entry) {
	for key, e := range a {
		for field, v := range e {
			at := [2]string{m.names[key], field}
			if seen.values[at] == nil {
				seen.values[at] = map[string]bool{}
			}
			if field != m.lacks {
				seen.values[at][v] = true
			}
		}
	}
}

// near compares timeouts. A hot standby's copy has its timeout and some to spare, and is renewed before that is used
// up, since packets refresh the original without a word: a short one may have more left than its original, of which
// the test sends no packets.
func near(a, b string) bool {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return max(x-y, y-x) <= slack+spare(min(x, y)) || x < shortest && y > x && y <= shortest+spare(shortest)
}

// spare is how much longer a copy may last: as much again, a minute or an eighth.
func spare(timeout int) int { return max(min(timeout, 60), timeout/8) }

// create makes every kind at n, masters first, as the list has them.
func (m *matrix) create(n *node, list []kind) {
	m.t.Helper()
	flows := make([]flow.Flow, len(list))
	for i := range list {
		flows[i] = list[i].flow
		m.names[keyName(&flows[i])] = list[i].name
		n.write(flow.OpCreate, flows[i])
	}
	m.asAsked(n, flows)
}

// keyName is what the witness calls a flow.
func keyName(f *flow.Flow) string {
	var zone [3]uint16
	zone[f.ZoneDir] = f.Zone
	return fmt.Sprintf("%s zone %d/%d/%d", tupleName(f.L3, f.L4, &f.Tuple), zone[0], zone[1], zone[2])
}

// tupleName is what the witness calls one direction.
func tupleName(l3, l4 uint8, t *flow.Tuple) string {
	src, dst := t.Src.Netip(l3), t.Dst.Netip(l3)
	if icmpLike(l4) {
		return fmt.Sprintf("%d %s>%s type %d code %d id %d", l4, src, dst, t.DstL4>>8, t.DstL4&255, t.SrcL4)
	}
	return fmt.Sprintf("%d %s:%d>%s:%d", l4, src, t.SrcL4, dst, t.DstL4)
}

// change has n's kernel change every kind by one step.
func (m *matrix) change(n *node, list []kind, step int) {
	m.t.Helper()
	flows := make([]flow.Flow, len(list))
	for i := range list {
		flows[i] = list[i].changed(step)
		flows[i].Status |= list[i].status // the kernel never forgets these
		list[i].status = flows[i].Status
	}
	n.write(flow.OpUpdate, flows...)
	m.asAsked(n, flows)
}

// end deletes every kind at n, children first.
func (m *matrix) end(n *node, list []kind) {
	m.t.Helper()
	for i := len(list) - 1; i >= 0; i-- {
		n.write(flow.OpDelete, flow.Flow{Key: list[i].flow.Key})
	}
}

func newMatrix(t *testing.T, p *pair) *matrix {
	return &matrix{t: t, pair: p, names: map[string]string{}}
}

// arrived is a hot pair on which every kind of flow that a has is on b.
func arrived(t *testing.T) ([]kind, *pair, *matrix) {
	t.Helper()
	list := catalogue()
	p := newPair(t, "hot", rules+labelRule, rules+labelRule).start()
	m := newMatrix(t, p)
	m.create(p.a, list)
	m.same("arrival", p.a, p.b)
	return list, p, m
}

// TestHot: what arrives at a hot standby, changes there, is taken over, changes at the new leader, and ends.
func TestHot(t *testing.T) {
	list, p, m := arrived(t)
	m.alike(p.a, p.b)
	for step := range steps {
		m.change(p.a, list, step)
		m.same(fmt.Sprintf("change %d", step+1), p.a, p.b)
	}
	p.lead(p.b)
	m.same("takeover", p.a, p.b)
	m.alike(p.a, p.b)
	for step := range steps {
		m.change(p.b, list, step)
		m.same(fmt.Sprintf("change %d at the new leader", step+1), p.b, p.a)
	}
	m.end(p.b, list)
	m.same("end", p.b, p.a)
}

// TestWarm: what a warm standby holds, changes and all, is what it commits; what ended meanwhile is not.
func TestWarm(t *testing.T) {
	for changes := range steps + 1 {
		t.Run(fmt.Sprintf("after %d changes", changes), func(t *testing.T) { commit(t, changes) })
	}
}

func commit(t *testing.T, changes int) {
	list := catalogue()
	p := newPair(t, "warm", rules+labelRule, rules+labelRule).start()
	m := newMatrix(t, p)
	m.create(p.a, list)
	for step := range changes {
		m.change(p.a, list, step)
	}
	p.b.synced()
	if held := p.b.library(); len(held) != 0 {
		t.Errorf("%d flows in the kernel of a warm standby", len(held))
	}
	p.lead(p.b)
	m.same("commit", p.a, p.b)
	m.alike(p.a, p.b)
}

// TestFirstSynchronisation: what was there before the standby was, in another order than it came into being:
// masters changed after their children.
func TestFirstSynchronisation(t *testing.T) {
	list := catalogue()
	p := newPair(t, "hot", rules+labelRule, rules+labelRule)
	m := newMatrix(t, p)
	m.create(p.a, list[:len(list)/2]) // found by the first dump
	p.a.startDaemon()
	p.a.ctsync("cluster", "start", group)
	m.create(p.a, list[len(list)/2:])
	m.change(p.a, list, 0)
	for i := range list {
		if list[i].flow.Extra.Helper[0] != 0 {
			p.a.write(flow.OpUpdate, list[i].changed(0))
		}
	}
	p.b.startDaemon()
	p.b.synced()
	m.same("first synchronisation", p.a, p.b)
	m.change(p.a, list, 1)
	m.same("change after it", p.a, p.b)
}

// TestReborn: a flow ends and another begins with the same tuple at once, which has nothing of what the one
// before had.
func TestReborn(t *testing.T) {
	list, p, m := arrived(t)
	p.a.reborn(list, flow.Confirmed)
	m.same("reborn", p.a, p.b)
}

// TestRebornUnheard: the same while the daemon of the leader is down, so that nobody hears of any end. (A kernel never forgets that an
// entry was answered or adjusted, so that the next ones are as far, and status is not compared.)
func TestRebornUnheard(t *testing.T) {
	list, p, _ := arrived(t)
	p.a.process.Kill()
	p.a.process.Wait()
	p.a.reborn(list, flow.Confirmed|flow.SeenReply|flow.Assured)
	p.a.startDaemon()
	p.lead(p.a)
	p.b.await("what the one before had to be gone", func() bool {
		a, b := p.a.library(), p.b.library()
		for key := range a {
			for _, field := range []string{fMark, fLabels, fSeqAdj} {
				if b[key] == nil || a[key][field] != b[key][field] {
					return false
				}
			}
		}
		return len(a) == len(b)
	})
}

// reborn ends flows and begins others with their tuples, that status and nothing rare.
func (n *node) reborn(list []kind, status uint32) {
	n.t.Helper()
	var ops []flow.Op
	for i := range list {
		f := list[i].flow
		if f.Extra.HasMaster || f.Extra.Helper[0] != 0 {
			continue
		}
		ops = append(ops, flow.Op{Kind: flow.OpDelete, Flow: flow.Flow{Key: f.Key}})
		f.Extra, f.Mark, f.Status = &flow.Extra{VTag: f.Extra.VTag}, 0, status
		ops = append(ops, flow.Op{Kind: flow.OpCreate, Flow: f})
	}
	for _, r := range n.writer.Do(ops, nil) {
		if r.Errno != 0 {
			n.t.Fatal(r.Errno)
		}
	}
}

// TestMasterLeftOut: a child whose master the filter leaves out arrives, changes and ends without it.
func TestMasterLeftOut(t *testing.T) {
	p := newPair(t, "hot", rules+labelRule, rules+labelRule)
	p.a.configure("ignore-address 10.66.0.1")
	p.start()
	var ks kinds
	master := ks.base(flow.IPv4, flow.TCP, 2100, 21)
	master.Src = addr("10.66.0.1")
	master.Reply = master.Inverse()
	setHelper(master.Extra, "ftp")
	p.a.write(flow.OpCreate, master)
	child := ks.base(flow.IPv4, flow.TCP, 20, 2101)
	child.Extra.HasMaster, child.Extra.Master = true, master.Key
	child.Status |= flow.Expected
	p.a.write(flow.OpCreate, child)
	for step := -1; step < steps; step++ {
		if step >= 0 {
			child = (&kind{flow: child}).changed(step)
			p.a.write(flow.OpUpdate, child)
		}
		want := p.a.library()[keyName(&child)]
		p.b.await("the child", func() bool {
			got := p.b.library()[keyName(&child)]
			return got[fMark] == want[fMark] && got[fLabels] == want[fLabels] && got[fState] == want[fState] && near(got[fTimeout], want[fTimeout])
		})
	}
	p.a.write(flow.OpDelete, flow.Flow{Key: child.Key})
	p.b.await("the end of the child", func() bool { return len(p.b.library()) == 0 })
}

// TestNoLabelRules: a standby whose rules do not use labels holds none, and loses nothing else.
func TestNoLabelRules(t *testing.T) {
	list := catalogue()
	p := newPair(t, "hot", rules+labelRule, rules).start()
	m := newMatrix(t, p)
	m.lacks = fLabels
	m.create(p.a, list)
	m.same("arrival", p.a, p.b)
	for step := range steps {
		m.change(p.a, list, step)
		m.same(fmt.Sprintf("change %d", step+1), p.a, p.b)
	}
}
