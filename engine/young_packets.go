package engine

import (
	"time"

	"ctsync/engine/flow"
)

// Who waits may have sent many packets already (sync-after-packets). The kernel tells of no packet, so it is asked for the
// counters of each one that waits: when it is a second old, two, four, and so on.

// counted marks the tag of a get that asks for the packets of the tagged entry.
const counted = 1 << 59

// firstCount is the age at which a flow is first asked for; each next one is twice as much.
const firstCount = time.Second

// counts are those that wait, in the order of their beginning, by how often they have been asked for.
type counts [13]queue[infant] // up to 4096 s

// askCounts asks for who is due, as far as the writer has room.
func (e *Engine) askCounts() {
	if e.filter.Packets == 0 {
		e.young.counts = counts{}
		return
	}
	for n := range e.young.counts {
		for e.countsDue(n) && e.writer.outstanding < maxOutstanding && len(e.out.Ops) < maxOpsPerStep {
			e.askCount(n)
		}
	}
}

// countsDue says that the first of those that were asked for n times is to be asked for.
func (e *Engine) countsDue(n int) bool {
	q := &e.young.counts[n]
	return q.len() > 0 && e.now.Sub(e.start)-q.first().began >= firstCount<<n
}

func (e *Engine) askCount(n int) {
	i := e.young.counts[n].pop()
	if !e.waits(i) {
		return
	}
	e.emit(flow.Op{Kind: flow.OpGet, Tag: uint64(i.r) | counted, Flow: flow.Flow{Key: e.tbl.Entry(i.r).Key}})
	if n+1 < len(e.young.counts) {
		e.young.counts[n+1].push(i)
	}
}

// waits says that i is young yet.
func (e *Engine) waits(i infant) bool {
	return e.tbl.Used(i.r) && e.isYoung(i.r) && e.tbl.Of(i.r, kernelOwner).Seq == i.id
}

// countedPackets takes the answer. What was made while nothing was counted has no counters, and waits for its age.
func (e *Engine) countedPackets(res *flow.Result) {
	e.writer.outstanding--
	e.writer.answered++
	r := ref(res.Tag &^ counted)
	if res.Errno != 0 || res.Packets < e.filter.Packets || !e.tbl.Used(r) || e.tbl.Entry(r).Key != res.Flow.Key || !e.isYoung(r) {
		return
	}
	e.growsUp(r)
}
