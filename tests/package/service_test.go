//go:build deb

package deb

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ctsync/internal/journal"
)

// result is how the service stands.
const result = "systemctl show -p ActiveState,Result,ExecMainStatus --value ctsync | tr '\\n' ' '"

// misconfigured: a daemon that another configuration only can start is not started again and again; the unit says so, and so does
// the journal. keepalived gets to know that a standby is not ready; a node that forwards keeps its addresses.
func misconfigured(m *machine) {
	for _, c := range []struct{ role, ready, before string }{
		{"standby", "0", "systemctl stop keepalived"}, {"active", "100", "systemctl start keepalived"},
	} {
		m.write("/etc/ctsync/ctsync.conf", configuration)
		m.must("systemctl reset-failed ctsync; systemctl is-active ctsync || systemctl start ctsync; " + c.before)
		m.role(c.role, 10*time.Second)
		m.must("printf '100\\n' >/run/ctsync-track/ready") // as of a standby that was ready
		m.must("echo nonsense >>/etc/ctsync/ctsync.conf")
		m.must("kill -9 $(systemctl show -p MainPID --value ctsync)")
		m.soon(result+" | grep failed | grep -q 78", 10*time.Second)
		m.says("cat /run/ctsync-track/ready", c.ready)
	}
	m.must("journalctl -u ctsync -q CTSYNC_EVENT=" + string(journal.ConfigurationRefused) + " -o cat | grep -q 'nothing is started'")
	m.soon("sleep 2; test $(systemctl show -p NRestarts --value ctsync) -le 1", 3*time.Second)
	m.says("ip -br address show dev eth0 | grep -c 192.0.2.1/25", "1")
	m.write("/etc/ctsync/ctsync.conf", configuration)
	m.must("systemctl restart ctsync")
	m.role("active", 5*time.Second)
}

// reloads says the truth, be it about the file or about the keys, which are not in it.
func reloads(m *machine) {
	pid := m.must("systemctl show -p MainPID --value ctsync")
	m.write("/etc/ctsync/ctsync.conf", configuration+"ignore-address 10.9.0.0/16\n")
	m.must("systemctl reload ctsync")
	m.soon("journalctl -u ctsync | grep -q 'ignore-address'", 5*time.Second)
	m.write("/etc/ctsync/ctsync.conf", configuration+"nonsense 1\n")
	m.fails("systemctl reload ctsync")
	m.must("sleep 0.5") // the daemon watches the file itself
	m.says("journalctl -u ctsync -o cat | grep -c 'ctsync.conf:3'", "1")
	m.must("journalctl -u ctsync -o cat CTSYNC_EVENT=configuration-refused | grep -q 'the configuration is refused, the old one goes on'")
	m.must("journalctl -u ctsync -o cat | grep -q 'ctsync: reload: refused, the old configuration goes on'")
	m.write("/etc/ctsync/key", "0123\n")
	m.write("/etc/ctsync/ctsync.conf", configuration+"key-file /etc/ctsync/key\n")
	m.must("chown ctsync /etc/ctsync/key && chmod 600 /etc/ctsync/key && ctsync config check 2>&1 | grep -q 'not a key'")
	m.fails("systemctl reload ctsync")
	m.soon("journalctl -u ctsync | grep -q 'not a key'", 5*time.Second)
	m.must("rm /etc/ctsync/key && ctsync keygen /etc/ctsync/key 2>&1 | grep -q 'chown ctsync /etc/ctsync/key$' && ctsync config check 2>&1 | grep -q 'cannot read' && chown ctsync /etc/ctsync/key")
	m.must("systemctl reload ctsync")
	m.write("/etc/ctsync/ctsync.conf", configuration)
	m.must("systemctl reload ctsync && rm /etc/ctsync/key")
	m.says("systemctl show -p MainPID --value ctsync", pid)
	m.says("systemctl is-active ctsync", "active")
}

// hangs: a daemon that stands still as a whole, or whose engine does while the rest goes on, is begun anew.
func hangs(m *machine) {
	restarted := func(what string, stop func(pid string), within time.Duration) {
		m.t.Helper()
		pid, begun := m.must("systemctl show -p MainPID --value ctsync"), time.Now()
		stop(pid)
		m.soon("test $(systemctl show -p MainPID --value ctsync) != "+pid+" && systemctl is-active ctsync", within)
		m.t.Logf("%s: begun anew after %v", what, time.Since(begun).Round(100*time.Millisecond))
		m.role("active", 5*time.Second)
	}
	restarted("kill -9", func(pid string) { m.must("kill -9 " + pid) }, 10*time.Second)
	restarted("SIGSTOP", func(pid string) { m.must("kill -STOP " + pid) }, 30*time.Second)

	m.must("cp /usr/sbin/ctsync /root/ctsync.kept && systemctl stop ctsync && cp " + m.put(hanging(m)) + " /usr/sbin/ctsync && systemctl start ctsync")
	m.role("active", 5*time.Second)
	restarted("a hang of the engine", func(string) { m.must("touch /run/ctsync/hang && sleep 1 && rm /run/ctsync/hang") }, 30*time.Second)
	m.must("journalctl -u ctsync | grep -q 'Watchdog timeout'")
	m.must("systemctl stop ctsync && cp /root/ctsync.kept /usr/sbin/ctsync && systemctl start ctsync")
	m.role("active", 5*time.Second)
}

// hanging builds a daemon whose engine's loop stands still for ever once there is a file /run/ctsync/hang.
func hanging(m *machine) string {
	m.t.Helper()
	const place, here = "../../internal/daemon/loop.go", "	l.fires = time.Time{}\n	now := rawio.Boottime()\n"
	source, err := os.ReadFile(place)
	if err != nil {
		m.t.Fatal(err)
	}
	planted := strings.Replace(string(source), here, here+"	if _, err := os.Stat(\"/run/ctsync/hang\"); err == nil {\n		select {}\n	}\n", 1)
	planted = strings.Replace(planted, "import (\n", "import (\n	\"os\"\n", 1)
	if len(planted) <= len(source)+10 {
		m.t.Fatalf("%s has no place for a hang any more", place)
	}
	real, err := filepath.Abs(place)
	if err != nil {
		m.t.Fatal(err)
	}
	file, overlay, program := filepath.Join(scratch, "loop.go"), filepath.Join(scratch, "overlay.json"), filepath.Join(scratch, "hanging")
	mapping, err := json.Marshal(map[string]map[string]string{"Replace": {real: file}})
	if err != nil {
		m.t.Fatal(err)
	}
	for name, text := range map[string][]byte{file: []byte(planted), overlay: mapping} {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", program, "./cmd/ctsync")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return program
}
