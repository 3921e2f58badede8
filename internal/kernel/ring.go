package kernel

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Ring is a BPF ring buffer (Documentation/bpf/ringbuf.rst) that the program of the event socket copies messages into, instead of
// letting them into the socket's queue. It is memory that both sides see: nothing is allocated, queued and freed for an
// event, and no system call fetches it. An event costs the daemon half as much so.
//
// It is three files of the kernel's, so that one process can make it, which takes a privilege, and give it to another.
type Ring struct{ records, routing, program *os.File }

// ringSize is room for 4,000 events, a hundredth of a second at the 350,000/s that one kernel makes; then the socket's queue takes over.
const ringSize = 1 << 20

// MakeRing needs CAP_BPF, Linux 5.12 (5.18 on arm64) and a processor of 64 bits: positions in a ring are as wide as the kernel's.
func MakeRing() (*Ring, error) { return makeRing(ringSize) }

func makeRing(size int) (*Ring, error) {
	if bits.UintSize < 64 {
		return nil, errors.New("kernel: a BPF ring needs a processor of 64 bits")
	}
	r, err := loadRing(size)
	if errors.Is(err, unix.EPERM) {
		err = unix.EPERM // without the library's guess at a limit of locked memory, which is over since Linux 5.11
	}
	if err != nil {
		return nil, fmt.Errorf("kernel: make a BPF ring (needs CAP_BPF, Linux 5.12): %w", err)
	}
	return r, nil
}

func loadRing(size int) (*Ring, error) {
	records, err := ebpf.NewMap(&ebpf.MapSpec{Name: "ctsync_events", Type: ebpf.RingBuf, MaxEntries: uint32(size)})
	if err != nil {
		return nil, err
	}
	defer records.Close()
	routing, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "ctsync_route", Type: ebpf.Array, KeySize: 4, ValueSize: routingSize, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return nil, err
	}
	defer routing.Close()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "ctsync_events", Type: ebpf.SocketFilter, License: "Apache-2.0", Instructions: ringProgram(records.FD(), routing.FD()),
	})
	if err != nil {
		return nil, err
	}
	defer program.Close()
	var files []*os.File
	for _, fd := range []int{records.FD(), routing.FD(), program.FD()} {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, os.NewFile(uintptr(own), "ring"))
	}
	return RingOf(files)
}

// RingOf is the ring of another's Files, which are its own from now on, also after an error.
func RingOf(files []*os.File) (*Ring, error) {
	if len(files) != 3 {
		closeAll(files)
		return nil, fmt.Errorf("kernel: a ring has three files, not %d", len(files))
	}
	return &Ring{files[0], files[1], files[2]}, nil
}

// Files are what RingOf wants.
func (r *Ring) Files() []*os.File { return []*os.File{r.records, r.routing, r.program} }

// Close gives the files up.
func (r *Ring) Close() { closeAll(r.Files()) }

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// ringReader is a ring as who reads sees it. Where a message goes says the route, a word that both sides change:
//
//	route         the program                                   becomes
//	routeRing     copies it                                     routeQueue: it does not fit
//	routeWake     copies it, and wakes who sleeps               routeRing
//	routeQueue    leaves it to the socket                       -
//
//	the reader    asks for a wake-up before it sleeps           routeRing to routeWake, and back
//	              has emptied ring and queue                    routeQueue to routeRing
//
// So order is kept: with routeQueue what is in the ring is older than what is in the queue. Afterwards a straggler may come to the queue,
// from another processor that had looked at the route before it changed: for a while the queue is looked at before the ring,
// and always before the reader sleeps. Who makes an event copies first and then looks whether to wake; the reader asks
// for it first and then looks whether there is something: so none is overlooked.
//
// One goroutine reads.
type ringReader struct {
	ring   *Ring
	mapped [][]byte // all that follows points into

	routing  *routing
	consumed *uint64 // positions, in bytes since the beginning
	produced *uint64
	data     []byte // the ring twice in a row, so that no record is in two pieces
	size     uint64 // of the ring, a power of two

	at, end uint64 // what is next to be read, and what there was when it was last looked
	settle  int    // before so many reads more the queue is looked at for stragglers
}

// settling is a tenth of a second of reads under load: longer than a processor takes from looking at the route to queueing.
const settling = 256

// routing is what program and reader tell each other.
type routing struct {
	route     uint32
	ignored   uint32 // the port whose messages are dropped, as BPF loads it; 0: none
	some      uint32 // not 0: only flows of the protocols that follow
	_         uint32
	protocols [32]uint8 // a bit each, the lowest first
}

// Where that is, for the program.
const (
	routeOffset     = int16(unsafe.Offsetof(routing{}.route))
	ignoredOffset   = int16(unsafe.Offsetof(routing{}.ignored))
	someOffset      = int16(unsafe.Offsetof(routing{}.some))
	protocolsOffset = int16(unsafe.Offsetof(routing{}.protocols))
	routingSize     = uint32(unsafe.Sizeof(routing{}))
)

// Values of the route; the first is that of a new ring.
const (
	routeQueue = iota
	routeRing
	routeWake
)

// A record has a header of the kernel's and one of ours, the message's length; the memory between message and record's end is
// whatever was there.
const (
	recordHeader = unix.BPF_RINGBUF_HDR_SZ
	recordLength = 8
	recordBusy   = unix.BPF_RINGBUF_BUSY_BIT
	recordFlags  = unix.BPF_RINGBUF_BUSY_BIT | unix.BPF_RINGBUF_DISCARD_BIT
)

// newRingReader takes the ring over, also after an error.
func newRingReader(r *Ring, ignore uint32, protocols []uint8) (*ringReader, error) {
	rr := &ringReader{ring: r}
	if err := rr.mapAll(); err != nil {
		rr.close()
		return nil, fmt.Errorf("kernel: map a BPF ring: %w", err)
	}
	rr.routing.ignored = turned32(ignore)
	for _, p := range protocols {
		rr.routing.some = 1
		rr.routing.protocols[p/8] |= 1 << (p % 8)
	}
	return rr, nil
}

func (r *ringReader) mapAll() error {
	page := os.Getpagesize()
	shared, err := r.mmap(r.ring.routing, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	consumer, err := r.mmap(r.ring.records, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	if r.size, err = sizeOf(r.ring.records); err != nil {
		return err
	}
	producer, err := r.mmap(r.ring.records, page, page+2*int(r.size), unix.PROT_READ)
	if err != nil {
		return err
	}
	r.routing = (*routing)(unsafe.Pointer(&shared[0]))
	r.consumed, r.produced, r.data = (*uint64)(unsafe.Pointer(&consumer[0])), (*uint64)(unsafe.Pointer(&producer[0])), producer[page:]
	r.at = atomic.LoadUint64(r.consumed)
	r.end = r.at
	return nil
}

// sizeOf is max_entries of a map, as the kernel tells of its descriptor.
func sizeOf(m *os.File) (size uint64, err error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.Fd()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if _, err := fmt.Sscanf(line, "max_entries: %d", &size); err == nil && size > 0 && size&(size-1) == 0 {
			return size, nil
		}
	}
	return 0, errors.New("not a ring")
}

func (r *ringReader) mmap(f *os.File, offset, size, access int) ([]byte, error) {
	b, err := unix.Mmap(int(f.Fd()), int64(offset), size, access, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	r.mapped = append(r.mapped, b)
	return b, nil
}

// attach has the program decide about what comes to the socket fd, in place of the one that may be there. What comes goes to the queue until
// the reader has emptied that.
func (r *ringReader) attach(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, int(r.ring.program.Fd())); err != nil {
		return fmt.Errorf("kernel: attach the ring's program: %w", err)
	}
	return nil
}

// noEnd is a position that is never reached.
const noEnd = ^uint64(0)

// next is the oldest message of the ring, nil if there is none before the position until; it is valid until release.
func (r *ringReader) next(until uint64) []byte {
	for r.at != until {
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
	return nil
}

// ready is the length of the next record, if there is one and it is complete.
func (r *ringReader) ready() (length uint32, ok bool) {
	if r.at == r.end && r.drained() {
		return 0, false
	}
	header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[r.at&(r.size-1)])))
	return header &^ recordFlags, header&recordBusy == 0
}

// release gives the memory of what was read back.
func (r *ringReader) release() { atomic.StoreUint64(r.consumed, r.at) }

// look is the position up to which there is something now.
func (r *ringReader) look() uint64 {
	r.end = atomic.LoadUint64(r.produced)
	return r.end
}

// drained: nothing is left, complete or being written.
func (r *ringReader) drained() bool { return r.at == r.look() }

// queued says that the socket's queue has what comes after the ring.
func (r *ringReader) queued() bool { return atomic.LoadUint32(&r.routing.route) == routeQueue }

// reopen has messages come through the ring again: both it and the queue are empty.
func (r *ringReader) reopen() {
	r.settle = settling
	atomic.StoreUint32(&r.routing.route, routeRing)
}

// available says whether there is something to read, in the ring or in the socket's queue; if not, what comes next wakes who
// waits.
func (r *ringReader) available(readable func() bool) bool {
	if _, ok := r.ready(); ok {
		return true
	}
	if r.queued() {
		if readable() || !r.drained() { // who completes the record that is next wakes nobody now
			return true
		}
		r.reopen()
	}
	route := &r.routing.route
	atomic.CompareAndSwapUint32(route, routeRing, routeWake)
	if _, ok := r.ready(); ok {
		atomic.CompareAndSwapUint32(route, routeWake, routeRing)
		return true
	}
	if readable() {
		r.settle = max(r.settle, 1)
		return true
	}
	return false
}

// allProtocols ends the choice of protocols.
func (r *ringReader) allProtocols() { atomic.StoreUint32(&r.routing.some, 0) }

func (r *ringReader) close() {
	for _, b := range r.mapped {
		_ = unix.Munmap(b)
	}
	r.ring.Close()
}
