// Package kernel is the whole edge to the kernel's connection tracking: events in, operations out, dumps,
// and what must be right about the host before either is of use.
//
//	         ctnetlink (NETLINK_NETFILTER), sockets of the caller's network namespace
//	groups NEW UPDATE DESTROY       requests and acknowledgements        one dump request
//	           |                          ^          |                         |
//	BPF: the ring, or the queue           |          v                         v
//	Events.Receive (events.go, take.go)  Writer.Do (writer.go)            Dump (dump.go)
//	           |                          ^          |                         |
//	           +--- DecodeFlow (decode.go), appendOp (encode.go), attributes (attr.go) ---+
//
// The sources of every format here are include/uapi/linux/netlink.h, netfilter/nfnetlink.h and
// netfilter/nfnetlink_conntrack.h, and net/netfilter/nf_conntrack_netlink.c for what the kernel does with
// it. Every ctnetlink attribute is big-endian; netlink headers are in the host's order.
//
// Events come through a ring that a BPF program fills (ring.go, ring_program.go), and through the event socket's queue when that is
// full, or where there may be none; then classic BPF (bpf.go) drops what nobody wants.
//
// A socket belongs to the network namespace of the thread that opened it, and so do the files that Check
// and Limits read.
package kernel
