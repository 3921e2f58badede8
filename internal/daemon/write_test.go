package daemon

import (
	"sync"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/config"
)

// fakeWriter notes what is carried out, and holds each batch up until it is let go.
type fakeWriter struct {
	mu      sync.Mutex
	done    []uint64 // tags
	waits   bool
	closed  bool
	began   chan struct{}
	proceed chan struct{} // nil: at once
}

func (w *fakeWriter) Do(ops []flow.Op, results []flow.Result) []flow.Result {
	w.mu.Lock()
	for i := range ops {
		w.done = append(w.done, ops[i].Tag)
	}
	w.mu.Unlock()
	if w.proceed != nil {
		w.began <- struct{}{}
		<-w.proceed
	}
	return results
}

func (w *fakeWriter) Waits() bool { return w.waits }
func (w *fakeWriter) Close()      { w.closed = true }

func (w *fakeWriter) carriedOut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

// queueOps queues n operations with the tags from first on, as a step of who hears does.
func queueOps(k *kernelEdge, first, n int) {
	ops := make([]flow.Op, n)
	for i := range ops {
		ops[i] = flow.Op{Kind: flow.OpDelete, Tag: uint64(first + i)}
	}
	k.operate(ops, true)
}

func newEdge(w *fakeWriter) *kernelEdge {
	k := &kernelEdge{writer: w}
	k.more = sync.NewCond(&k.mu)
	return k
}

// TestWhoHearsWritesWhatIsLittle itself, and leaves all else to the writer's goroutine.
func TestWhoHearsWritesWhatIsLittle(t *testing.T) {
	f := newFake(t, config.Cluster)
	w := &fakeWriter{}
	k := newEdge(w)
	queueOps(k, 0, littleToWrite-1)
	k.writeSoon(f.loop)
	if n := w.carriedOut(); n != littleToWrite-1 {
		t.Errorf("%d are carried out", n)
	}
	queueOps(k, 0, littleToWrite)
	k.writeSoon(f.loop)
	if n := w.carriedOut(); n != littleToWrite-1 {
		t.Errorf("many: %d are carried out", n)
	}
	k.queue, w.waits = nil, true
	queueOps(k, 0, 1)
	k.writeSoon(f.loop)
	if n := w.carriedOut(); n != littleToWrite-1 {
		t.Errorf("with a writer that waits: %d are carried out", n)
	}
	w.waits, k.stopped = false, true
	k.writeSoon(f.loop)
	if n := w.carriedOut(); n != littleToWrite-1 {
		t.Errorf("after the end: %d are carried out", n)
	}
}

// TestWritesStayInOrder, whoever carries them out, and nobody who hears waits for another.
func TestWritesStayInOrder(t *testing.T) {
	f := newFake(t, config.Cluster)
	w := &fakeWriter{began: make(chan struct{}), proceed: make(chan struct{})}
	k := newEdge(w)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.writeOps(f.loop)
	}()
	time.Sleep(10 * time.Millisecond) // it waits
	queueOps(k, 0, 200)
	k.writeSoon(f.loop)
	<-w.began
	for i := 200; i < 210; i++ {
		queueOps(k, i, 1)
		k.writeSoon(f.loop) // does not wait
	}
	w.proceed <- struct{}{}
	<-w.began // without another word
	w.proceed <- struct{}{}
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.more.Broadcast()
	<-ended
	if w.carriedOut() != 210 || !w.closed {
		t.Fatalf("%d are carried out, closed %v", len(w.done), w.closed)
	}
	for i, tag := range w.done {
		if tag != uint64(i) {
			t.Fatalf("%d came as number %d", tag, i)
		}
	}
}
