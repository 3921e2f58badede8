package hostcheck

import (
	"strings"
	"testing"

	"ctsync/internal/keepalived"
)

// TestPrinted: what `keepalived print` writes is what a check finds right.
func TestPrinted(t *testing.T) {
	const instances = "\nvrrp_instance OUTSIDE {\n interface eth0\n priority 50\n PREEMPT\n}\nvrrp_instance INSIDE {\n interface eth1\n priority 50\n PREEMPT\n}\n"
	for driver, want := range map[keepalived.Driver]string{keepalived.FIFO: "", keepalived.DBus: "(dbus-alone)", keepalived.Scripts: "(scripts-alone)"} {
		for _, readiness := range []bool{false, true} {
			also := map[keepalived.Driver]string{keepalived.DBus: "notify-fifo off\n", keepalived.Scripts: "notify-fifo off\ndbus off\n"}[driver]
			f := well(t, settings+also)
			f.KeyFile.User, f.Keepalived.DaemonUser, f.Keepalived.FIFO.User = "ctsync", "ctsync", "ctsync"
			w := keepalived.Wanted{
				Driver: driver, Group: "VG", Members: []string{"OUTSIDE", "INSIDE"}, FIFO: f.Config.NotifyFIFO, Owner: "ctsync",
				Program: "/usr/sbin/ctsync", Flags: "--config /etc/ctsync/other.conf",
			}
			preempt := "nopreempt"
			if readiness {
				w.TrackFile, preempt = f.Config.TrackFile, ""
			}
			const script = "\nvrrp_script x {\n script /bin/true\n}\n"
			w.Insecure = readiness
			text := strings.ReplaceAll(strings.Join(w.Lines(), "\n"), "#     notify_master_rx", "# notify_master_rx")
			f.reads(t, map[bool]string{true: script}[w.Insecure]+text+strings.ReplaceAll(instances, "PREEMPT", preempt))
			if got := said(t, Examine(f)); got != want {
				t.Errorf("%s, readiness %v: %s\n%s", driver, readiness, got, text)
			}
		}
	}
}
