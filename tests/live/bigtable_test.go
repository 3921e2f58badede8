package live

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ctsync/internal/kernel"
)

// The limits of the kernel's table are the machine's, not a namespace's. Who needs more takes the lock, writes
// down what there was, and puts it back; what a killed test left behind the next one that takes the lock, or
// starts, puts back.
const (
	tableLock  = "/run/lock/ctsync-test-table"
	tableSaved = tableLock + ".saved"
)

var tableLimits = []string{"/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_buckets"}

func TestMain(m *testing.M) {
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel { // most of a test's time is waiting
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.NumCPU()))
	}
	if unlock, err := lockTable(syscall.LOCK_NB); err == nil { // else its holder takes care
		unlock()
	}
	os.Exit(m.Run())
}

// room makes the kernel's table hold that many flows in each namespace until the test's end.
func room(t *testing.T, flows int) {
	t.Helper()
	need := flows * 100 / 90 // from 95 per cent on no copies are made
	max, _, err := kernel.Limits()
	if err != nil {
		t.Fatal(err)
	}
	if need <= max {
		return
	}
	old := holdTable(t)
	want := []string{strconv.Itoa(need), strconv.Itoa(need)}
	if err := writeLimits(want); err != nil {
		t.Fatal(err)
	}
	t.Logf("nf_conntrack_max and nf_conntrack_buckets: %v, were %v", want, old)
}

// holdTable has the lock until the test's end, and gives what the limits are and will be again.
func holdTable(t *testing.T) (old []string) {
	t.Helper()
	unlock, err := lockTable(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	if old, err = readLimits(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tableSaved, []byte(strings.Join(old, " ")), 0o600); err != nil {
		t.Fatal(err)
	}
	return old
}

// lockTable waits for the lock, or not with LOCK_NB, and puts back what a killed holder left. unlock does too.
func lockTable(flag int) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(tableLock), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(tableLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|flag); err != nil {
		f.Close()
		return nil, err
	}
	restoreLimits()
	return func() {
		restoreLimits()
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
		fmt.Fprintln(os.Stderr, "restoring the limits of the conntrack table:", err)
		return
	}
	fmt.Fprintf(os.Stderr, "nf_conntrack_max and nf_conntrack_buckets: %s again, were %v\n", saved, now)
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
		return fmt.Errorf("%d limits, want %d", len(values), len(tableLimits))
	}
	for i, path := range tableLimits {
		if err := os.WriteFile(path, []byte(values[i]), 0); err != nil {
			return err
		}
	}
	return nil
}
