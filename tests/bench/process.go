package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one daemon in a namespace.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start starts a program in a namespace; what it says goes into a file of the folder.
func (l *lab) start(ns, command string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(l.folder, ns+".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", ns, command}, args...)...) // ip becomes the program
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for us alone
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start %s: %w", command, err)
	}
	l.started = append(l.started, p)
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks it to end, and kills what has not in ten seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// tail is the end of what it said, for an error.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-1500):])
}

// cpu is the time that the process has used so far, to the nanosecond, threads that ended included: the process's
// own clock, which others may read (clock_getcpuclockid(3), include/linux/posix-timers_types.h).
func (p *process) cpu() time.Duration {
	const perProcess = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid())<<3|perProcess, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// rss is the memory that the process has in use, in bytes.
func (p *process) rss() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	for line := range bytes.Lines(b) {
		if kb, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(kb)), " kB"))
			return n << 10
		}
	}
	return 0
}

// wire is how many bytes and packets the namespace of the process has put on and taken from its sync link.
func (p *process) wire() (n traffic) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", p.pid()))
	for line := range bytes.Lines(b) {
		name, rest, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		if name != "sync0" {
			continue
		}
		f := strings.Fields(rest)
		n.bytes = number(f[0]) + number(f[8])
		n.packets = number(f[1]) + number(f[9])
	}
	return n
}

type traffic struct{ bytes, packets int }

func number(s string) int { n, _ := strconv.Atoi(s); return n }

// dropped is how many messages the kernel could not queue for the listeners of the namespace of the process.
func (p *process) dropped() (n int) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/netlink", p.pid()))
	if err != nil {
		return 0
	}
	defer f.Close()
	const netfilter = "12" // NETLINK_NETFILTER
	for s := bufio.NewScanner(f); s.Scan(); {
		// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
		if f := strings.Fields(s.Text()); len(f) >= 9 && f[1] == netfilter && f[3] != "00000000" {
			n += number(f[8])
		}
	}
	return n
}
