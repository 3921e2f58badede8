// Package load makes connection tracking work for benchmarks: entries by ctnetlink at a fixed rate or as fast as it
// goes, through the life of a connection, and real packets through a router. It needs root and acts on the network
// namespace of the calling thread.
//
// What it makes is numbered: connection i of a shape is the same in every run, so that what is compared meets the
// same work. The numbering spreads clients, ports and servers as traffic does, so that nothing that is compared
// profits from neighbours that look alike.
package load
