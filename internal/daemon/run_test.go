package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/internal/control"
)

// alone makes this test binary run a daemon in a network namespace of its own: goroutines move between threads,
// so that only a process is in a namespace as a whole.
const alone = "CTSYNC_DAEMON_TEST_ALONE"

func TestMain(m *testing.M) {
	if folder := os.Getenv(alone); folder != "" {
		if err := runAlone(folder); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A daemon that ends leaves no goroutine, no descriptor and no socket behind, and does so at once; it can be
// started again. One that is refused does not either.
func TestRunEnds(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), alone+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v (making a network namespace needs root)\n%s", err, out)
	}
}

func runAlone(folder string) error {
	path, socket := filepath.Join(folder, "ctsync.conf"), filepath.Join(folder, "control")
	text := plain + "notify-fifo " + filepath.Join(folder, "fifo") + "\ntrack-file " + filepath.Join(folder, "ready") +
		"\nkeepalived-pid " + filepath.Join(folder, "pid") + "\ndbus off\nmetrics 127.0.0.1:39781\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	once := func() error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- Run(ctx, path, socket) }()
		if err := answers(socket); err != nil {
			return err
		}
		if err := Run(ctx, path, socket); err == nil || !strings.Contains(err.Error(), socket) {
			return fmt.Errorf("a second one on the same socket: %v", err)
		}
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(2 * time.Second):
			return fmt.Errorf("does not end; its goroutines:\n%s", stacks())
		}
	}
	if err := once(); err != nil { // the first makes what stays, such as the runtime's own
		return err
	}
	goroutines, files := runtime.NumGoroutine(), descriptors()
	const runs = 5
	for range runs {
		if err := once(); err != nil {
			return err
		}
	}
	for end := time.Now().Add(time.Second); runtime.NumGoroutine() > goroutines || len(descriptors()) >= len(files)+runs; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d goroutines, were %d; descriptors %v, were %v\n%s",
				runtime.NumGoroutine(), goroutines, descriptors(), files, stacks())
		}
	}
	if _, err := os.Stat(socket); err == nil {
		return fmt.Errorf("the control socket is still there")
	}
	return nil
}

// answers waits until the daemon answers its operator.
func answers(socket string) error {
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var out bytes.Buffer
		_, err := control.Call(context.Background(), socket, control.Request{Verb: []string{"status"}}, &out, &out)
		if err == nil && strings.Contains(out.String(), "fw1") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no answer: %v %s", err, out.String())
		}
	}
}

// descriptors are what is open, by name.
func descriptors() (names []string) {
	all, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range all {
		if name, err := os.Readlink(fd); err == nil {
			names = append(names, name)
		}
	}
	return names
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
