// Package bigtable makes the kernel's connection table larger for a while. Its limits are the machine's, not a namespace's. Who
// needs more takes the lock, writes down what there was, and puts it back; what a killed holder left behind the next one that
// takes the lock puts back.
package bigtable

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

const (
	lockFile  = "/run/lock/ctsync-test-table"
	savedFile = lockFile + ".saved"
)

// Limits are nf_conntrack_max and nf_conntrack_buckets.
type Limits [2]int

var files = [2]string{"/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_buckets"}

// held says that this process has the lock.
var held atomic.Bool

// Held says that this process has the lock.
func Held() bool { return held.Load() }

// For is the limit with which each namespace has room for so many flows: from 95 per cent on no copies are made.
func For(flows int) int { return flows * 100 / 90 }

// Raise makes the table hold that many flows in each namespace until restore.
func Raise(flows int) (restore func(), err error) {
	unlock, err := Lock(true)
	if err != nil {
		return nil, err
	}
	need := For(flows)
	old, err := Read()
	if err == nil && old[0] >= need {
		return unlock, nil
	}
	if err == nil {
		err = old.save()
	}
	if err == nil {
		err = Limits{need, need}.Set()
	}
	if err != nil {
		unlock()
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "nf_conntrack_max and nf_conntrack_buckets: %v, were %v\n", Limits{need, need}, old)
	return unlock, nil
}

// Hold has the lock until restore, after which the limits are what they were before.
func Hold() (restore func(), err error) {
	unlock, err := Lock(true)
	if err != nil {
		return nil, err
	}
	old, err := Read()
	if err == nil {
		err = old.save()
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Lock takes the lock, for which it waits or fails, and puts back what a killed holder left. unlock does too.
func Lock(wait bool) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(lockFile), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, err
	}
	Restore()
	held.Store(true)
	return func() {
		Restore()
		held.Store(false)
		f.Close()
	}, nil
}

// Restore puts back what was written down, if anything was. It is for the holder of the lock.
func Restore() {
	saved, err := os.ReadFile(savedFile)
	if err != nil {
		return
	}
	now, _ := Read()
	var was Limits
	if _, err = fmt.Sscan(string(saved), &was[0], &was[1]); err == nil {
		err = was.Set()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "restoring the limits of the conntrack table:", err)
		return
	}
	fmt.Fprintf(os.Stderr, "nf_conntrack_max and nf_conntrack_buckets: %v again, were %v\n", was, now)
	os.Remove(savedFile)
}

// Read gives what the limits are now.
func Read() (l Limits, err error) {
	for i, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return l, err
		}
		if l[i], err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l Limits) save() error {
	return os.WriteFile(savedFile, fmt.Appendf(nil, "%d %d", l[0], l[1]), 0o600)
}

// Set makes l the limits. It is for the holder of the lock.
func (l Limits) Set() error {
	for i, path := range files {
		if err := os.WriteFile(path, []byte(strconv.Itoa(l[i])), 0); err != nil {
			return err
		}
	}
	return nil
}
