package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"ctsync/vrrp"
)

const (
	// fifoCapacity is what the pipe is made to hold, about 30,000 lines: without a reader keepalived fills
	// it and then drops lines in silence. The kernel's default is 64 KiB.
	fifoCapacity = 1 << 20
	// maxLine bounds a line; keepalived's are single writes under PIPE_BUF.
	maxLine = 4096
	// recheck is how often the path is compared with what is open, besides the directory's own events.
	recheck = time.Second
)

// FIFO is keepalived's notify FIFO (vrrp_notify_fifo), read by its one consumer.
//
// It is made here and held open for reading and writing, so that neither a reload nor a restart of
// keepalived loses a line or ends the stream: keepalived unlinks only what it made itself. Where it was
// earlier and made the FIFO, a reload of it replaces the file, which is noticed and followed.
//
// Run's goroutine owns it; Stats and Close are safe for concurrent use.
type FIFO struct {
	// OnError, when set before Run, is told what was not understood or lost, at most once a second.
	OnError func(error)

	path   string
	owners []int
	file   atomic.Pointer[os.File]
	closed atomic.Bool
	part   []byte // of a line that has no end yet
	skip   bool   // the rest of an over-long line is skipped
	told   time.Time

	lines, malformed, foreign, replaced, full atomic.Uint64
}

// FIFOStats are counters since OpenFIFO.
type FIFOStats struct {
	Lines     uint64 // understood
	Malformed uint64 // not understood, over-long ones among them
	Foreign   uint64 // about virtual and real servers
	Replaced  uint64 // another FIFO took the path
	Full      uint64 // found full: lines may have been lost
}

// OpenFIFO makes the FIFO at path, mode 0600, or opens the one that is there. It must be a FIFO, not
// writable by others, and owned by root, this process's user or one of owners (user ids): keepalived from
// 2.4 on refuses one that belongs neither to its own user nor to the one named on its vrrp_notify_fifo line.
func OpenFIFO(path string, owners ...int) (*FIFO, error) {
	f := &FIFO{path: path, owners: append([]int{0, os.Geteuid()}, owners...)}
	file, err := f.open()
	if err != nil {
		return nil, err
	}
	f.file.Store(file)
	return f, nil
}

func (f *FIFO) open() (*os.File, error) {
	if err := unix.Mkfifo(f.path, 0o600); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("notify: make the FIFO %s: %w (does its directory exist, and is it ours to write?)", f.path, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(f.path, &st); err != nil { // before it is opened: opening a device may have effects
		return nil, fmt.Errorf("notify: look at the FIFO %s: %w", f.path, err)
	}
	if err := f.refuse(&st); err != nil {
		return nil, err
	}
	fd, err := unix.Open(f.path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("notify: open the FIFO %[1]s: %[2]w: it belongs to user %[3]d, and this is user %[4]d: chown it, and name "+
			"that owner in keepalived.conf: vrrp_notify_fifo %[1]s USER GROUP", f.path, err, st.Uid, os.Geteuid())
	}
	if err = unix.Fstat(fd, &st); err == nil {
		err = f.refuse(&st) // once more, of what was opened
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, fifoCapacity) // refused by a limit on pipes: the default does
	return os.NewFile(uintptr(fd), f.path), nil
}

// refuse says why something at the path is not a FIFO to believe.
func (f *FIFO) refuse(st *unix.Stat_t) error {
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return fmt.Errorf("notify: %s is a symbolic link, which keepalived does not open: remove it", f.path)
	case kind != unix.S_IFIFO:
		return fmt.Errorf("notify: %s is not a FIFO: remove it", f.path)
	case !slices.Contains(f.owners, int(st.Uid)):
		return fmt.Errorf("notify: the FIFO %s belongs to user %d, whose words are not believed: if another ctsync reads it, such as ctsync.service, set `notify-fifo` to a path of this one's own; else remove it", f.path, st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("notify: the FIFO %s can be written by others (mode %#o): chmod 600 it", f.path, st.Mode&0o777)
	}
	return nil
}

// Close ends Run and closes the FIFO. It stays in the file system: keepalived writes on, and the next
// daemon reads what was written meanwhile.
func (f *FIFO) Close() error {
	f.closed.Store(true)
	return f.file.Load().Close()
}

// Stats returns the counters.
func (f *FIFO) Stats() FIFOStats {
	return FIFOStats{
		Lines: f.lines.Load(), Malformed: f.malformed.Load(), Foreign: f.foreign.Load(),
		Replaced: f.replaced.Load(), Full: f.full.Load(),
	}
}

// Run reads until ctx ends, which is its only way to end without an error but Close.
func (f *FIFO) Run(ctx context.Context, deliver func(vrrp.Notice)) error {
	defer context.AfterFunc(ctx, f.wake)()
	defer f.watch()()
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		file := f.file.Load()
		file.SetReadDeadline(time.Now().Add(recheck))
		if ctx.Err() != nil { // the wake-up may have come before the deadline was set
			break
		}
		full := isFull(file)
		n, err := file.Read(buf)
		f.take(buf[:n], deliver)
		switch {
		case full:
			f.drain(file, buf, deliver)
			f.lost(deliver)
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			f.dropPart(file)
			f.follow(buf, deliver)
		case f.closed.Load():
			return nil
		default:
			return fmt.Errorf("notify: read the FIFO %s: %w", f.path, err)
		}
	}
	return nil
}

// wake makes a Read under way return.
func (f *FIFO) wake() { f.file.Load().SetReadDeadline(time.Unix(1, 0)) }

// watch wakes the reader when something happens to the FIFO's path. Without inotify (its instances can be
// used up) the reader looks every second.
func (f *FIFO) watch() (stop func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return func() {}
	}
	if err := w.Add(filepath.Dir(f.path)); err != nil {
		w.Close()
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.Events {
			if filepath.Base(e.Name) == filepath.Base(f.path) && e.Op != fsnotify.Chmod {
				f.wake()
			}
		}
	}()
	return func() { w.Close(); <-done }
}

// follow opens what is at the path now, if that is no longer what is open. (While it is open its inode's
// number is not used again.) What the old one still holds is read first.
func (f *FIFO) follow(buf []byte, deliver func(vrrp.Notice)) {
	old := f.file.Load()
	here, err1 := os.Lstat(f.path)
	open, err2 := old.Stat()
	if err2 != nil || (err1 == nil && os.SameFile(here, open)) {
		return
	}
	file, err := f.open()
	if err != nil {
		f.report(err) // and looked at again a second later
		return
	}
	f.replaced.Add(1)
	f.drain(old, buf, deliver)
	f.part, f.skip = nil, false
	f.file.Store(file)
	if f.closed.Load() { // Close has seen the old one
		file.Close()
	}
	old.Close()
}

// drain reads what is there, without waiting.
func (f *FIFO) drain(file *os.File, buf []byte, deliver func(vrrp.Notice)) {
	for range 2 * fifoCapacity / len(buf) {
		if unread(file) == 0 {
			return
		}
		file.SetReadDeadline(time.Now().Add(recheck))
		n, err := file.Read(buf)
		f.take(buf[:n], deliver)
		if err != nil {
			return
		}
	}
}

// lost says that the FIFO was full: keepalived drops lines then, and the last line read may not be the
// last one written.
func (f *FIFO) lost(deliver func(vrrp.Notice)) {
	f.full.Add(1)
	f.report(fmt.Errorf("notify: the FIFO %s was full, so that lines of keepalived may be lost", f.path))
	deliver(vrrp.Notice{Source: vrrp.SourceFIFO, Kind: vrrp.Daemon, Event: vrrp.EventLinesLost})
}

// take splits what was read into lines.
func (f *FIFO) take(b []byte, deliver func(vrrp.Notice)) {
	for {
		line, rest, found := bytes.Cut(b, []byte{'\n'})
		if !found {
			break
		}
		f.line(append(f.part, line...), deliver)
		f.part, f.skip, b = f.part[:0], false, rest
	}
	if f.part = append(f.part, b...); len(f.part) > maxLine {
		f.part, f.skip = f.part[:0], true
	}
}

// dropPart gives up a line whose end does not come: keepalived writes whole ones, and its next should not
// be taken for the rest of somebody else's.
func (f *FIFO) dropPart(file *os.File) {
	if len(f.part) == 0 || unread(file) > 0 {
		return
	}
	f.malformed.Add(1)
	f.report(fmt.Errorf("notify: %.80q in the FIFO %s has no end and is skipped", f.part, f.path))
	f.part = f.part[:0]
}

func (f *FIFO) line(line []byte, deliver func(vrrp.Notice)) {
	if f.skip || len(line) > maxLine {
		f.malformed.Add(1)
		f.report(fmt.Errorf("notify: a line of more than %d bytes in the FIFO %s is skipped", maxLine, f.path))
		return
	}
	n, err := ParseLine(line)
	switch {
	case errors.Is(err, ErrForeign):
		f.foreign.Add(1)
	case err != nil:
		f.malformed.Add(1)
		f.report(fmt.Errorf("notify: a line of the FIFO %s is skipped: %w", f.path, err))
	default:
		f.lines.Add(1)
		deliver(n)
	}
}

func (f *FIFO) report(err error) {
	if f.OnError == nil || time.Since(f.told) < time.Second {
		return
	}
	f.told = time.Now()
	f.OnError(err)
}

// unread is how many bytes wait in the pipe.
func unread(file *os.File) (n int) {
	onFD(file, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
	return n
}

// isFull says that the pipe could not take another line. The kernel gives each page of it whole lines, so
// that up to a line's length is unused at each page's end: 80 bytes are a long one.
func isFull(file *os.File) bool {
	size := 0
	onFD(file, func(fd int) { size, _ = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0) })
	pages := size / os.Getpagesize()
	return size > 0 && unread(file) > size-os.Getpagesize()-pages*80
}

func onFD(file *os.File, do func(fd int)) {
	if c, err := file.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { do(int(fd)) })
	}
}
