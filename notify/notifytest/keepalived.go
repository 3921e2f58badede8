package notifytest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Keepalived is a running keepalived in a node's namespace.
type Keepalived struct {
	PIDFile string
	Conf    string // path of its configuration
	Log     string // path of what it logged

	t    testing.TB
	node *Node
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
}

// Keepalived starts one with the configuration. bus is the address of the D-Bus that it finds; empty: one
// that does not exist. Its files are in a directory of the test's.
func (n *Node) Keepalived(c Config, bus string) *Keepalived {
	t := n.lab.t
	t.Helper()
	if bus == "" {
		bus = "unix:path=/nonexistent"
	}
	dir := t.TempDir()
	k := &Keepalived{
		PIDFile: filepath.Join(dir, "ka.pid"), Conf: filepath.Join(dir, "keepalived.conf"), Log: filepath.Join(dir, "log"),
		t: t, node: n, env: append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+bus, "TMPDIR="+dir),
	}
	k.Write(c.String())
	k.Start()
	t.Cleanup(func() {
		k.Kill()
		if log, err := os.ReadFile(k.Log); err == nil && t.Failed() {
			t.Logf("keepalived of node %s:\n%s", n.Name, log)
		}
	})
	return k
}

// Write replaces the configuration, which is read at the next Start or Reload.
func (k *Keepalived) Write(conf string) {
	k.t.Helper()
	if err := os.WriteFile(k.Conf, []byte(conf), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// Start starts it again after it has ended.
func (k *Keepalived) Start() {
	k.t.Helper()
	log, err := os.OpenFile(k.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	dir := filepath.Dir(k.PIDFile)
	k.cmd = exec.Command("ip", "netns", "exec", k.node.NS, "keepalived", "-n", "-l", "-D", "-P", "-f", k.Conf,
		"-p", k.PIDFile, "-r", filepath.Join(dir, "vrrp.pid"), "-c", filepath.Join(dir, "check.pid"), "-b", filepath.Join(dir, "bfd.pid"))
	k.cmd.Env, k.cmd.Stdout, k.cmd.Stderr = k.env, log, log
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	done := make(chan struct{})
	k.done = done
	go func(c *exec.Cmd) { c.Wait(); close(done) }(k.cmd)
}

// Signal sends a signal to the first process.
func (k *Keepalived) Signal(s syscall.Signal) { k.cmd.Process.Signal(s) }

// Reload has it read its configuration again.
func (k *Keepalived) Reload(c Config) {
	k.t.Helper()
	k.Write(c.String())
	k.Signal(syscall.SIGHUP)
}

// Stop ends it in order, which takes a second.
func (k *Keepalived) Stop() {
	k.t.Helper()
	k.Signal(syscall.SIGTERM)
	k.AwaitExit()
}

// AwaitExit waits until it has ended.
func (k *Keepalived) AwaitExit() {
	k.t.Helper()
	select {
	case <-k.done:
	case <-time.After(10 * time.Second):
		k.t.Fatal("keepalived has not ended in 10 s")
	}
}

// Kill ends it with SIGKILL, all its processes at once, so that it cannot say or clean up anything.
func (k *Keepalived) Kill() {
	child := k.Child()
	k.Signal(syscall.SIGSTOP) // it must not respawn its child
	if child > 0 {
		syscall.Kill(child, syscall.SIGKILL)
	}
	k.Signal(syscall.SIGKILL)
	<-k.done
	// Where nobody reaps it the child stays a zombie, which the next keepalived would take for alive.
	os.Remove(filepath.Join(filepath.Dir(k.PIDFile), "vrrp.pid"))
}

// Child is the process id of the one that speaks VRRP, 0 when there is none.
func (k *Keepalived) Child() int {
	select {
	case <-k.done:
		return 0
	default:
	}
	pid := k.cmd.Process.Pid // ip has become keepalived by exec
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
	if err != nil {
		return 0
	}
	for _, word := range bytes.Fields(text) {
		child, _ := strconv.Atoi(string(word))
		if own, err := os.ReadFile(filepath.Join(filepath.Dir(k.PIDFile), "vrrp.pid")); err == nil && string(bytes.TrimSpace(own)) == string(word) {
			return child
		}
	}
	return 0
}

// SignalChild sends a signal to the process that speaks VRRP.
func (k *Keepalived) SignalChild(s syscall.Signal) {
	k.t.Helper()
	pid := k.Child()
	if pid == 0 {
		k.t.Fatal("keepalived has no child that speaks VRRP")
	}
	if err := syscall.Kill(pid, s); err != nil {
		k.t.Fatal(err)
	}
}

// Logged says whether its log holds the text.
func (k *Keepalived) Logged(text string) bool {
	log, _ := os.ReadFile(k.Log)
	return bytes.Contains(log, []byte(text))
}
