package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"ctsync/tests/lab"
)

// listener is a daemon that only listens: it shows what keepalived tells a daemon by each driver.
type listener struct {
	lab.Daemon
	folder string
	fifo   *os.File
}

func listen(r *lab.Router) lab.Daemon { return &listener{Daemon: lab.None(r), folder: r.Folder} }

func (l *listener) path(name string) string { return filepath.Join(l.folder, name) }

func (l *listener) Hooks() lab.Hooks {
	return lab.Hooks{
		FIFO:      l.path("fifo"),
		DBus:      true,
		Group:     []string{`notify_master "` + l.path("script") + ` MASTER"`},
		TrackFile: l.path("ready"),
	}
}

func (l *listener) Start() error {
	script := "#!/bin/sh\necho $1 >" + l.path("said") + "\n"
	if err := os.WriteFile(l.path("script"), []byte(script), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(l.path("ready"), []byte("100\n"), 0o600); err != nil {
		return err
	}
	if err := syscall.Mkfifo(l.path("fifo"), 0o600); err != nil {
		return err
	}
	var err error
	l.fifo, err = os.OpenFile(l.path("fifo"), os.O_RDWR, 0)
	return err
}

// keepalived speaks over the FIFO, a system bus of the router's own and scripts, and heeds the track file.
func TestDrivers(t *testing.T) {
	l := lab.Run(t, lab.Options{Daemon: listen, SecondSync: true})
	d := l.R1.Daemon.(*listener)

	buffer := make([]byte, 4096)
	said := ""
	_ = d.fifo.SetReadDeadline(time.Now().Add(5 * time.Second))
	for !strings.Contains(said, `GROUP "VG" MASTER`) {
		n, err := d.fifo.Read(buffer)
		if err != nil {
			t.Fatalf("FIFO: %v after %q", err, said)
		}
		said += string(buffer[:n])
	}

	wait(t, "the script's word", func() bool {
		word, _ := os.ReadFile(d.path("said"))
		return string(word) == "MASTER\n"
	})

	bus, err := dbus.Connect("unix:path=" + d.path("bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	object := bus.Object("org.keepalived.Vrrp1", "/org/keepalived/Vrrp1/Instance/wan0/11/IPv4")
	state, err := object.GetProperty("org.keepalived.Vrrp1.Instance.State")
	if err != nil || !strings.Contains(state.String(), "Master") {
		t.Errorf("State on the bus: %v, %v", state, err)
	}

	if err := os.WriteFile(d.path("ready"), []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R2, 5*time.Second); err != nil {
		t.Error("after r1 was not ready any more: ", err)
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 5 s for %s", what)
		}
	}
}
