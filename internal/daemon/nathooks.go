package daemon

import (
	"log/slog"
	"sync/atomic"

	"ctsync/engine/flow"
	native "ctsync/internal/journal"
	"ctsync/internal/kernel"
)

// natHooks warns once of each family whose flows have NAT where no NAT chain is: the kernel would keep their
// translation in its table and not apply it. Safe for concurrent use.
type natHooks struct {
	log    *slog.Logger
	v4, v6 atomic.Bool // looked at
}

func (n *natHooks) flows(flows []flow.Flow) {
	for i := range flows {
		n.flow(&flows[i])
	}
}

func (n *natHooks) ops(ops []flow.Op) {
	for i := range ops {
		n.flow(&ops[i].Flow)
	}
}

func (n *natHooks) flow(f *flow.Flow) {
	if f.Status&(flow.SrcNAT|flow.DstNAT) == 0 {
		return
	}
	seen := &n.v4
	if f.L3 == flow.IPv6 {
		seen = &n.v6
	}
	if !seen.Load() && seen.CompareAndSwap(false, true) {
		go n.look(f.L3)
	}
}

func (n *natHooks) look(family uint8) {
	for _, f := range kernel.Check(kernel.Needs{Translated: map[uint8]bool{family: true}}) {
		if f.Kind == kernel.NoNATHooks {
			n.log.Warn(f.Text, native.Key, native.HostFault, "remedy", f.Remedy)
		}
	}
}
