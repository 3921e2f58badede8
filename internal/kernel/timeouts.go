package kernel

import "ctsync/engine/flow"

// Timeouts are those of the calling thread's network namespace; where a protocol is missing in this kernel, its
// defaults.
func Timeouts() flow.Timeouts {
	t := flow.DefaultTimeouts()
	for _, s := range timeoutSysctls(&t) {
		if seconds, err := readSysctl("nf_conntrack_" + s.name); err == nil && seconds > 0 {
			*s.value = uint32(seconds)
		}
	}
	return t
}

type timeoutSysctl struct {
	name  string
	value *uint32
}

func timeoutSysctls(t *flow.Timeouts) []timeoutSysctl {
	all := []timeoutSysctl{
		{"udp_timeout", &t.UDP}, {"udp_timeout_stream", &t.UDPStream},
		{"gre_timeout", &t.GRE}, {"gre_timeout_stream", &t.GREStream},
		{"icmp_timeout", &t.ICMP}, {"icmpv6_timeout", &t.ICMPv6}, {"generic_timeout", &t.Generic},
	}
	for _, p := range []struct {
		prefix string
		states []string
		values *[16]uint32
	}{
		{"tcp_timeout_", []string{"syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close"}, &t.TCP},
		{"sctp_timeout_", []string{"closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd", "shutdown_ack_sent", "heartbeat_sent"}, &t.SCTP},
		{"dccp_timeout_", []string{"request", "respond", "partopen", "open", "closereq", "closing", "timewait"}, &t.DCCP},
	} {
		for i, state := range p.states {
			all = append(all, timeoutSysctl{p.prefix + state, &p.values[i+1]})
		}
	}
	return all
}
