package notifytest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Bus is a D-Bus daemon of the test's own, with the policy of a system bus: keepalived may own its name,
// and everybody may send signals.
type Bus struct {
	Address string

	t      testing.TB
	socket string
	conf   string
	cmd    *exec.Cmd
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>system</type>
 <listen>unix:path=%s</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow user="*"/>
  <deny own="*"/>
  <allow send_type="signal"/>
  <allow send_type="method_call"/>
  <allow send_requested_reply="true" send_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/>
  <allow receive_type="method_return"/>
  <allow receive_type="error"/>
  <allow receive_type="signal"/>
 </policy>
 <policy user="root">
  <allow own="org.keepalived.Vrrp1"/>
 </policy>
</busconfig>
`

// StartBus starts a bus.
func StartBus(t testing.TB) *Bus {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctnbus") // t.TempDir may be longer than a socket's path can be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &Bus{t: t, socket: filepath.Join(dir, "bus"), conf: filepath.Join(dir, "bus.conf")}
	b.Address = "unix:path=" + b.socket
	if err := os.WriteFile(b.conf, fmt.Appendf(nil, busConfig, b.socket), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Kill)
	return b
}

// Start starts it again after Kill, at the same address.
func (b *Bus) Start() {
	b.t.Helper()
	os.Remove(b.socket)
	b.cmd = exec.Command("dbus-daemon", "--config-file="+b.conf, "--nofork", "--nopidfile")
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	Eventually(b.t, "the D-Bus daemon listens", func() bool {
		c, err := net.Dial("unix", b.socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// Kill ends it.
func (b *Bus) Kill() {
	if b.cmd.ProcessState == nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
	}
}
