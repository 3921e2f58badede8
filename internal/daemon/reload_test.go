package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ctsync/internal/config"
)

// reloading is a fake that watches a configuration file.
func reloading(t *testing.T) (*fake, func(text string)) {
	t.Helper()
	f := newFake(t, config.VRRP)
	f.path = filepath.Join(t.TempDir(), "ctsync.conf")
	put := func(text string) {
		t.Helper()
		tmp := f.path + ".new" // as editors do
		if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, f.path); err != nil {
			t.Fatal(err)
		}
	}
	put(plain)
	cfg, err := load(f.path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Control = f.cfg.Control
	f.cfg = cfg
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	hup := f.awaitReloads()
	go func() {
		defer close(done)
		_ = f.watchConfig(ctx, hup)
	}()
	t.Cleanup(func() { cancel(); <-done })
	time.Sleep(20 * time.Millisecond)
	return f, put
}

const plain = "failover-mechanism vrrp sync-group VG\ninterface sync0\nnode-name fw1\n"

func (f *fake) awaitLog(what string) {
	f.t.Helper()
	eventually(f.t, "the journal to say "+what, func() bool { return strings.Contains(f.log.String(), what) })
}

func TestReload(t *testing.T) {
	f, put := reloading(t)
	dumps := f.loop.status().Kernel.Dumps

	put(plain + "fly high\npurge-timeout never\n")
	f.awaitLog("fly")
	f.awaitLog("never")
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, "fly") && strings.Contains(line, "never") {
			t.Errorf("two faults in one line: %s", line)
		}
	}

	put(plain + "# nothing new\n")
	time.Sleep(settleTime + 100*time.Millisecond)
	if strings.Contains(f.log.String(), "read again") || f.loop.status().Kernel.Dumps != dumps {
		t.Errorf("an unchanged configuration did something:\n%s", f.log.String())
	}

	put(plain + "ignore-address 192.0.2.0/24\nlog-level debug\n")
	f.awaitLog(`changed="ignore-address, log-level"`)
	if got := f.level.Level().String(); got != "DEBUG" {
		t.Errorf("the level is %s", got)
	}
	eventually(t, "the kernel's table to be read with the new filter", func() bool { return f.loop.status().Kernel.Dumps > dumps })
	if strings.Contains(f.log.String(), "next start") {
		t.Errorf("these settings need no restart:\n%s", f.log.String())
	}
}

func TestSIGHUP(t *testing.T) {
	f, _ := reloading(t)
	if err := os.WriteFile(f.path, []byte(plain+"purge-timeout 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.awaitLog("next start")
	f.awaitLog("settings=purge-timeout")
}

// Who asks for a reload is told how it went, be it the file's fault or the keys'.
func TestReloadAnswers(t *testing.T) {
	f, put := reloading(t)
	for _, c := range []struct {
		text, says string
		exit       int
	}{
		{plain + "log-level debug\n", "", 0},
		{plain + "fly high\n", "fly", 1},
		{plain + "key-file " + f.path + ".none\n", "ctsync keygen", 1},
		{plain, "", 0},
	} {
		put(c.text)
		if _, stderr, exit := f.ask("reload"); exit != c.exit || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: exit code %d, %s", c.text, exit, stderr)
		}
	}
	if got := f.level.Level().String(); got != "INFO" {
		t.Errorf("the level is %s", got)
	}
}

// One change is refused once in the journal, whoever asks for a reload of it and however often, until it is another one or was right
// in between; whoever asks is told each time.
func TestRefusedOnce(t *testing.T) {
	f, put := reloading(t)
	refused := func(want int, asked string) {
		t.Helper()
		if _, stderr, exit := f.ask("reload"); exit == 0 || !strings.Contains(stderr, asked) {
			t.Errorf("reload: exit code %d, %s", exit, stderr)
		}
		if got := strings.Count(f.log.String(), "configuration-refused"); got != want {
			t.Errorf("%d refusals in the journal, want %d:\n%s", got, want, f.log.String())
		}
	}
	put(plain + "fly high\n")
	f.awaitLog("fly") // the daemon's own watch
	refused(1, "fly")
	put(plain + "soar high\n")
	refused(2, "soar")
	time.Sleep(settleTime + 100*time.Millisecond) // and the watch comes later
	refused(2, "soar")
	put(plain)
	if _, stderr, exit := f.ask("reload"); exit != 0 {
		t.Fatal(stderr)
	}
	put(plain + "soar high\n")
	refused(3, "soar")
}
