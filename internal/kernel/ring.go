package kernel

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ring is a BPF ring buffer (Documentation/bpf/ringbuf.rst) that the program of the event socket copies messages into, instead of
// letting them into the socket's queue. It is memory that both sides see: nothing is allocated, queued and freed for an
// event, and no system call fetches it. An event costs the daemon half as much so, and those who make it less, too.
//
// Where a message goes says the route, a word that both sides change:
//
//	route         the program                                   becomes
//	routeRing     copies it                                     routeQueue: it does not fit
//	routeWake     copies it, and wakes who sleeps               routeRing
//	routeQueue    leaves it to the socket                       -
//
//	the reader    asks for a wake-up before it sleeps           routeRing to routeWake, and back
//	              finds something in the socket's queue         routeQueue
//	              has emptied ring and queue                    routeQueue to routeWake
//
// So order is kept: what is in the queue is younger than what is in the ring, and older than what comes into the ring after both
// were empty. What another processor is about to queue just then is seen before the reader sleeps, or wakes it. Who makes an
// event copies first and then looks whether to wake; the reader asks for it first and then looks whether there is
// something: so none is overlooked.
//
// One goroutine reads.
type ring struct {
	program          *ebpf.Program
	records, routing *ebpf.Map
	mapped           [][]byte // all that follows points into

	route    *uint32
	all      *uint32 // not 0: flows of every protocol
	consumed *uint64 // positions, in bytes since the beginning
	produced *uint64
	data     []byte // the ring twice in a row, so that no record is in two pieces
	size     uint64 // of the ring, a power of two

	at, end uint64 // what is next to be read, and what there was when it was last looked
}

// Values of the route.
const (
	routeQueue = iota
	routeRing
	routeWake
)

// ringSize is room for 4,000 events, a hundredth of a second at the 350,000/s that one kernel makes; then the socket's queue takes over.
const ringSize = 1 << 20

// A record has a header of the kernel's and one of ours, the message's length; the memory between message and record's end is
// whatever was there.
const (
	recordHeader = unix.BPF_RINGBUF_HDR_SZ
	recordLength = 8
	recordBusy   = unix.BPF_RINGBUF_BUSY_BIT
	recordFlags  = unix.BPF_RINGBUF_BUSY_BIT | unix.BPF_RINGBUF_DISCARD_BIT
)

// openRing needs CAP_BPF and Linux 5.12. Messages of the given ports are dropped, and events of flows whose protocol is not among those
// given, if any are.
func openRing(size int, ports []uint32, protocols []uint8) (*ring, error) {
	r := &ring{size: uint64(size)}
	if err := r.open(ports, protocols); err != nil {
		r.close()
		return nil, fmt.Errorf("kernel: make a BPF ring: %w", err)
	}
	return r, nil
}

func (r *ring) open(ports []uint32, protocols []uint8) (err error) {
	if len(ports) > maxPorts {
		return errTooManyPorts
	}
	if r.records, err = ebpf.NewMap(&ebpf.MapSpec{Name: "ctsync_events", Type: ebpf.RingBuf, MaxEntries: uint32(r.size)}); err != nil {
		return err
	}
	r.routing, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "ctsync_route", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return err
	}
	r.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "ctsync_events", Type: ebpf.SocketFilter, License: "Apache-2.0",
		Instructions: ringProgram(r.records.FD(), r.routing.FD(), ports, protocols),
	})
	if err != nil {
		return err
	}
	return r.mapAll()
}

func (r *ring) mapAll() error {
	page := os.Getpagesize()
	routing, err := r.mmap(r.routing, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	consumer, err := r.mmap(r.records, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	producer, err := r.mmap(r.records, page, page+2*int(r.size), unix.PROT_READ)
	if err != nil {
		return err
	}
	r.route, r.all = (*uint32)(unsafe.Pointer(&routing[0])), (*uint32)(unsafe.Pointer(&routing[allOffset]))
	r.consumed, r.produced, r.data = (*uint64)(unsafe.Pointer(&consumer[0])), (*uint64)(unsafe.Pointer(&producer[0])), producer[page:]
	atomic.StoreUint32(r.route, routeRing)
	return nil
}

func (r *ring) mmap(m *ebpf.Map, offset, size, access int) ([]byte, error) {
	b, err := unix.Mmap(m.FD(), int64(offset), size, access, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	r.mapped = append(r.mapped, b)
	return b, nil
}

// attach has the program decide about what comes to the socket fd.
func (r *ring) attach(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, r.program.FD()); err != nil {
		return fmt.Errorf("kernel: attach the BPF program: %w", err)
	}
	return nil
}

// next is the oldest message of the ring, nil if there is none; it is valid until release.
func (r *ring) next() []byte {
	for {
		length, ok := r.ready()
		if !ok {
			return nil
		}
		record := r.data[r.at&(r.size-1)+recordHeader:][:length]
		r.at += recordHeader + uint64(length+7)&^7
		if n := *(*uint32)(unsafe.Pointer(&record[0])); n > 0 { // else it only woke us
			return record[recordLength:][:n]
		}
	}
}

// ready is the length of the next record, if there is one and it is complete.
func (r *ring) ready() (length uint32, ok bool) {
	if r.at == r.end {
		if r.end = atomic.LoadUint64(r.produced); r.at == r.end {
			return 0, false
		}
	}
	header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[r.at&(r.size-1)])))
	return header &^ recordFlags, header&recordBusy == 0
}

// release gives the memory of what was read back.
func (r *ring) release() { atomic.StoreUint64(r.consumed, r.at) }

// queued says that the socket's queue has what comes after the ring.
func (r *ring) queued() bool { return atomic.LoadUint32(r.route) == routeQueue }

// available says whether there is something to read, in the ring or in the socket's queue; if not, what comes next wakes who
// waits.
func (r *ring) available(readable func() bool) bool {
	if _, ok := r.ready(); ok {
		return true
	}
	if r.queued() {
		if readable() {
			return true
		}
		atomic.StoreUint32(r.route, routeWake)
	}
	atomic.CompareAndSwapUint32(r.route, routeRing, routeWake)
	if _, ok := r.ready(); ok {
		atomic.CompareAndSwapUint32(r.route, routeWake, routeRing)
		return true
	}
	if readable() {
		atomic.StoreUint32(r.route, routeQueue)
		return true
	}
	return false
}

// allProtocols ends the choice of protocols.
func (r *ring) allProtocols() { atomic.StoreUint32(r.all, 1) }

func (r *ring) close() {
	for _, b := range r.mapped {
		_ = unix.Munmap(b)
	}
	if r.program != nil {
		r.program.Close()
	}
	for _, m := range []*ebpf.Map{r.records, r.routing} {
		if m != nil {
			m.Close()
		}
	}
}
