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
	writer *kernel.Writer
	gauges *kernel.Gauges
	log    *slog.Logger

	mu      sync.Mutex
	more    *sync.Cond
	queue   []flow.Op // in order
	stopped bool

	users sync.WaitGroup // of the writer, and dumps
	nat   natHooks
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
	ev, err := kernel.OpenEvents(kernel.EventsConfig{ReceiveBuffer: receiveBuffer, IgnorePorts: []uint32{w.PortID()}, Protocols: protocols})
	if err != nil {
		w.Close()
		return nil, err
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

// operate queues operations; the slice stays the caller's.
func (k *kernelEdge) operate(ops []flow.Op) {
	k.nat.ops(ops)
	k.mu.Lock()
	k.queue = append(k.queue, ops...)
	k.mu.Unlock()
	k.more.Signal()
}

// writeOps carries out what is queued, in order, and brings the results to the loop.
func (k *kernelEdge) writeOps(l *loop) {
	defer k.writer.Close() // here, so that it is not in use
	var ops []flow.Op
	var in engine.KernelResults
	for {
		k.mu.Lock()
		for len(k.queue) == 0 && !k.stopped {
			k.more.Wait()
		}
		if k.stopped {
			k.mu.Unlock()
			return
		}
		ops, k.queue = k.queue, ops[:0]
		k.mu.Unlock()
		in.Results = k.writer.Do(ops, in.Results[:0])
		l.step(&in)
	}
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
