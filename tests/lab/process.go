package lab

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Line is one line that a process wrote, with the time at which it arrived here.
type Line struct {
	At   time.Time
	Text string
}

// Process is a long-running program inside a namespace, in a process group of its own. Safe for concurrent
// use.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; valid when done is closed

	mu    sync.Mutex
	lines []Line
}

// start starts a program inside the namespace; env is added to this process's environment.
func (n *Namespace) start(env []string, command string, args ...string) (*Process, error) {
	p := &Process{Name: n.Name + " " + command, cmd: exec.Command(command, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for us alone
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", p.Name, err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = n.Do(p.cmd.Start)
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("lab: start %s: %w", p.Name, err)
	}
	go p.collect(r)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *Process) collect(r io.ReadCloser) {
	defer r.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		line := Line{At: time.Now(), Text: s.Text()}
		p.mu.Lock()
		p.lines = append(p.lines, line)
		p.mu.Unlock()
	}
}

// Lines are what the process wrote since a time, oldest first.
func (p *Process) Lines(since time.Time) []Line {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := len(p.lines)
	for i > 0 && !p.lines[i-1].At.Before(since) {
		i--
	}
	return append([]Line(nil), p.lines[i:]...)
}

// Tail is the last n lines as one text, for an error's message.
func (p *Process) Tail(n int) string {
	lines := p.Lines(time.Time{})
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("\n    " + l.Text)
	}
	return b.String()
}

// Alive says whether the process still runs.
func (p *Process) Alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pid of the process; it stays known when the process is gone.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// signal sends sig to the whole process group.
func (p *Process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.Pid(), sig) }

// Kill9 kills the process and its group and waits for its end.
func (p *Process) Kill9() {
	if p == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end and waits; one that has not ended in time is killed, which is an error.
func (p *Process) Stop(limit time.Duration) error {
	if !p.Alive() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
		p.Kill9()
		return fmt.Errorf("lab: %s did not stop within %s; it last said:%s", p.Name, limit, p.Tail(5))
	}
}

// waitFor waits until ok, which it asks ever more slowly, from every 2 ms to every 50 ms; the error names what
// was waited for.
func waitFor(what string, limit time.Duration, ok func() bool) error {
	pause := 2 * time.Millisecond
	for end := time.Now().Add(limit); !ok(); time.Sleep(pause) {
		if time.Now().After(end) {
			return fmt.Errorf("lab: waited %s for %s", limit, what)
		}
		pause = min(pause*3/2, 50*time.Millisecond)
	}
	return nil
}
