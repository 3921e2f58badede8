package show

import "ctsync/engine/flow"

// protocolNames are the names of /etc/protocols by number (IANA's protocol-numbers registry), as every
// Debian has them: the listing must not depend on a file.
var protocolNames = map[uint8]string{
	0: "ip", 1: "icmp", 2: "igmp", 3: "ggp", 4: "ipencap", 5: "st", 6: "tcp", 8: "egp", 9: "igp", 12: "pup",
	17: "udp", 20: "hmp", 22: "xns-idp", 27: "rdp", 29: "iso-tp4", 33: "dccp", 36: "xtp", 37: "ddp",
	38: "idpr-cmtp", 41: "ipv6", 43: "ipv6-route", 44: "ipv6-frag", 45: "idrp", 46: "rsvp", 47: "gre", 50: "esp",
	51: "ah", 57: "skip", 58: "ipv6-icmp", 59: "ipv6-nonxt", 60: "ipv6-opts", 73: "rspf", 81: "vmtp",
	88: "eigrp", 89: "ospf", 93: "ax.25", 94: "ipip", 97: "etherip", 98: "encap", 103: "pim", 108: "ipcomp",
	112: "vrrp", 115: "l2tp", 124: "isis", 132: "sctp", 133: "fc", 135: "mobility-header", 136: "udplite",
	137: "mpls-in-ip", 138: "manet", 139: "hip", 140: "shim6", 141: "wesp", 142: "rohc", 143: "ethernet",
}

func protocolName(l4 uint8) string {
	if name, ok := protocolNames[l4]; ok {
		return name
	}
	return "unknown"
}

// hasPorts says whether the layer-4 key of a protocol is a pair of ports.
func hasPorts(l4 uint8) bool {
	switch l4 {
	case flow.TCP, flow.UDP, flow.UDPLite, flow.SCTP, flow.DCCP:
		return true
	}
	return false
}

// state is a state of a connection: the kernel's name and the two letters of the listing, which are empty
// where VyOS has none.
type state struct{ name, code string }

// tcpStates by number (enum tcp_conntrack). SYN_SENT2 is a SYN from both sides, so SS; LISTEN had its number
// before Linux 2.6.31 and cannot occur. NONE has no letters.
var tcpStates = [...]state{
	flow.TCPNone:        {"NONE", ""},
	flow.TCPSynSent:     {"SYN_SENT", "SS"},
	flow.TCPSynRecv:     {"SYN_RECV", "SR"},
	flow.TCPEstablished: {"ESTABLISHED", "ES"},
	flow.TCPFinWait:     {"FIN_WAIT", "FW"},
	flow.TCPCloseWait:   {"CLOSE_WAIT", "CW"},
	flow.TCPLastAck:     {"LAST_ACK", "LA"},
	flow.TCPTimeWait:    {"TIME_WAIT", "TW"},
	flow.TCPClose:       {"CLOSE", "CL"},
	flow.TCPSynSent2:    {"SYN_SENT2", "SS"},
}

// sctpStates by number (enum sctp_conntrack). Those that VyOS's legend has a word for have its letters.
var sctpStates = [...]state{
	{"NONE", ""}, {"CLOSED", "CL"}, {"COOKIE_WAIT", ""}, {"COOKIE_ECHOED", ""}, {"ESTABLISHED", "ES"},
	{"SHUTDOWN_SENT", ""}, {"SHUTDOWN_RECD", ""}, {"SHUTDOWN_ACK_SENT", ""}, {"HEARTBEAT_SENT", ""},
	{"HEARTBEAT_ACKED", ""},
}

// dccpStates by number (enum ct_dccp_states).
var dccpStates = [...]state{
	{"NONE", ""}, {"REQUEST", ""}, {"RESPOND", ""}, {"PARTOPEN", ""}, {"OPEN", ""}, {"CLOSEREQ", ""},
	{"CLOSING", ""}, {"TIMEWAIT", "TW"}, {"IGNORE", ""}, {"INVALID", ""},
}

// stateOf is the state of a flow, the zero value for a protocol without one and a number without a name.
func stateOf(l4, number uint8) state {
	var states []state
	switch l4 {
	case flow.TCP:
		states = tcpStates[:]
	case flow.SCTP:
		states = sctpStates[:]
	case flow.DCCP:
		states = dccpStates[:]
	}
	if int(number) < len(states) {
		return states[number]
	}
	return state{}
}
