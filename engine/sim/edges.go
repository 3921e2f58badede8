package sim

import (
	"syscall"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
)

// batch is how many operations one system call carries (PROTOCOL K7).
const batch = 128

// work carries out queued operations, one batch after the other.
func (n *node) work() {
	if n.working || len(n.ops) == 0 {
		return
	}
	n.working = true
	w, run := n.w, n.run
	w.after(n.opDelay(), func() {
		if n.run != run || n.eng == nil {
			return
		}
		ops := n.ops[:min(batch, len(n.ops))]
		n.ops = n.ops[len(ops):]
		results := make([]flow.Result, len(ops))
		unanswered := w.rng.Float64() < w.fault.unanswered
		cut := len(ops)
		if unanswered && w.rng.Intn(2) == 0 {
			cut = w.rng.Intn(len(ops) + 1)
		}
		for i := range ops {
			results[i] = flow.Result{Tag: ops[i].op.Tag, Kind: ops[i].op.Kind}
			if i < cut {
				results[i] = n.perform(&ops[i])
			}
			if unanswered {
				results[i].Errno, results[i].Flow = flow.Unanswered, flow.Flow{}
			}
		}
		wait := w.between(20*time.Microsecond, 500*time.Microsecond)
		if unanswered {
			w.trace(n, "%d operations stay unanswered, %d of them done", len(ops), cut)
			w.count("unanswered batch")
			wait = 2 * time.Second
		}
		w.after(wait, func() {
			if n.run != run || n.eng == nil {
				return
			}
			n.input(&engine.KernelResults{Results: results})
			n.working = false
			n.work()
		})
	})
}

func (n *node) perform(i *issued) flow.Result {
	w, op := n.w, &i.op
	n.doing = i
	if op.Kind == flow.OpCreate && w.fault.enomem > 0 && w.rng.Float64() < w.fault.enomem {
		w.count("ENOMEM")
		return flow.Result{Tag: op.Tag, Kind: op.Kind, Errno: syscall.ENOMEM}
	}
	res := n.kern.do(op)
	w.trace(n, "op %s %v mark %d for %d s: %v", opName(op.Kind), op.Flow.Key, op.Flow.Mark, op.Flow.Timeout, errName(res.Errno))
	if op.Kind == flow.OpGetReply && res.Errno == 0 {
		w.trace(n, "in the way: %s", show(&res.Flow))
	}
	return res
}

func opName(k flow.OpKind) string {
	return [...]string{"create", "update", "delete", "get", "getreply"}[k]
}

func errName(e syscall.Errno) string {
	switch e {
	case 0:
		return "done"
	case syscall.EEXIST:
		return "EEXIST"
	case syscall.ENOENT:
		return "ENOENT"
	case syscall.EBUSY:
		return "EBUSY"
	case syscall.ENOMEM:
		return "ENOMEM"
	}
	return e.Error()
}

func (n *node) opDelay() time.Duration {
	if f := n.w.fault.slowKernel; f > 0 && n.w.rng.Intn(3) == 0 {
		return n.w.between(f/4, f)
	}
	return n.w.between(30*time.Microsecond, 800*time.Microsecond)
}

func (n *node) eventDelay() time.Duration {
	if f := n.w.fault.slowEvents; f > 0 && n.w.rng.Intn(4) == 0 {
		return n.w.between(f/4, f)
	}
	return n.w.between(50*time.Microsecond, 2*time.Millisecond)
}

func (n *node) deliverEvents() {
	k := n.kern
	in := &engine.KernelEvents{Events: k.events, Lost: k.lost}
	if k.lost {
		n.w.count("overrun")
	}
	k.events, k.lost = nil, false
	n.input(in)
}

// startDump walks the table in pieces, while events go on.
func (n *node) startDump(id uint64) {
	n.dump, n.cursor = id, 0
	n.dumpGen++
	n.walk(n.dumpGen, n.run)
}

func (n *node) walk(gen, run int) {
	w := n.w
	w.after(w.between(50*time.Microsecond, 3*time.Millisecond), func() {
		if n.eng == nil || n.run != run || n.dumpGen != gen {
			return
		}
		piece := &engine.KernelDump{Dump: n.dump}
		all := n.kern.sorted()
		for _, e := range all {
			h := e.f.Key.Hash(dumpOrder)
			if h <= n.cursor {
				continue
			}
			if len(piece.Flows) >= 8 {
				break
			}
			piece.Flows = append(piece.Flows, n.kern.shown(e))
			n.cursor = h
		}
		piece.Done = len(piece.Flows) < 8
		if w.rng.Float64() < w.fault.dumpFails {
			piece.Done, piece.Failed = true, true
			w.count("failed dump")
		}
		// It is on the way while the kernel goes on.
		w.after(w.between(10*time.Microsecond, 2*time.Millisecond), func() {
			if n.run != run || n.dumpGen != gen {
				return
			}
			n.input(piece)
			if !piece.Done {
				n.walk(gen, run)
			}
		})
	})
}
