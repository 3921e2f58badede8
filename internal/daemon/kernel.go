package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/internal/kernel"
)

// kernelEdge is the two sockets to the kernel and who uses them.
type kernelEdge struct {
	events *kernel.Events
	writer opWriter
	gauges *kernel.Gauges
	log    *slog.Logger

	mu      sync.Mutex
	more    *sync.Cond
	queue   []flow.Op // in order
	stopped bool

	writing sync.Mutex // held by who takes the queue and carries it out; guards writer and what follows
	ops     []flow.Op
	done    engine.KernelResults

	users sync.WaitGroup // of the writer, and dumps
	nat   natHooks
}

// opWriter is a kernel.Writer.
type opWriter interface {
	Do(ops []flow.Op, results []flow.Result) []flow.Result
	Waits() bool
	Close()
}

// openKernel opens the writer first: its operations must be filtered out before the first one.
func openKernel(receiveBuffer int, protocols []uint8, log *slog.Logger) (*kernelEdge, error) {
	if err := kernel.SetEvents(1); err != nil {
		return nil, err
	}
	w, err := kernel.OpenWriter()
	if err != nil {
		return nil, err
	}
	ring, err := kernel.MakeRing()
	if err != nil { // but it may be given (GiveRing)
		log.Debug("conntrack events come through the socket's queue", "reason", err)
	}
	ev, err := kernel.OpenEvents(kernel.EventsConfig{ReceiveBuffer: receiveBuffer, IgnorePort: w.PortID(), Protocols: protocols, Ring: ring})
	if err != nil {
		w.Close()
		return nil, err
	}
	if err := ev.Stats().NoRing; err != nil {
		log.Warn("conntrack events come through the socket's queue, at twice the CPU", "reason", err)
	}
	k := &kernelEdge{events: ev, writer: w, gauges: kernel.NewGauges(), log: log, nat: natHooks{log: log}}
	k.more = sync.NewCond(&k.mu)
	return k, nil
}

// allEvents lets the kernel tell of flows of every protocol.
func (k *kernelEdge) allEvents() {
	if err := k.events.AllProtocols(); err != nil {
		k.log.Error("changes of connections of other protocols are not heard: restart ctsync", "error", err)
	}
}

// tableMax is nf_conntrack_max, and the entries there are.
func (k *kernelEdge) tableMax() (max, count int, err error) {
	max, count, err = k.gauges.Limits()
	if max == 0 {
		max = math.MaxInt32 // 0 is no limit
	}
	return max, count, err
}

// eventBatch is how many events one step takes at most.
const eventBatch = 256

// readEvents brings events to the loop until ctx ends.
func (k *kernelEdge) readEvents(ctx context.Context, l *loop) error {
	batch := make([]flow.Event, eventBatch)
	var in engine.KernelEvents
	for ctx.Err() == nil {
		n, lost, err := k.events.Receive(batch, 0)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("daemon: events: %w", err)
		}
		if n == 0 && !lost {
			continue
		}
		in.Events, in.Lost = batch[:n], lost
		l.step(&in)
	}
	return nil
}

// operate queues operations; the slice stays the caller's. soon: writeSoon comes next.
func (k *kernelEdge) operate(ops []flow.Op, soon bool) {
	k.nat.ops(ops)
	k.mu.Lock()
	k.queue = append(k.queue, ops...)
	k.mu.Unlock()
	if !soon {
		k.more.Signal()
	}
}

// writeOps carries out what is queued, in order, and brings the results to the loop.
func (k *kernelEdge) writeOps(l *loop) {
	defer k.closeWriter()
	for k.awaitOps() {
		k.writing.Lock()
		k.write(l)
		k.writing.Unlock()
	}
}

// awaitOps waits until something is queued; false is after close.
func (k *kernelEdge) awaitOps() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.queue) == 0 && !k.stopped {
		k.more.Wait()
	}
	return !k.stopped
}

func (k *kernelEdge) closeWriter() {
	k.writing.Lock() // it is not in use
	defer k.writing.Unlock()
	k.writer.Close()
}

// writeSoon carries out what the caller's own step has queued, if that is little: to wake the goroutine of writeOps for what a
// standby hears in one datagram is a tenth of its cost. Where much waits both go on at the same time, and nobody who
// hears is to wait for another process that holds the kernel's lock.
func (k *kernelEdge) writeSoon(l *loop) {
	switch n := k.queued(); {
	case n == 0:
	case n < littleToWrite && k.writing.TryLock():
		defer k.writing.Unlock()
		if k.writer.Waits() {
			k.more.Signal()
			return
		}
		k.write(l)
	default:
		k.more.Signal()
	}
}

// littleToWrite is less than what the engine gives out in one step, or the writer carries out in one batch.
const littleToWrite = 128

// queued is how many operations wait; 0 after close.
func (k *kernelEdge) queued() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return 0
	}
	return len(k.queue)
}

// write carries out what is queued now. The queue is taken by who may carry it out, or it would not stay in order.
func (k *kernelEdge) write(l *loop) {
	k.mu.Lock()
	if k.stopped {
		k.queue = nil
	}
	k.ops, k.queue = k.queue, k.ops[:0]
	k.mu.Unlock()
	if len(k.ops) == 0 {
		return
	}
	k.done.Results = k.writer.Do(k.ops, k.done.Results[:0])
	l.step(&k.done)
}

// dumpPiece is how many entries of a dump one step takes.
const dumpPiece = 512

var errStopped = errors.New("stopped")

// dump reads the table in a goroutine of its own and brings it to the loop in pieces.
func (k *kernelEdge) dump(l *loop, id uint64) { k.users.Go(func() { k.readTable(l, id) }) }

func (k *kernelEdge) readTable(l *loop, id uint64) {
	err := kernel.Dump(make([]flow.Flow, dumpPiece), func(flows []flow.Flow) error {
		if k.isStopped() {
			return errStopped
		}
		k.nat.flows(flows)
		l.step(&engine.KernelDump{Dump: id, Flows: flows})
		return nil
	})
	if errors.Is(err, errStopped) {
		return
	}
	var malformed kernel.MalformedError
	failed := err != nil && !errors.As(err, &malformed)
	if err != nil {
		k.log.Warn("reading the kernel's table", "error", err)
	}
	l.step(&engine.KernelDump{Dump: id, Done: true, Failed: failed}) // it asks again, ever later
}

func (k *kernelEdge) isStopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// close ends the events, the writer and a dump under way, and waits for the dump.
func (k *kernelEdge) close() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.more.Broadcast()
	k.events.Close()
	k.gauges.Close()
	k.users.Wait()
}
