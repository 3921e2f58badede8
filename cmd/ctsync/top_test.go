package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/internal/control"
)

// TestTopNeedsTerminal: without one it refuses and says what to use.
func TestTopNeedsTerminal(t *testing.T) {
	for _, words := range [][]string{{"top"}, {"top", "--output", "json"}} {
		if got := ctsync(words...); got.exit != 1 || got.stdout != "" || !strings.Contains(got.stderr, "ctsync status --output json") {
			t.Errorf("%v: %+v", words, got)
		}
	}
}

// pseudoTerminal is both ends of one (pty(7)), 80 columns by 24 lines.
func pseudoTerminal(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// screen collects what a terminal is told. It is safe for concurrent use.
type screen struct {
	sync.Mutex
	text strings.Builder
}

func (s *screen) read(from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		s.Lock()
		s.text.Write(buf[:n])
		s.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	for give := time.Now().Add(10 * time.Second); time.Now().Before(give); time.Sleep(10 * time.Millisecond) {
		s.Lock()
		found := strings.Contains(s.text.String(), want)
		s.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("no %q in %q", want, s.text.String())
}

// TestTop runs the program on a pseudo-terminal: it shows what the daemon answers, and q ends it and gives the
// terminal back.
func TestTop(t *testing.T) {
	status, err := os.ReadFile("../../internal/show/testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.sock")
	server, err := control.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(ctx, func(_ context.Context, _ control.Request, out, _ io.Writer) int {
			out.Write(status)
			return 1
		})
	}()
	t.Cleanup(func() { cancel(); <-done })

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	near, far := pseudoTerminal(t)
	cmd := exec.Command(exe, "top", "--control", path)
	cmd.Env = append(os.Environ(), "CTSYNC_TEST_PROGRAM=1", "TERM=xterm", "LANG=C")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // its /dev/tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	far.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var s screen
	go s.read(near)
	s.await(t, "degraded")
	s.await(t, "LAST EVENTS")
	if _, err := near.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after q: %v", err)
	}
	s.await(t, "\x1b[?1049l") // back from the alternate screen
}
