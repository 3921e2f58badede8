package kernel

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/rawio"
)

// The kernel's socket buffers: an acknowledgement of a failure takes 832 bytes of the receive buffer and an
// entry 1280, so the default of 212992 holds a batch's worth, barely; more is asked for to be safe.
const (
	maxBatch       = 128
	maxBatchBytes  = 64 << 10
	writerReceive  = 1 << 20
	writerSend     = 256 << 10
	ackWait        = 2 * time.Second
	writerReadSize = 64 << 10

	// workAtMost is longer than the kernel works on a batch: half a millisecond, if nothing else runs on the processor.
	workAtMost = 5 * time.Millisecond
)

// Writer carries out operations on the kernel's table. One goroutine owns it. Two of them are slower than
// one: the kernel takes one request at a time.
type Writer struct {
	fd   int
	port uint32
	seq  uint32
	out  []byte
	in   []byte
	told [maxBatch]told

	spare *flow.Extra // for the next entry that is rare

	waits             bool // the last batch had to wait for others
	atOnce, patiently func(fd int, b []byte) error
	now               func() time.Time

	// receive reads one datagram into in. After an overrun it does not wait for what was dropped.
	receive func(overrun bool) (int, error)
}

// told is what the kernel said about one operation of a batch.
type told uint8

const (
	nothing told = iota
	entry        // the entry of a get
	verdict      // a failure, or the acknowledgement
)

// OpenWriter opens a socket in the calling thread's network namespace.
func OpenWriter() (*Writer, error) {
	fd, port, err := open()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		fd: fd, port: port, out: make([]byte, 0, maxBatchBytes), in: make([]byte, writerReadSize),
		atOnce: rawio.Write, patiently: write, now: time.Now,
	}
	w.receive = w.read
	if err := w.setup(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return w, nil
}

func (w *Writer) setup() error {
	if _, _, err := setReceiveBuffer(w.fd, writerReceive); err != nil {
		return err
	}
	if unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, writerSend) != nil {
		if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, writerSend); err != nil {
			return fmt.Errorf("kernel: set send buffer: %w", err)
		}
	}
	return setReceiveTimeout(w.fd, ackWait)
}

// PortID is the netlink port of this writer: events that carry it were caused by it.
func (w *Writer) PortID() uint32 { return w.port }

// Waits says that the last batch had to wait for who else has the kernel change its table.
func (w *Writer) Waits() bool { return w.waits }

// Close closes the socket. A later Do gets no answers.
func (w *Writer) Close() {
	unix.Close(w.fd)
	w.fd = -1
}

// Do carries out ops in their order and appends exactly one result for each, in the same order, to results.
// An operation whose outcome is not known, because acknowledgements were lost or did not come within 2 s,
// is answered with flow.Unanswered. Results of gets have their Extra in memory of their own.
func (w *Writer) Do(ops []flow.Op, results []flow.Result) []flow.Result {
	for len(ops) > 0 {
		n := w.encode(ops)
		results = w.pending(ops[:n], results)
		w.transact(results[len(results)-n:])
		ops = ops[n:]
	}
	return results
}

// pending appends results that say that nothing is known yet.
func (w *Writer) pending(ops []flow.Op, results []flow.Result) []flow.Result {
	for i := range ops {
		results = append(results, flow.Result{Tag: ops[i].Tag, Kind: ops[i].Kind, Errno: flow.Unanswered})
	}
	return results
}

// encode puts as many of ops into one datagram as a batch may hold. Only the last asks to be acknowledged:
// the kernel works through them in order, and reports failures unasked.
func (w *Writer) encode(ops []flow.Op) int {
	w.out = w.out[:0]
	n := min(len(ops), maxBatch)
	for i := range ops[:n] {
		last := i == n-1 || len(w.out)+2*maxMessage > maxBatchBytes
		flags := uint16(0)
		if last {
			flags = unix.NLM_F_ACK
		}
		w.out = appendOp(w.out, w.seq+uint32(i), flags, &ops[i])
		if last {
			return i + 1
		}
	}
	return n
}

// transact sends what encode made and fills in the results.
func (w *Writer) transact(results []flow.Result) {
	first := w.seq
	w.seq += uint32(len(results))
	if w.send() != nil {
		return // nothing was done, but the caller would do the same for what it does not know
	}
	w.settle(first, results)
}

// send writes the batch, behind the back of Go's scheduler: told of a call that takes as long, it has its monitor and a second
// thread run meanwhile, which was an eighth of what a hot standby used. But where the last one took longer than the work in it
// can, another process holds the kernel's lock (a flush of the table, say), and the scheduler is told until that is over.
func (w *Writer) send() error {
	do := w.atOnce
	if w.waits {
		do = w.patiently
	}
	began := w.now()
	err := do(w.fd, w.out)
	w.waits = w.now().Sub(began) > workAtMost
	return err
}

// settle fills in the results of the batch whose first sequence number is first.
func (w *Writer) settle(first uint32, results []flow.Result) {
	clear(w.told[:])
	if !w.collect(first, results) {
		return
	}
	for i := range results {
		if w.told[i] == nothing && !reads(results[i].Kind) {
			results[i].Errno = 0 // no failure was reported up to the acknowledgement
		}
	}
}

func reads(k flow.OpKind) bool { return k == flow.OpGet || k == flow.OpGetReply }

// collect reads what the kernel answers until the acknowledgement. It returns whether silence about an
// operation means success: not if answers were lost, or the acknowledgement did not come.
func (w *Writer) collect(first uint32, results []flow.Result) (complete bool) {
	overrun, last := false, len(results)-1
	for w.told[last] != verdict {
		n, err := w.receive(overrun)
		if err == unix.ENOBUFS {
			overrun = true
			continue
		}
		if err != nil {
			return false
		}
		w.answers(w.in[:n], first, results)
	}
	return !overrun
}

func (w *Writer) read(overrun bool) (int, error) {
	n, err := rawio.ReadNow(w.fd, w.in)
	if err == unix.EAGAIN && !overrun {
		return read(w.fd, w.in)
	}
	return n, err
}

// answers takes in the messages of one datagram. Those of earlier batches, late, are passed over.
func (w *Writer) answers(b []byte, first uint32, results []flow.Result) {
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil {
			return
		}
		b = rest
		if i := m.seq - first; i < uint32(len(results)) {
			w.answer(&m, int(i), &results[i])
		}
	}
}

func (w *Writer) answer(m *message, i int, r *flow.Result) {
	switch m.typ {
	case unix.NLMSG_ERROR:
		errno, err := m.errno()
		switch {
		case err != nil: // said, but not understood
		case errno == 0 && reads(r.Kind): // the entry says it all, or was lost
		default:
			r.Errno = tolerated(r.Kind, errno)
		}
		w.told[i] = verdict
	case msgNew, msgExpNew:
		// One entry answers a get; that the kernel flags it NLM_F_MULTI promises no NLMSG_DONE.
		w.told[i] = entry
		r.Errno = w.decodeEntry(m, &r.Flow)
		if m.typ == msgNew && r.Errno == 0 {
			r.Packets = packets(m)
		}
	}
}

// packets is how many packets an entry has counted; 0 if it counts none.
func packets(m *message) (sum uint64) {
	_, b, err := m.conntrack()
	for err == nil && len(b) > 0 {
		var typ uint16
		var v []byte
		if typ, v, b, err = next(b); err == nil && (typ == ctaCountOrig || typ == ctaCountReply) {
			sum += packetsOf(v)
		}
	}
	return sum
}

func packetsOf(b []byte) uint64 {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err != nil {
			return 0
		}
		if typ == ctaCountPackets && len(v) == 8 {
			return binary.BigEndian.Uint64(v)
		}
		b = rest
	}
	return 0
}

// tolerated turns into success the one failure that leaves an update done but for what does not matter:
// labels, changed last, where this kernel has no rule that looks at labels. A create drops them silently.
func tolerated(kind flow.OpKind, errno unix.Errno) unix.Errno {
	if kind == flow.OpUpdate && errno == unix.ENOSPC {
		return 0
	}
	return errno
}

func (w *Writer) decodeEntry(m *message, f *flow.Flow) unix.Errno {
	family, attrs, err := m.conntrack()
	if err != nil {
		return unix.EBADMSG
	}
	if w.spare == nil {
		w.spare = new(flow.Extra)
	}
	if _, err := decodeEntry(m.typ, attrs, family, f, w.spare); err != nil {
		return unix.EBADMSG
	}
	if f.Extra != nil {
		w.spare = nil // it is the result's now
	}
	return 0
}
