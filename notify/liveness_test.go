package notify

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ctsync/vrrp"
)

// life watches a sleep in place of keepalived.
type life struct {
	t    *testing.T
	file string
	said chan string
}

func newLife(t *testing.T) *life {
	l := &life{t: t, file: filepath.Join(t.TempDir(), "pid"), said: make(chan string, 16)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	watch := Liveness{PIDFile: l.file, Program: "sleep", Poll: 10 * time.Millisecond}
	go func() {
		done <- watch.Run(ctx, func(n vrrp.Notice) { l.said <- fmt.Sprint(n.State, n.Event) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *life) start(program ...string) *exec.Cmd {
	l.t.Helper()
	c := exec.Command(program[0], program[1:]...)
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { kill(c) })
	l.write(fmt.Sprintln(c.Process.Pid))
	return c
}

func (l *life) write(text string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func kill(c *exec.Cmd) {
	if c.ProcessState == nil {
		c.Process.Kill()
		c.Wait()
	}
}

func (l *life) want(want string) {
	l.t.Helper()
	select {
	case got := <-l.said:
		if got != want {
			l.t.Fatalf("got %s, want %s", got, want)
		}
	case <-time.After(5 * time.Second):
		l.t.Fatalf("nothing in 5 s, want %s", want)
	}
}

func (l *life) quiet() {
	l.t.Helper()
	select {
	case got := <-l.said:
		l.t.Fatalf("got %s, want nothing", got)
	case <-time.After(150 * time.Millisecond):
	}
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.quiet() // there is no file
	c := l.start("sleep", "60")
	l.want("UNKNOWN")
	kill(c)
	l.want("GONE")
	l.quiet() // the file still names it
	l.start("sleep", "60")
	l.want("UNKNOWN")
}

func TestLivenessUnreaped(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	c := l.start("sleep", "60")
	l.want("UNKNOWN")
	c.Process.Kill() // and nobody waits for it
	l.want("GONE")
	l.quiet()
}

func TestLivenessRestartedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	c := l.start("sleep", "60")
	l.want("UNKNOWN")
	next := exec.Command("sleep", "60")
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	defer kill(next)
	l.write(fmt.Sprint(next.Process.Pid))
	kill(c)
	l.want("UNKNOWNRESTARTED")
	kill(next)
	l.want("GONE")
}

func TestLivenessNeverSeen(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	for _, text := range []string{"", "x", "-1", "0", "1073741824"} {
		l.write(text)
		time.Sleep(30 * time.Millisecond)
	}
	l.start("tail", "-f", "/dev/null") // a stale number that another program has now
	l.quiet()
}
