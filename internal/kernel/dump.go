package kernel

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// ErrInterrupted says that the table changed its shape under a dump (NLM_F_DUMP_INTR): every flow that was
// delivered was there, but some may be missing. Dump again.
var ErrInterrupted = errors.New("kernel: dump: interrupted by a change of the table, dump again")

// dumpBuffer is as much as the kernel puts into one datagram of a dump; more changes nothing (measured).
const dumpBuffer = 32 << 10

// dumpWait bounds one read of a dump, which the kernel answers at once.
const dumpWait = 10 * time.Second

// Dump reads the whole table, and then the expectations, of the calling thread's network namespace, both families, and hands it to each
// in pieces of at most len(into) flows, which must not be 0. The piece and every Extra in it are valid during
// the call only. An error of each ends the dump and is returned as it is. ErrInterrupted comes after the last
// piece. Memory does not grow with the table.
//
// Entries that cannot be decoded are skipped; MalformedError then tells how many, after the last piece.
func Dump(into []flow.Flow, each func([]flow.Flow) error) error {
	fd, _, err := open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := setReceiveTimeout(fd, dumpWait); err != nil {
		return err
	}
	size, done := openBuckets()
	defer done()
	d := dump{into: into, each: each, size: size, began: size()}
	for _, typ := range []uint16{msgGet, msgExpGet} {
		// The family 0 (AF_UNSPEC) is every family, in one walk of the table.
		d.seq++
		req := finish(appendHeader(nil, typ, unix.NLM_F_DUMP, d.seq, unix.AF_UNSPEC), 0)
		if err := write(fd, req); err != nil {
			return fmt.Errorf("kernel: dump: %w", err)
		}
		if err := d.walk(func(b []byte) (int, error) { return read(fd, b) }); err != nil {
			return err
		}
	}
	return d.finish()
}

// MalformedError is the number of entries of a dump that could not be decoded.
type MalformedError int

func (n MalformedError) Error() string {
	return fmt.Sprintf("kernel: dump: %d entries that could not be decoded", int(n))
}

// dump is one dump under way.
type dump struct {
	into        []flow.Flow
	each        func([]flow.Flow) error
	seq         uint32
	size        func() int // of the kernel's hash table, now
	began       int        // and when the dump began
	n           int        // of into
	extras      extras
	interrupted bool
	malformed   int
}

// run is one walk, and the end.
func (d *dump) run(read func([]byte) (int, error)) error {
	if err := d.walk(read); err != nil {
		return err
	}
	return d.finish()
}

// walk reads datagrams until the kernel has no more.
func (d *dump) walk(read func([]byte) (int, error)) error {
	buf := make([]byte, dumpBuffer)
	for {
		n, err := read(buf)
		if err != nil {
			return fmt.Errorf("kernel: dump: %w", err)
		}
		d.interrupted = d.interrupted || d.resized()
		done, err := d.datagram(buf[:n])
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// resized says that the hash table has another size than when the dump began. A walk goes on at its bucket's number,
// which is another place in a table of another size: what is in between is left out, and the kernel does not say so
// (ctnetlink_dump_table, up to Linux 6.18 at least). It is asked after each datagram, for which the kernel has walked on
// a little: a table that was made larger and smaller again has the size of the beginning at the end.
func (d *dump) resized() bool { return d.size != nil && d.size() != d.began }

func (d *dump) datagram(b []byte) (done bool, err error) {
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil {
			return false, fmt.Errorf("kernel: dump: %w", err)
		}
		b = rest
		if m.seq != d.seq {
			continue
		}
		d.interrupted = d.interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
		switch m.typ {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			return true, ended(&m)
		case msgNew, msgExpNew:
			if err := d.entry(&m); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// ended is the result of the dump as the kernel tells it.
func ended(m *message) error {
	errno, err := m.errno()
	if err != nil {
		return fmt.Errorf("kernel: dump: %w", err)
	}
	if errno != 0 {
		return fmt.Errorf("kernel: dump: %w", errno)
	}
	return nil
}

func (d *dump) entry(m *message) error {
	family, attrs, err := m.conntrack()
	if err == nil {
		_, err = d.extras.decode(m.typ, attrs, family, &d.into[d.n])
	}
	if err != nil {
		d.malformed++
		return nil
	}
	if d.n++; d.n < len(d.into) {
		return nil
	}
	return d.deliver()
}

func (d *dump) deliver() error {
	n := d.n
	d.n = 0
	if n == 0 {
		return nil
	}
	err := d.each(d.into[:n])
	d.extras.reset()
	return err
}

func (d *dump) finish() error {
	if err := d.deliver(); err != nil {
		return err
	}
	switch {
	case d.interrupted:
		return ErrInterrupted
	case d.malformed > 0:
		return MalformedError(d.malformed)
	}
	return nil
}
