package notify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"ctsync/notify"
	"ctsync/notify/notifytest"
	"ctsync/vrrp"
)

// These tests run a real keepalived. Each is one thing that it does in the field, or that is done to it.

var members = []string{"VI_WAN", "VI_LAN"}

// master starts a keepalived with the FIFO and waits until it is MASTER.
func master(t *testing.T, w *watch, c notifytest.Config, bus string) (*notifytest.Node, *notifytest.Keepalived) {
	t.Helper()
	node := notifytest.New(t).Node("a")
	k := node.Keepalived(c, bus)
	w.life(k)
	w.want("BACKUP fifo", "MASTER fifo")
	return node, k
}

// Case 1: the reader comes late, goes and comes back; nothing is lost.
func TestReaderLateAndRestarted(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	f, err := notify.OpenFIFO(path) // made, and not read yet
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node := notifytest.New(t).Node("a")
	node.Keepalived(notifytest.Config{FIFO: path}, "")
	notifytest.Eventually(t, "keepalived is MASTER", func() bool { return node.HasAddress(notifytest.LAN.VIP()) })
	time.Sleep(50 * time.Millisecond)

	_, stop := w.fifo(path)
	w.want("BACKUP fifo", "MASTER fifo")
	stop()
	node.Carrier("wan", false)
	notifytest.Eventually(t, "keepalived is in FAULT", func() bool { return !node.HasAddress(notifytest.LAN.VIP()) })
	node.Carrier("wan", true)
	time.Sleep(100 * time.Millisecond)
	w.fifo(path)
	w.want("FAULT fifo", "BACKUP fifo", "MASTER fifo")
}

// Case 2: a reload with lines that nobody has read yet. Of a FIFO made by keepalived they would be gone.
func TestReloadWithUnreadLines(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	f, err := notify.OpenFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node := notifytest.New(t).Node("a")
	c := notifytest.Config{FIFO: path}
	k := node.Keepalived(c, "")
	notifytest.Eventually(t, "keepalived is MASTER", func() bool { return node.HasAddress(notifytest.LAN.VIP()) })
	k.Reload(c)
	notifytest.Eventually(t, "it is reloaded", func() bool { return k.Logged("Reloading") })
	time.Sleep(200 * time.Millisecond)
	w.run(f)
	w.want("BACKUP fifo", "MASTER fifo")
	node.Carrier("wan", false)
	w.want("FAULT fifo")
}

// Case 3: members are added, removed and renamed by reloads.
func TestReloadMembers(t *testing.T) {
	t.Parallel()
	for _, hint := range [][]string{nil, {"VI_WAN", "VI_LAN", "VI_DMZ"}} {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d known, notify_deleted %v", len(hint), !bare), func(t *testing.T) {
				t.Parallel()
				reloadMembers(t, hint, bare)
			})
		}
	}
}

func reloadMembers(t *testing.T, hint []string, bare bool) {
	bus := notifytest.StartBus(t)
	w, path := newWatch(t, hint...), fifoPath(t)
	w.fifo(path)
	onBus := newWatch(t, hint...) // the same, by D-Bus alone
	onBus.bus(bus)
	dmz, last := notifytest.DMZ, `fifo INSTANCE "VI_DMZ" FAULT`
	if !bare {
		dmz.Text, last = `notify_deleted "/bin/true"`, `fifo INSTANCE "VI_DMZ" DELETED`
	}
	two := notifytest.Config{FIFO: path, DBus: true}
	three := two
	three.Instances = []notifytest.Instance{notifytest.WAN, notifytest.LAN, dmz}
	_, k := master(t, w, two, bus.Address)
	onBus.want("BACKUP dbus", "MASTER dbus")

	k.Reload(three) // an instance more: the whole group flaps
	w.want("BACKUP fifo", "MASTER fifo")
	onBus.want("BACKUP dbus", "MASTER dbus")
	k.Reload(two) // and less: the group stays, whatever the instance's last word is
	w.hears(last)
	onBus.hears(`dbus INSTANCE "VI_DMZ" DELETED`)
	w.quiet(500 * time.Millisecond)
	onBus.quiet(0)
	if hint != nil && bare {
		return // the daemon reads the members again by now
	}

	renamed := two
	renamed.Group = "NEW"
	k.Reload(renamed) // nothing is said
	w.quiet(300 * time.Millisecond)
	k.Stop()
	w.want("STOP fifo", "GONE process")
	if !w.noted(`"NEW"`) {
		t.Error("the operator was not told of the group's new name")
	}
}

// Case 4: a reload of a broken configuration ends keepalived without a word, its addresses stay.
func TestBrokenReload(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	w.fifo(path)
	node, k := master(t, w, notifytest.Config{FIFO: path}, "")
	broken := notifytest.LAN
	broken.Link = "absent"
	k.Reload(notifytest.Config{FIFO: path, Instances: []notifytest.Instance{notifytest.WAN, broken}})
	k.AwaitExit()
	w.want("GONE process")
	if !node.HasAddress(notifytest.WAN.VIP()) {
		t.Error("the address is gone; is this no longer what it is about?")
	}
	k.Write(notifytest.Config{FIFO: path}.String())
	k.Start()
	backToMaster(w)
}

// backToMaster wants a new keepalived to become MASTER; whether its process is noticed before its first
// line is a race.
func backToMaster(w *watch) {
	w.t.Helper()
	d := w.next()
	if d.State == vrrp.Unknown {
		d = w.next()
	}
	if d.State != vrrp.Backup {
		w.t.Fatalf("got %s by %s, want BACKUP", d.State, d.Source)
	}
	d = w.next()
	if d.State != vrrp.Master {
		w.t.Fatalf("got %s by %s, want MASTER", d.State, d.Source)
	}
}

// Case 5: kill -9 of the child is followed by its respawn, of both by nothing.
func TestKillChild(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	w.fifo(path)
	_, k := master(t, w, notifytest.Config{FIFO: path}, "")
	k.SignalChild(syscall.SIGKILL)
	w.want("BACKUP fifo", "MASTER fifo")
}

func TestKillBoth(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	w.fifo(path)
	node, k := master(t, w, notifytest.Config{FIFO: path}, "")
	began := time.Now()
	k.Kill()
	w.want("GONE process")
	if d := time.Since(began); d > time.Second {
		t.Errorf("it took %v", d)
	}
	if !node.HasAddress(notifytest.WAN.VIP()) {
		t.Error("the address is gone; is this no longer what it is about?")
	}
	k.Start()
	backToMaster(w)
}

func TestKillParent(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	w.fifo(path)
	_, k := master(t, w, notifytest.Config{FIFO: path}, "")
	k.Signal(syscall.SIGKILL) // the child says STOP
	w.hears(`GROUP "VG" STOP`)
	w.quiet0("MASTER")
}

// quiet0 wants none of the decisions made so far, and in a moment to come, to be the state.
func (w *watch) quiet0(state string) {
	w.t.Helper()
	for {
		select {
		case d := <-w.decisions:
			if d.State.String() == state {
				w.t.Fatalf("got %s by %s", d.State, d.Source)
			}
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

// Case 6: with priority 255 the GROUP line never comes.
func TestPriority255(t *testing.T) {
	t.Parallel()
	for _, hint := range [][]string{nil, members} {
		t.Run(fmt.Sprintf("%d known", len(hint)), func(t *testing.T) {
			t.Parallel()
			w, path := newWatch(t, hint...), fifoPath(t)
			w.fifo(path)
			node := notifytest.New(t).Node("a")
			k := node.Keepalived(notifytest.Config{FIFO: path, State: "MASTER", Priority: 255}, "")
			w.want("MASTER fifo")
			if w.count("GROUP") > 0 {
				t.Error("a GROUP line came; is this no longer what it is about?")
			}
			node.Carrier("lan", false)
			w.want("FAULT fifo")
			node.Carrier("lan", true)
			w.want("BACKUP fifo", "MASTER fifo")
			k.Stop()
			w.want("STOP fifo")
		})
	}
}

// Case 7: a partition, and its end. The higher node says nothing of it at all, so that only the nodes'
// own protocol can find out; what is said of it is told here.
func TestPartitionAndHeal(t *testing.T) {
	t.Parallel()
	lab := notifytest.New(t)
	pathA, pathB := fifoPath(t), fifoPath(t)
	a, b := newWatch(t), newWatch(t)
	a.fifo(pathA)
	b.fifo(pathB)
	lab.Node("a").Keepalived(notifytest.Config{FIFO: pathA, Priority: 200}, "")
	a.want("BACKUP fifo", "MASTER fifo")
	lab.Node("b").Keepalived(notifytest.Config{FIFO: pathB, Priority: 100}, "")
	b.want("BACKUP fifo")
	b.quiet(400 * time.Millisecond)
	lab.Joined(false)
	b.want("MASTER fifo")
	lab.Joined(true)
	b.want("BACKUP fifo")
	a.quiet(300 * time.Millisecond)
}

// Case 8: the higher node is frozen and comes back. It never left MASTER, and hears the other's adverts.
func TestFreeze(t *testing.T) {
	t.Parallel()
	lab := notifytest.New(t)
	pathA, pathB := fifoPath(t), fifoPath(t)
	a, b := newWatch(t), newWatch(t)
	a.fifo(pathA)
	b.fifo(pathB)
	k := lab.Node("a").Keepalived(notifytest.Config{FIFO: pathA, Priority: 200}, "")
	a.want("BACKUP fifo", "MASTER fifo")
	lab.Node("b").Keepalived(notifytest.Config{FIFO: pathB, Priority: 100}, "")
	b.want("BACKUP fifo")
	b.quiet(400 * time.Millisecond)
	k.SignalChild(syscall.SIGSTOP)
	b.want("MASTER fifo")
	k.SignalChild(syscall.SIGCONT)
	b.want("BACKUP fifo")
	a.hears("MASTER_RX_LOWER_PRI")
	a.quiet(300 * time.Millisecond)
	if !a.noted("another node believes that it is MASTER") {
		t.Error("the operator was not told")
	}
}

// The same on the bus: a frozen keepalived answers no call. That costs the driver half a second at most, is
// reported, and tells nothing of the state.
func TestFreezeOnBus(t *testing.T) {
	t.Parallel()
	bus := notifytest.StartBus(t)
	k := notifytest.New(t).Node("a").Keepalived(notifytest.Config{DBus: true}, bus.Address)
	w := newWatch(t, members...)
	w.bus(bus)
	w.want("BACKUP dbus", "MASTER dbus")
	k.SignalChild(syscall.SIGSTOP)

	late, failed := newWatch(t, members...), make(chan error, 8) // starts now, and reads
	began := time.Now()
	late.run(&notify.DBus{Address: bus.Address, OnError: func(err error) { failed <- err }})
	select {
	case err := <-failed:
		if d := time.Since(began); d > 1500*time.Millisecond || !strings.Contains(err.Error(), "deadline") {
			t.Errorf("%v after %v", err, d)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing is reported")
	}
	w.quiet(100 * time.Millisecond)
	k.SignalChild(syscall.SIGCONT)
	late.want("MASTER dbus") // at the next reading
}

// Case 9: one link is down, and up again.
func TestSingleLinkDown(t *testing.T) {
	t.Parallel()
	bus := notifytest.StartBus(t)
	w, path := newWatch(t, members...), fifoPath(t)
	w.fifo(path)
	onBus := newWatch(t, members...) // the same, by D-Bus alone
	onBus.bus(bus)
	node, _ := master(t, w, notifytest.Config{FIFO: path, DBus: true}, bus.Address)
	onBus.want("BACKUP dbus", "MASTER dbus")
	for _, down := range []bool{true, false} {
		node.Carrier("wan", !down)
		if down {
			w.want("FAULT fifo")
			onBus.want("FAULT dbus")
		} else {
			w.want("BACKUP fifo", "MASTER fifo")
			onBus.want("BACKUP dbus", "MASTER dbus")
		}
	}
}

// Case 10: the bus is restarted. keepalived does not come back to it; the driver does, and hears the next
// keepalived. The FIFO leads on.
func TestBusRestart(t *testing.T) {
	t.Parallel()
	bus := notifytest.StartBus(t)
	w, path := newWatch(t, members...), fifoPath(t)
	w.fifo(path)
	onBus := newWatch(t, members...)
	onBus.bus(bus)
	c := notifytest.Config{FIFO: path, DBus: true}
	node, k := master(t, w, c, bus.Address)
	onBus.life(k)
	onBus.want("BACKUP dbus", "MASTER dbus")

	bus.Kill()
	onBus.hears("BUS_LOST")
	bus.Start()
	onBus.quiet(500 * time.Millisecond) // what is known stands
	node.Carrier("wan", false)
	w.want("FAULT fifo")
	node.Carrier("wan", true)
	w.want("BACKUP fifo", "MASTER fifo")
	onBus.quiet(100 * time.Millisecond) // deaf, as it must be

	k.Kill()
	w.want("GONE process")
	onBus.want("GONE process")
	k.Start()
	backToMaster(w)
	backToMaster(onBus)
}

// Case 11: somebody else signals in keepalived's name.
func TestForgedSignal(t *testing.T) {
	t.Parallel()
	bus := notifytest.StartBus(t)
	lab := notifytest.New(t)
	lab.Node("a").Keepalived(notifytest.Config{FIFO: "", DBus: true, Priority: 200}, bus.Address)
	w := newWatch(t, members...)
	d := w.bus(bus)
	w.want("BACKUP dbus", "MASTER dbus")

	conn, err := dbus.Connect(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, link := range []string{"wan0/11", "lan0/12"} {
		path := dbus.ObjectPath("/org/keepalived/Vrrp1/Instance/" + link + "/IPv4")
		if err := conn.Emit(path, "org.keepalived.Vrrp1.Instance.VrrpStatusChange", uint32(3)); err != nil {
			t.Fatal(err)
		}
	}
	notifytest.Eventually(t, "both are seen as forged", func() bool { return d.Stats().Forged == 2 })
	w.quiet(100 * time.Millisecond)
}

// Case 12: rapid flapping by a track file of weight 0. The FIFO keeps the order; the scripts, which run
// beside each other, end where the FIFO does because the older ones are dropped.
func TestRapidFlap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	track, log, script := filepath.Join(dir, "track"), filepath.Join(dir, "log"), filepath.Join(dir, "script")
	write(t, track, "0")
	// as `ctsync notify` would: the arguments, and the start of the process that has them
	write(t, script, fmt.Sprintf("#!/bin/sh\nread -r stat </proc/$$/stat\necho \"$$ $stat|$*\" >>%s\n", log))
	os.Chmod(script, 0o700)
	w, path := newWatch(t, members...), fifoPath(t)
	w.fifo(path)
	master(t, w, notifytest.Config{
		FIFO: path, Advert: "0.02",
		Top:       "track_file t {\n file " + track + "\n weight 0\n}",
		GroupText: "track_file {\n t\n }\n notify " + script,
	}, "")
	for i := range 40 {
		write(t, track, fmt.Sprint((i+1)%2))
		time.Sleep(20 * time.Millisecond)
	}
	for d := (vrrp.Decision{}); d.State != vrrp.Master; { // the last word is MASTER
		select {
		case d = <-w.decisions:
		case <-time.After(5 * time.Second):
			t.Fatal("it is not MASTER in the end")
		}
		if len(w.decisions) > 0 {
			d = vrrp.Decision{}
		}
	}
	w.quiet(300 * time.Millisecond)
	scripts := vrrp.NewTracker("VG", nil)
	lines := strings.Split(strings.TrimSpace(read(t, log)), "\n")
	for _, line := range lines {
		_, args, _ := strings.Cut(line, "|")
		n, err := notify.ParseScript(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		n.At = notify.ScriptStart(t, line)
		scripts.Notice(time.Now(), n)
	}
	if s, _, _, _ := scripts.State(); s != vrrp.Master || len(lines) < 20 {
		t.Errorf("by the scripts' words it is %s, %d of them", s, len(lines))
	}
}

// Case 13: the directory of a track file is removed while keepalived runs: the value falls to 0 and stays.
// What that does to the priority is heard, and is no change of state. (That the readiness file must be in a
// directory that survives the service is the daemon's part.)
func TestTrackDirectoryRemoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "track")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ready"), "100")
	w, path := newWatch(t, members...), fifoPath(t)
	w.fifo(path)
	master(t, w, notifytest.Config{
		FIFO: path, Priority: 50, Global: "vrrp_notify_priority_changes true",
		Top:       "track_file t {\n file " + dir + "/ready\n weight 1\n}",
		GroupText: "track_file {\n t\n }",
	}, "")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.hears(`"VI_WAN" MASTER_PRIORITY 50`)
	w.quiet(300 * time.Millisecond)
}

// Case 14: the FIFO was full, so that keepalived dropped lines. What it says then is not believed; D-Bus
// tells the state, and the FIFO leads again from its next line on.
func TestFIFOFull(t *testing.T) {
	t.Parallel()
	bus := notifytest.StartBus(t)
	path := fifoPath(t)
	f, err := notify.OpenFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fill(t, path, "GROUP \"VG\" FAULT 0\n")
	node := notifytest.New(t).Node("a")
	node.Keepalived(notifytest.Config{FIFO: path, DBus: true}, bus.Address)
	notifytest.Eventually(t, "keepalived is MASTER", func() bool { return node.HasAddress(notifytest.LAN.VIP()) })
	time.Sleep(300 * time.Millisecond) // its lines come, and are dropped, after its addresses
	w := newWatch(t, members...)
	w.run(f)
	w.hears("LINES_LOST")
	w.want("FAULT fifo") // before it is known to be old
	w.bus(bus)
	w.want("MASTER dbus")
	node.Carrier("wan", false)
	w.want("FAULT fifo")
	if f.Stats().Full != 1 {
		t.Errorf("%+v", f.Stats())
	}
}

// Case 16: keepalived is started first and has made the FIFO. A reload of it replaces the file, which is
// followed; after that it is ours.
func TestStartedAfterKeepalived(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	node := notifytest.New(t).Node("a")
	c := notifytest.Config{FIFO: path}
	k := node.Keepalived(c, "")
	notifytest.Eventually(t, "keepalived is MASTER", func() bool { return node.HasAddress(notifytest.LAN.VIP()) })
	f, _ := w.fifo(path)
	w.want("BACKUP fifo", "MASTER fifo") // the backlog
	k.Reload(c)
	notifytest.Eventually(t, "the FIFO is followed", func() bool { return f.Stats().Replaced >= 1 })
	node.Carrier("wan", false)
	w.want("FAULT fifo")
	node.Carrier("wan", true)
	w.want("BACKUP fifo", "MASTER fifo")
	k.Stop()
	w.want("STOP fifo")
	k.Start()
	w.want("BACKUP fifo", "MASTER fifo")
}

// The same by D-Bus: all states are read at start.
func TestStartedAfterKeepalivedByBus(t *testing.T) {
	t.Parallel()
	bus := notifytest.StartBus(t)
	node := notifytest.New(t).Node("a")
	k := node.Keepalived(notifytest.Config{DBus: true}, bus.Address)
	notifytest.Eventually(t, "keepalived is MASTER", func() bool { return node.HasAddress(notifytest.LAN.VIP()) })
	time.Sleep(50 * time.Millisecond)
	w := newWatch(t, members...)
	w.life(k)
	w.bus(bus)
	w.want("MASTER dbus")
	k.Stop()
	w.want("STOP dbus", "GONE process")
}

// The same without D-Bus, where the FIFO was read by a daemon that has ended: keepalived is asked.
func TestStartedAgainWithoutBus(t *testing.T) {
	t.Parallel()
	first, path := newWatch(t), fifoPath(t)
	_, stop := first.fifo(path)
	node, k := master(t, first, notifytest.Config{FIFO: path}, "")
	stop()
	if _, err := notify.Ask(t.Context(), k.PIDFile, "VG"); err == nil || !strings.Contains(err.Error(), "will tell it by itself") {
		t.Errorf("asked too early: %v", err)
	}
	time.Sleep(2 * time.Second)

	w := newWatch(t)
	w.fifo(path)
	for _, state := range []string{"MASTER", "FAULT"} {
		n, err := notify.Ask(t.Context(), k.PIDFile, "VG")
		if err != nil || n.State.String() != state {
			t.Fatalf("asked: %+v, %v", n, err)
		}
		w.heard <- n
		if state == "MASTER" {
			w.want("MASTER process")
			node.Carrier("wan", false)
			w.want("FAULT fifo")
		}
	}
	w.quiet(100 * time.Millisecond)
	if _, err := notify.Ask(t.Context(), k.PIDFile, "OTHER"); err == nil || !strings.Contains(err.Error(), "no answer about") {
		t.Errorf("asked about another group: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fill writes the line until the FIFO takes no more.
func fill(t *testing.T, path, line string) {
	t.Helper()
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for err == nil {
		_, err = syscall.Write(fd, []byte(line))
	}
}
