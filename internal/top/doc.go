// Package top is a live view of a daemon in a terminal: a client of `status --output json`, asked every second.
//
//	daemon --Status--> Model --Frame(width, height)--> lines --Run--> terminal
//	journal --Event--^
//
// The Model makes figures of two answers and lays them out; it has no clock and no terminal, and one goroutine owns
// it. Run is that goroutine.
package top
