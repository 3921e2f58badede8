package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// busConfig is a system bus of one router alone: root may do anything, as on a real one.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
`

func (r *Router) busSocket() string { return filepath.Join(r.Folder, "bus") }

// busEnv points programs to the router's own bus, or to none: never to the machine's.
func (r *Router) busEnv() []string {
	return []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + r.busSocket()}
}

// startBus starts the router's system bus where its daemon wants one.
func (r *Router) startBus() error {
	if !r.Daemon.Hooks().DBus {
		return nil
	}
	file := filepath.Join(r.Folder, "bus.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, busConfig, r.busSocket()), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	var err error
	r.Bus, err = r.start(nil, "dbus-daemon", "--nofork", "--nopidfile", "--config-file", file)
	if err != nil {
		return err
	}
	return waitFor("the system bus of "+r.Name, 5*time.Second, func() bool {
		_, err := os.Stat(r.busSocket())
		return err == nil
	})
}
