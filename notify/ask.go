package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/vrrp"
)

// Times of asking; they are ours.
const (
	// askAge is how long keepalived must have run: earlier it may not be ready for the signal, which would
	// end it, and it is about to speak by itself.
	askAge  = 2 * time.Second
	askWait = 2 * time.Second // an answer takes some ms
	askPoll = 20 * time.Millisecond
)

// Ask has keepalived write down its state, and reads the group's. It is for a start after keepalived's own,
// where the FIFO has nothing to tell until the next change and there is no D-Bus; the other drivers
// overrule it with their first word.
//
// keepalived answers SIGUSR1 by a dump in keepalived.data in its temporary directory, which holds a line
// such as "VRRP Sync Group = VG, MASTER". That it is text for people is why this is not a driver.
func Ask(ctx context.Context, pidFile, group string) (vrrp.Notice, error) {
	n := vrrp.Notice{Source: vrrp.SourceProcess, Kind: vrrp.Group, Name: group}
	state, err := ask(ctx, pidFile, group)
	if err != nil {
		return n, fmt.Errorf("notify: ask keepalived for its state: %w", err)
	}
	n.State = state
	return n, nil
}

func ask(ctx context.Context, pidFile, group string) (vrrp.State, error) {
	l := Liveness{PIDFile: pidFile}
	pid, process, err := l.find()
	if err != nil {
		return 0, err
	}
	defer process.Close()
	if age, err := ageOf(pid); err != nil || age < askAge {
		return 0, errors.Join(err, fmt.Errorf("it was started %v ago and will tell it by itself", age))
	}
	file := dumpFile(pid)
	before, _ := stamp(file)
	onFD(process, func(fd int) { err = unix.PidfdSendSignal(fd, unix.SIGUSR1, nil, 0) })
	if err != nil {
		return 0, err
	}
	for end := time.Now().Add(askWait); time.Now().Before(end); {
		if !pause(ctx, askPoll) {
			return 0, ctx.Err()
		}
		if state, ok := readDump(file, before, group); ok {
			return state, nil
		}
	}
	return 0, fmt.Errorf("no answer about the sync group %q in %s within %v", group, file, askWait)
}

// dumpFile is where the process dumps to, in its own view of the file system (PrivateTmp of its unit).
func dumpFile(pid int) string {
	tmp := "/tmp"
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for _, v := range bytes.Split(env, []byte{0}) {
		if dir, ok := strings.CutPrefix(string(v), "TMPDIR="); ok && filepath.IsAbs(dir) {
			tmp = dir
		}
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root", pid), tmp, "keepalived.data")
}

// stamp is when the file was written, if it is a regular file of root's: /tmp belongs to everybody.
func stamp(file string) (time.Time, bool) {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return time.Time{}, false
	}
	return info.ModTime(), true
}

var groupState = regexp.MustCompile(`(?m)^ *VRRP Sync Group = (.+), ([A-Z]+) *$`)

// readDump reads the group's state from a dump that was written since.
func readDump(file string, since time.Time, group string) (vrrp.State, bool) {
	at, ok := stamp(file)
	if !ok || at.Equal(since) {
		return 0, false
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for _, m := range groupState.FindAllSubmatch(text, -1) {
		if string(m[1]) == group {
			return vrrp.ParseState(string(m[2]))
		}
	}
	return 0, false
}

func ageOf(pid int) (time.Duration, error) {
	start, err := StartOf(pid)
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	return time.Duration(now.Nano() - start.UnixNano()), nil
}
