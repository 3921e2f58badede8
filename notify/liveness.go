package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/vrrp"
)

// PIDFile is where keepalived's first process writes its process id, unless told otherwise (-p, -s).
const PIDFile = "/run/keepalived.pid"

// Liveness watches keepalived's first process. Killed with -9, or ended by a broken reload, keepalived says
// nothing and leaves its addresses on the interfaces.
//
// It tells Daemon/Unknown when the process is there, at first and again, Daemon/Gone when it has died, and
// Daemon/RESTARTED when another was there in its place within vrrp.RestartWindow. It says nothing before it
// has once seen the process alive: a wrong path is no death.
//
// (A dead child is respawned by the first process within 50 ms and tells its state anew; a child whose
// parent is dead says STOP and ends.)
type Liveness struct {
	PIDFile string // empty: the default
	// Program is how the name of the process's executable begins; empty: keepalived. A stale file may name
	// a process that has nothing to do with it.
	Program string
	// Poll is how often the file is read while the process is not there; zero: 0.2 s.
	Poll time.Duration
}

// Run watches until ctx ends.
func (l *Liveness) Run(ctx context.Context, deliver func(vrrp.Notice)) error {
	say := func(s vrrp.State, event string) {
		deliver(vrrp.Notice{Source: vrrp.SourceProcess, Kind: vrrp.Daemon, State: s, Event: event})
	}
	for died := false; ; {
		_, process, err := l.find()
		switch {
		case err == nil && died:
			say(vrrp.Unknown, vrrp.EventRestarted)
		case err == nil:
			say(vrrp.Unknown, "")
		case died:
			say(vrrp.Gone, "")
		}
		died = false
		if err != nil {
			if !pause(ctx, l.poll()) {
				return nil
			}
			continue
		}
		died = awaitExit(ctx, process)
		process.Close()
		if !died || !pause(ctx, vrrp.RestartWindow) {
			return nil
		}
	}
}

func (l *Liveness) poll() time.Duration {
	if l.Poll > 0 {
		return l.Poll
	}
	return 200 * time.Millisecond
}

// find opens the process that the file names, as a pidfd.
func (l *Liveness) find() (pid int, process *os.File, err error) {
	path := l.PIDFile
	if path == "" {
		path = PIDFile
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, nil, err
	}
	pid, err = strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || pid <= 0 {
		return 0, nil, fmt.Errorf("notify: %s holds no process id", path)
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return 0, nil, fmt.Errorf("notify: open process %d of %s: %w", pid, path, err)
	}
	process = os.NewFile(uintptr(fd), "pidfd")
	if err := l.check(pid); err != nil || exited(fd) {
		process.Close()
		return 0, nil, errors.Join(err, os.ErrProcessDone)
	}
	return pid, process, nil
}

func (l *Liveness) check(pid int) error {
	want := l.Program
	if want == "" {
		want = "keepalived"
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if errors.Is(err, os.ErrPermission) {
		// Only root, or who may trace the process, may know the file. Its name is everybody's to read.
		var comm []byte
		comm, err = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		exe = string(bytes.TrimSpace(comm))
	}
	if errors.Is(err, os.ErrNotExist) {
		// It lives, or there would be no pidfd, and is hidden from this service (hidepid, ProtectProc=). That it is
		// keepalived is what the file says, which is root's and does not survive a boot.
		return nil
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(filepath.Base(exe), want) {
		return fmt.Errorf("notify: process %d is %s, not %s", pid, exe, want)
	}
	return nil
}

// awaitExit waits until the process has exited; false: until ctx has ended.
func awaitExit(ctx context.Context, process *os.File) bool {
	defer context.AfterFunc(ctx, func() { process.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := process.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool { return exited(int(fd)) })
	return err == nil
}

// exited says whether the pidfd's process is no more: the descriptor is readable then.
func exited(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
