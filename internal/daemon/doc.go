// Package daemon is the glue: it opens the edges, owns the engine, and carries out what it says.
//
//	kernel events ─┐                          ┌─> kernel operations (one goroutine, in order) ─> results ─┐
//	datagrams ─────┤                          ├─> dump (one goroutine) ─> pieces ─────────────────────────┤
//	notices ───────┼─> loop: one lock, Step ──┼─> datagrams                                               │
//	addresses ─────┤   <──────────────────────┼───────────────────────────────────────────────────────────┘
//	commands ──────┤                          ├─> readiness file
//	deadline ──────┘                          └─> journal, replies
//
// Every edge has one goroutine that brings its inputs to the loop and waits there while the engine works on
// them: what comes in faster than it can be worked on stays in the kernel's buffers, whose overrun is an
// input too.
package daemon
