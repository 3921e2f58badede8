package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// The limits of the kernel's table are the machine's, not a namespace's. Who needs more takes the lock that the
// live tests take too, writes down what there was, and puts it back; what a killed run left behind the next one
// puts back.
const (
	tableLock  = "/run/lock/ctsync-test-table"
	tableSaved = tableLock + ".saved"
)

var tableLimits = []string{"/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_buckets"}

// tableHeld says that this process has the lock.
var tableHeld atomic.Bool

// raise makes the table hold that many flows in each namespace until restore.
func raise(flows int) (restore func(), err error) {
	unlock, err := lockTable()
	if err != nil {
		return nil, err
	}
	old, err := readLimits()
	if err != nil {
		unlock()
		return nil, err
	}
	need := flows * 100 / 90 // from 95 per cent on no copies are made
	if now, _ := strconv.Atoi(old[0]); now >= need {
		return unlock, nil
	}
	if err := os.WriteFile(tableSaved, []byte(strings.Join(old, " ")), 0o600); err != nil {
		unlock()
		return nil, err
	}
	want := []string{strconv.Itoa(need), strconv.Itoa(need)}
	if err := writeLimits(want); err != nil {
		unlock()
		return nil, err
	}
	progress("nf_conntrack_max and nf_conntrack_buckets: %v, were %v", want, old)
	return unlock, nil
}

// lockTable waits for the lock, and puts back what a killed holder left. unlock does too.
func lockTable() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(tableLock), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(tableLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	restoreLimits()
	tableHeld.Store(true)
	return func() {
		restoreLimits()
		tableHeld.Store(false)
		f.Close()
	}, nil
}

func restoreLimits() {
	saved, err := os.ReadFile(tableSaved)
	if err != nil {
		return
	}
	now, _ := readLimits()
	if err := writeLimits(strings.Fields(string(saved))); err != nil {
		fmt.Fprintln(os.Stderr, "bench: restoring the limits of the conntrack table:", err)
		return
	}
	progress("nf_conntrack_max and nf_conntrack_buckets: %s again, were %v", saved, now)
	os.Remove(tableSaved)
}

func readLimits() (values []string, err error) {
	for _, path := range tableLimits {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		values = append(values, strings.TrimSpace(string(b)))
	}
	return values, nil
}

func writeLimits(values []string) error {
	if len(values) != len(tableLimits) {
		return fmt.Errorf("bench: %d limits, want %d", len(values), len(tableLimits))
	}
	for i, path := range tableLimits {
		if err := os.WriteFile(path, []byte(values[i]), 0); err != nil {
			return err
		}
	}
	return nil
}
