package dialogues

// table is every dialogue. Ports are those of the control connections.
var table = []*dialogue{
	{name: "FTP active, SNAT", helper: "ftp", l4: "tcp", port: 2101, begin: greet, say: ftpActive, open: toCaller, expects: 1},
	{name: "FTP passive, SNAT", helper: "ftp", l4: "tcp", port: 2102, begin: greet, say: ftpPassive, open: toCallee, expects: 1},
	{name: "FTP active, DNAT", helper: "ftp", l4: "tcp", port: 2103, inward: true, begin: greet, say: ftpActive, open: toCaller, expects: 1},
	{name: "FTP passive, DNAT", helper: "ftp", l4: "tcp", port: 2104, inward: true, begin: greet, say: ftpPassive, open: toCallee, expects: 1},
	{name: "FTP active, IPv6 SNAT", helper: "ftp", l4: "tcp", port: 2105, ipv6: true, begin: greet, say: ftpActive, open: toCaller, expects: 1},
	{name: "FTP passive, IPv6 DNAT", helper: "ftp", l4: "tcp", port: 2106, ipv6: true, inward: true, begin: greet, say: ftpPassive, open: toCallee, expects: 1},
	{name: "TFTP, SNAT", helper: "tftp", l4: "udp", port: 6901, begin: sockets, say: tftp, open: tftpData, expects: 1},
	{name: "TFTP, DNAT", helper: "tftp", l4: "udp", port: 6902, inward: true, begin: sockets, say: tftp, open: tftpData, expects: 1},
	{name: "IRC, SNAT", helper: "irc", l4: "tcp", port: 6601, begin: greet, say: irc, open: toCaller, expects: 1},
	{name: "IRC, DNAT", helper: "irc", l4: "tcp", port: 6602, inward: true, begin: greet, say: irc, open: toCaller, expects: 1},
	{name: "Amanda, SNAT", helper: "amanda", l4: "udp", port: 1001, begin: sockets, say: amanda, open: toCallee, expects: 3},
	{name: "Amanda, DNAT", helper: "amanda", l4: "udp", port: 1002, inward: true, begin: sockets, say: amanda, open: toCallee, expects: 3},
	{name: "SIP call, SNAT", helper: "sip", l4: "udp", port: 5061, begin: sockets, say: sipInvite, open: sipMedia, expects: 4},
	{name: "SIP call, DNAT", helper: "sip", l4: "udp", port: 5062, inward: true, begin: sockets, say: sipInvite, open: sipMedia, expects: 4},
	{name: "SIP registration, SNAT", helper: "sip", l4: "udp", port: 5063, begin: sockets, say: sipRegister, open: sipIncoming, expects: 1},
	{name: "H.323 SETUP, SNAT", helper: "Q.931", l4: "tcp", port: 1721, begin: h323Begin, say: h323Setup, open: toCaller, expects: 1},
	{name: "H.323 CONNECT, DNAT", helper: "Q.931", l4: "tcp", port: 1722, inward: true, begin: h323Begin, say: h323Connect, open: toCallee, expects: 1},
	// The kernel cannot be told that a connection is H.245's.
	{name: "H.245 media, SNAT", helper: "Q.931", l4: "tcp", port: 1723, begin: h245Begin, say: h245Channel, open: h245Media, expects: 2, rewritten: true, mute: true},
	{name: "H.323 RAS gatekeeper, SNAT", helper: "RAS", l4: "udp", port: 1718, begin: sockets, say: rasDiscovery, open: rasElsewhere, expects: 1},
	{name: "H.323 RAS registration, SNAT", helper: "RAS", l4: "udp", port: 1719, begin: sockets, say: rasRegister, open: toCaller, expects: 1},
	{name: "H.323 RAS registration, no NAT", helper: "RAS", l4: "udp", port: 1730, plain: true, begin: sockets, say: rasRegister, open: toCaller, expects: 1},
	{name: "H.323 RAS admission, SNAT", helper: "RAS", l4: "udp", port: 1731, begin: sockets, say: rasAdmission, open: toCallee, expects: 1},
	{name: "PPTP, no NAT", helper: "pptp", l4: "tcp", port: 1703, plain: true, begin: pptpBegin, say: pptpCall, open: pptpTunnel, expects: 2, rewritten: true},
	// The kernel's PPTP translation drops what a control connection carries that was not begun through it.
	{name: "PPTP, SNAT", helper: "pptp", l4: "tcp", port: 1701, begin: pptpBegin, say: pptpCall, open: pptpTunnel, expects: 2, rewritten: true, mute: true},
	{name: "PPTP, DNAT", helper: "pptp", l4: "tcp", port: 1702, inward: true, begin: pptpBegin, say: pptpCall, open: pptpTunnel, expects: 2, rewritten: true, mute: true},
}
