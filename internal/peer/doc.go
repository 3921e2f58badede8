// Package peer is the sync link: datagrams to and from the other firewalls, by UDP multicast or unicast, IPv4
// or IPv6, over one link or several that carry the same bytes.
//
//	Send ──> link eth1 ──> socket bound to eth1 ──> 225.0.0.50:3780, or the peer
//	    └──> link eth2 ──> socket bound to eth2 ──> the same bytes
//
//	Run: one goroutine follows the host (interfaces, addresses, MTU) and opens and closes sockets;
//	     one goroutine per open socket reads batches and hands them to deliver, one batch at a time.
//
// A link never fails for good. An interface or an address that is not there yet is waited for, one that was
// deleted is opened again when it is back, and each such change is said once. What a link could not carry is
// counted, never retried: the protocol above repairs loss.
//
// Every socket is bound to its interface (SO_BINDTODEVICE), sets DF, and for multicast a TTL of 1 and no
// loop; it listens on the wildcard address, or in unicast on a listen-address of its interface.
package peer
