package lab

import (
	"fmt"
	"net/netip"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
)

// AddFlows puts n further established TCP connections into the router's table, each translated to the WAN VIP
// as if a client of a busy network had them. They carry no packets; their timeout is an hour.
func (r *Router) AddFlows(n int) error { return r.AddFlowsFrom(0, n) }

// AddFlowsFrom is AddFlows from the connection of that number on.
func (r *Router) AddFlowsFrom(first, n int) error {
	err := r.Write(func(w *kernel.Writer) error {
		max, count, err := kernel.Limits()
		if err != nil {
			return err
		}
		if count+n > max {
			return fmt.Errorf("%d further flows do not fit: the table holds %d of at most %d (sysctl net.netfilter.nf_conntrack_max)", n, count, max)
		}
		return addFlows(w, first, first+n)
	})
	if err != nil {
		return fmt.Errorf("lab: add flows to %s: %w", r.Name, err)
	}
	return nil
}

// Write runs f inside the router with a writer to its kernel's table.
func (r *Router) Write(f func(w *kernel.Writer) error) error {
	return r.Do(func() error {
		w, err := kernel.OpenWriter()
		if err != nil {
			return err
		}
		defer w.Close()
		return f(w)
	})
}

func addFlows(w *kernel.Writer, i, n int) error {
	const batch = 1024
	ops, results := make([]flow.Op, 0, batch), make([]flow.Result, 0, batch)
	for i < n {
		ops = ops[:0]
		for ; i < n && len(ops) < batch; i++ {
			ops = append(ops, flow.Op{Kind: flow.OpCreate, Flow: FurtherFlow(i)})
		}
		results = w.Do(ops, results[:0])
		for j := range results {
			if results[j].Errno != 0 {
				return fmt.Errorf("create %s: %w", ops[j].Flow.Key, results[j].Errno)
			}
		}
	}
	return nil
}

// FurtherFlow is the i-th of up to 8 million different connections that a busy network might have.
func FurtherFlow(i int) flow.Flow {
	const servers, ports = 200, 40000
	f := flow.Flow{Key: flow.Key{L3: flow.IPv4, L4: flow.TCP}}
	f.Src = flow.AddrFrom(netip.AddrFrom4([4]byte{10, 11, byte(i >> 8), byte(i)}))
	f.SrcL4 = uint16(1024 + i>>16)
	f.Dst = flow.AddrFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i%servers)}))
	f.DstL4 = 443
	f.Reply = flow.Tuple{Src: f.Dst, SrcL4: f.DstL4, Dst: flow.AddrFrom(WANVIP), DstL4: uint16(20000 + i/servers%ports)}
	f.Status = flow.Confirmed | flow.SeenReply | flow.Assured
	f.Timeout = 3600
	f.State = flow.TCPEstablished
	f.WScale = [2]uint8{7, 7}
	f.TCPFlags = [2]uint8{flow.TCPFlagWindowScale | flow.TCPFlagSackPerm, flow.TCPFlagWindowScale | flow.TCPFlagSackPerm}
	return f
}
