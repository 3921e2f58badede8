// Package rawio makes the system calls of the hot paths: those that do not wait, for a daemon that wakes up often and
// briefly.
//
// They go behind the back of Go's scheduler (RawSyscall). Told of a call, it wakes its monitor thread, which looks
// around for a millisecond or two before it sleeps again: at 60,000 events/s that was half of what it cost to
// receive them (2.5 against 1.25 us each), and two thirds of what an idle daemon used. Waiting is left to the runtime's
// poller. A call that might wait does not belong here: it would hold up the garbage collector, and with it everybody. (Write says what
// it may be used for.)
package rawio
