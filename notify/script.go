package notify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ctsync/vrrp"
)

const scriptUsage = `want GROUP NAME STATE [PRIORITY], INSTANCE NAME STATE [PRIORITY] or STATE GROUP-NAME; ` +
	`in keepalived.conf: notify "/usr/sbin/ctsync notify"`

// ParseScript reads the arguments of a notify script: the four that keepalived appends to `notify "..."`,
// the same as written out in notify_master and the like (the priority may be left away), or the short form
// of a state and the group's name. Capitals are of no account but in names.
//
// keepalived forks scripts without waiting for them, so they arrive in any order: the notice carries the
// start of this process.
func ParseScript(args []string) (vrrp.Notice, error) {
	n, err := parseScript(args)
	if err != nil {
		return n, err
	}
	n.At, err = StartOf(os.Getpid())
	return n, err
}

func parseScript(args []string) (vrrp.Notice, error) {
	if len(args) == 2 {
		args = []string{"GROUP", args[1], args[0]}
	}
	if len(args) == 3 {
		args = []string{args[0], args[1], args[2], "0"}
	}
	if len(args) != 4 || args[1] == "" {
		return vrrp.Notice{}, fmt.Errorf("notify: %d words: %s", len(args), scriptUsage)
	}
	n, err := parse(strings.ToUpper(args[0]), args[1], strings.ToUpper(args[2]), args[3], vrrp.SourceScript)
	if err != nil {
		return n, fmt.Errorf("%w; %s", err, scriptUsage)
	}
	return n, nil
}

// userHZ is the unit of times in /proc, 1/100 s on every Linux platform that Go runs on (USER_HZ).
const userHZ = 100

// StartOf tells when a process was started: the time since the machine's boot, counted from the Unix epoch,
// so that a step of the wall clock between two scripts does not swap them. The kernel tells it in ticks of
// 10 ms; within a tick the process id, which grows with each fork except when it wraps (and is under 2^22),
// gives the order.
func StartOf(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, fmt.Errorf("notify: start of process %d: %w", pid, err)
	}
	ticks, err := startTicks(stat)
	if err != nil {
		return time.Time{}, fmt.Errorf("notify: start of process %d: %w", pid, err)
	}
	return startTime(ticks, pid), nil
}

func startTime(ticks int64, pid int) time.Time {
	return time.Unix(0, ticks*int64(time.Second)/userHZ+int64(pid))
}

// startTicks reads field 22 of /proc/PID/stat, proc_pid_stat(5). The command's name, field 2, may hold
// blanks and parentheses.
func startTicks(stat []byte) (int64, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, errors.New("a stat file without a start time")
	}
	return strconv.ParseInt(string(fields[19]), 10, 64)
}
