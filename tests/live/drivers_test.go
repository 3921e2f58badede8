package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// hooked is ctsync with words of its own in keepalived's configuration. FOLDER in them is the router's folder,
// NOTIFY the program's notify command, WAIT its wait-synced.
type hooked struct {
	lab.Daemon
	router *lab.Router
	change func(h *lab.Hooks)
}

func hook(kind lab.Kind, change func(h *lab.Hooks)) lab.Kind {
	return func(r *lab.Router) lab.Daemon { return &hooked{Daemon: kind(r), router: r, change: change} }
}

func (h *hooked) Ask(words ...string) (string, error) {
	return h.Daemon.(interface {
		Ask(words ...string) (string, error)
	}).Ask(words...)
}

func (h *hooked) Hooks() lab.Hooks {
	hooks := h.Daemon.Hooks()
	h.change(&hooks)
	replace := strings.NewReplacer(
		"FOLDER", h.router.Folder,
		"WAIT", fmt.Sprintf("%s --control %s wait-synced", program(), filepath.Join(h.router.Folder, "control")),
		"NOTIFY", fmt.Sprintf("%s --control %s notify", program(), filepath.Join(h.router.Folder, "control")),
	)
	for _, lines := range [][]string{hooks.Global, hooks.Group, hooks.Instance} {
		for i := range lines {
			lines[i] = replace.Replace(lines[i])
		}
	}
	return hooks
}

// program is the path of the program under test.
func program() string {
	if path := os.Getenv("CTSYNC"); path != "" {
		return path
	}
	path, _ := filepath.Abs("../../build/ctsync")
	return path
}

// Each driver drives alone: keepalived's FIFO, the D-Bus, scripts for each state, and the one script for all.
func TestDrivers(t *testing.T) {
	generic := hook(ctsync("notify-fifo off", "dbus off"), func(h *lab.Hooks) {
		h.FIFO, h.Group = "", []string{`notify "NOTIFY"`}
	})
	for _, c := range []struct {
		name, source string
		options      lab.Options
	}{
		{"fifo", "fifo", lab.Options{Drivers: lab.Drivers{FIFO: true}}},
		{"dbus", "dbus", lab.Options{Drivers: lab.Drivers{DBus: true}}},
		{"scripts", "script", lab.Options{Drivers: lab.Drivers{Script: true}}},
		{"generic script", "script", lab.Options{Daemon: generic}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := run(t, c.options)
			traffic := talk(t, l, small)
			bothSynced(t, l, 10*time.Second)
			for _, f := range l.Cycle()[2:] {
				try(t, traffic, f)
				awaitState(t, f.Taker, "active by "+c.source, 5*time.Second, func(s status) bool {
					return s.Role == "active" && s.VRRP.State == "MASTER" && s.VRRP.Source == c.source
				})
				awaitState(t, f.Taker.Peer, "standby", 5*time.Second, func(s status) bool { return s.Role == "standby" })
			}
			bothSynced(t, l, 10*time.Second)
		})
	}
}

// All drivers at once, the scripts late and the generic one lying: the FIFO is believed, the difference is told.
func TestDriversThatDisagree(t *testing.T) {
	t.Parallel()
	kind := hook(ctsync(), func(h *lab.Hooks) {
		h.Group = []string{
			`notify_master "/bin/sh -c 'sleep 1; NOTIFY GROUP VG MASTER'"`,
			`notify_backup "/bin/sh -c 'sleep 1; NOTIFY GROUP VG BACKUP'"`,
			`notify_stop "/bin/sh -c 'NOTIFY GROUP VG MASTER'"`,
			`notify_fault "/bin/sh -c 'NOTIFY GROUP VG MASTER'"`,
		}
	})
	l := run(t, lab.Options{Daemon: kind, Drivers: lab.Drivers{FIFO: true, DBus: true}})
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	cut := l.Cycle()[4] // its FAULT is what the script lies about
	try(t, traffic, cut)
	time.Sleep(1500 * time.Millisecond) // every late word has come
	if s := state(t, l.R1); s.Role != "standby" || s.VRRP.State != "FAULT" || s.VRRP.Source != "fifo" {
		t.Errorf("r1 is %s, %s by %s, want standby, FAULT by fifo", s.Role, s.VRRP.State, s.VRRP.Source)
	}
	await(t, "the journal to name the liar", 8*time.Second, func() bool {
		return strings.Contains(said(l.R1, time.Time{}), "script says MASTER")
	})
	try(t, traffic, l.Cycle()[5])
	bothSynced(t, l, 10*time.Second)
}

// A cluster manager drives by two commands and needs no keepalived.
func TestCluster(t *testing.T) {
	t.Parallel()
	kind := lab.Ctsync("failover-mechanism cluster group HA", "notify-fifo off", "dbus off")
	l, err := lab.New(lab.Options{Daemon: hook(kind, func(h *lab.Hooks) { h.FIFO, h.TrackFile = "", "" })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.Boot(); err != nil { // keepalived moves the addresses, as resource agents would
		t.Fatal(err)
	}
	clusterIs(t, l.R1, "SECONDARY", 0)
	if out, code := ask(t, l.R1, "cluster", "start", "HA"); code != 0 {
		t.Fatalf("cluster start: %d %s", code, out)
	}
	clusterIs(t, l.R1, "PRIMARY", 8)
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	move := func(from, to *lab.Router, fault func() error) lab.Fault {
		return lab.Fault{Name: "cluster move to " + to.Name, Taker: to, Do: func() error {
			ask(t, from, "cluster", "stop", "HA")
			ask(t, to, "cluster", "start", "HA")
			return fault()
		}}
	}
	try(t, traffic, move(l.R1, l.R2, l.Cycle()[2].Do))
	clusterIs(t, l.R1, "SECONDARY", 0)
	clusterIs(t, l.R2, "PRIMARY", 8)
	try(t, traffic, move(l.R2, l.R1, l.Cycle()[3].Do))
	if out, code := ask(t, l.R1, "cluster", "start", "OTHER"); code == 0 {
		t.Errorf("a group that is not ours was started: %s", out)
	}
	if out, code := ask(t, l.R1, "notify", "GROUP", "VG", "BACKUP"); code == 0 {
		t.Errorf("keepalived was listened to: %s", out)
	}
	bothSynced(t, l, 10*time.Second)
}

func clusterIs(t *testing.T, r *lab.Router, word string, code int) {
	t.Helper()
	if out, got := ask(t, r, "cluster", "status", "HA"); got != code || strings.TrimSpace(out) != word {
		t.Errorf("%s: cluster status says %q with exit code %d, want %s, %d", r.Name, out, got, word, code)
	}
}

// A daemon that starts after keepalived has become MASTER learns it: the FIFO says nothing new.
func TestLateStart(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, small)
	time.Sleep(2 * time.Second) // keepalived is asked only when it is older than this
	for _, r := range l.Routers() {
		if err := r.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range l.Routers() {
		if err := r.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	for r, want := range map[*lab.Router]string{l.R1: "MASTER", l.R2: "BACKUP"} {
		awaitState(t, r, want, 3*time.Second, func(s status) bool { return s.VRRP.State == want && s.VRRP.Source == "process" })
	}
	bothSynced(t, l, 10*time.Second)
	try(t, traffic, l.Cycle()[2]) // and the next word of the FIFO leads again
	awaitState(t, l.R2, "led by the FIFO", time.Second, func(s status) bool { return s.VRRP.Source == "fifo" && s.Role == "active" })
}

// keepalived killed with -9 on the active node says nothing and leaves its addresses. The daemon sees it die and
// steps back; the other node takes over. When keepalived starts again it gives the addresses back.
func TestKeepalivedKilled(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	killKeepalived(t, l.R1)
	awaitState(t, l.R1, "standby for want of keepalived", 3*time.Second, func(s status) bool {
		return s.Role == "standby" && s.VRRP.State == "GONE"
	})
	awaitState(t, l.R2, "active", 3*time.Second, func(s status) bool { return s.Role == "active" })
	if err := l.R1.StartKeepalived(); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R1, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R1, "active again", 3*time.Second, func(s status) bool { return s.Role == "active" })
	bothSynced(t, l, 10*time.Second)
	check(t, "keepalived killed", traffic)
}

// killKeepalived kills both of its processes: the first would start the second again, and the second, alone,
// would say goodbye.
func killKeepalived(t *testing.T, r *lab.Router) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Folder, "vrrp.pid"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(r.Keepalived.Pid(), syscall.SIGSTOP)
	_ = syscall.Kill(second, syscall.SIGKILL)
	r.Keepalived.Kill9()
	// Where nobody reaps orphans the second one stays as a zombie, which keepalived takes for alive.
	_ = os.Remove(filepath.Join(r.Folder, "vrrp.pid"))
}

// The daemon restarted while keepalived is reloaded and has written lines that nobody has read.
func TestReloadWithUnreadLines(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	l.R2.Daemon.Kill9()
	f := l.Cycle()[4] // r2 becomes MASTER, and writes it to nobody
	if err := f.Do(); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitMaster(l.R2, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(l.R2.Keepalived.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := l.R2.Restart(); err != nil {
		t.Fatal(err)
	}
	// The lines went with the last who had the FIFO open, as a reload opens it anew: keepalived is asked.
	awaitState(t, l.R2, "MASTER", 3*time.Second, func(s status) bool { return s.Role == "active" })
	check(t, "reload with unread lines", traffic)
	try(t, traffic, l.Cycle()[5])
	bothSynced(t, l, 10*time.Second)
}

// Rapid flapping ends where keepalived ends, with nothing lost.
func TestFlapping(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	for range pick(6, 60) {
		for _, r := range l.Routers() {
			if err := l.CutLink(r, lab.LAN); err != nil {
				t.Fatal(err)
			}
			time.Sleep(60 * time.Millisecond)
			if err := l.JoinLink(r, lab.LAN); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.WaitMaster(l.R1, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	awaitState(t, l.R1, "active", 3*time.Second, func(s status) bool { return s.Role == "active" })
	bothSynced(t, l, 10*time.Second)
	check(t, "flapping", traffic)
}
