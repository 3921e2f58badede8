// Package engine decides what a node does; it does no I/O and has no clock.
//
//	      Input                        Engine.Step(now, Input)                       Output
//	kernel events, dumps  ->  own.go dump.go evict.go   own cache and log    ->  kernel operations
//	kernel results        ->  results.go writer.go      kernel writer        ->  dump requests
//	datagrams             ->  hear.go peers.go          replicas of peers    ->  datagrams (send.go)
//	notices, commands     ->  role.go owner.go purge.go roles, ownership     ->  notes, replies, readiness
//
// Three layers, each knowing only the one below: replication keeps faithful copies of other nodes' logs and
// knows no roles; ownership says which copy counts and who may act; the kernel writer makes the kernel equal
// to a target computed from the caches. Inputs come in batches, every kernel operation is answered by an
// input, loss is an input like any other. The same inputs give the same outputs, byte for byte.
package engine
