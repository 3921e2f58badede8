package notify_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ctsync/notify"
	"ctsync/notify/notifytest"
	"ctsync/vrrp"
)

func TestParseLine(t *testing.T) {
	for _, test := range []struct {
		line string
		want vrrp.Notice
		err  string
	}{
		{`GROUP "VG" MASTER 0`, vrrp.Notice{Kind: vrrp.Group, Name: "VG", State: vrrp.Master}, ""},
		{`INSTANCE "VI_WAN" BACKUP 150`, vrrp.Notice{Kind: vrrp.Instance, Name: "VI_WAN", State: vrrp.Backup, Priority: 150}, ""},
		{`INSTANCE "a "b" MASTER 1" FAULT 255`, vrrp.Notice{Kind: vrrp.Instance, Name: `a "b" MASTER 1`, State: vrrp.Fault, Priority: 255}, ""},
		{`INSTANCE "" STOP 1`, vrrp.Notice{Kind: vrrp.Instance, State: vrrp.Stop, Priority: 1}, ""},
		{`INSTANCE "V" DELETED 1`, vrrp.Notice{Kind: vrrp.Instance, Name: "V", State: vrrp.Deleted, Priority: 1}, ""},
		{`INSTANCE "V" MASTER_RX_LOWER_PRI 9`, vrrp.Notice{Kind: vrrp.Instance, Name: "V", Event: "MASTER_RX_LOWER_PRI", Priority: 9}, ""},
		{`INSTANCE "V" MASTER_PRIORITY 9`, vrrp.Notice{Kind: vrrp.Instance, Name: "V", Event: "MASTER_PRIORITY", Priority: 9}, ""},
		{`INSTANCE "V" BACKUP_PRIORITY 9`, vrrp.Notice{Kind: vrrp.Instance, Name: "V", Event: "BACKUP_PRIORITY", Priority: 9}, ""},
		{`INSTANCE "V" {UNKNOWN} 9`, vrrp.Notice{Kind: vrrp.Instance, Name: "V", Priority: 9}, ""},
		{`VS [192.0.2.1]:tcp:80 UP`, vrrp.Notice{}, "not about VRRP"},
		{`GROUP VG MASTER 0`, vrrp.Notice{}, "no name in quotes"},
		{`GROUP "VG MASTER 0`, vrrp.Notice{}, "no name in quotes"},
		{`GROUP "VG" MASTER`, vrrp.Notice{}, "does not end in a state and a priority"},
		{`GROUP "VG" MASTER 0 0`, vrrp.Notice{}, "does not end in a state and a priority"},
		{`GROUP "VG" MASTERS 0`, vrrp.Notice{}, "want MASTER, BACKUP"},
		{`GROUP "VG" master 0`, vrrp.Notice{}, "want MASTER, BACKUP"},
		{`GROUP "VG" MASTER -1`, vrrp.Notice{}, "want a number from 0 to 255"},
		{`GROUP "VG" MASTER 256`, vrrp.Notice{}, "want a number from 0 to 255"},
		{`TRIBE "VG" MASTER 0`, vrrp.Notice{}, "want GROUP or INSTANCE"},
		{``, vrrp.Notice{}, "no name in quotes"},
	} {
		got, err := notify.ParseLine([]byte(test.line))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: got the error %v, want %q", test.line, err, test.err)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("%q: got %+v, %v", test.line, got, err)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(`INSTANCE "VI_WAN" MASTER_RX_LOWER_PRI 150`)
	f.Add(`GROUP "V"G" STOP 0`)
	f.Fuzz(func(t *testing.T, line string) {
		n, err := notify.ParseLine([]byte(line))
		if err == nil && !strings.Contains(line, `"`+n.Name+`"`) {
			t.Errorf("%q gave the name %q", line, n.Name)
		}
	})
}

// Case 15: what is at the path is not a FIFO to believe.
func TestOpenFIFORefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mkfifo := func(name string, mode uint32) string {
		if err := syscall.Mkfifo(at(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	write(t, at("file"), "GROUP \"VG\" MASTER 0\n")
	os.Symlink(mkfifo("good", 0o600), at("link"))
	os.Symlink(at("nowhere"), at("dangling"))
	os.Mkdir(at("dir"), 0o700)
	foreign := mkfifo("foreign", 0o600)
	if err := os.Chown(foreign, 4242, 0); err != nil {
		t.Fatal(err)
	}
	mkfifo("open", 0o622)
	for _, test := range []struct{ name, err string }{
		{"file", "is not a FIFO: remove it"},
		{"dir", "is not a FIFO: remove it"},
		{"link", "is a symbolic link, which keepalived does not open: remove it"},
		{"dangling", "is a symbolic link, which keepalived does not open: remove it"},
		{"foreign", "belongs to user 4242, whose words are not believed: "},
		{"open", "can be written by others (mode 0622): chmod 600 it"},
		{"missing/fifo", "does its directory exist"},
	} {
		f, err := notify.OpenFIFO(at(test.name))
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.err)
		}
		if err == nil {
			f.Close()
		}
	}
	f, err := notify.OpenFIFO(foreign, 4242)
	if err != nil {
		t.Errorf("with its owner allowed: %v", err)
	} else {
		f.Close()
	}
}

// heard runs the FIFO for what is written to it, until the last line, GROUP "END".
func heard(t *testing.T, writes ...string) (names []string, stats notify.FIFOStats, errs []string) {
	t.Helper()
	path := fifoPath(t)
	f, err := notify.OpenFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.OnError = func(err error) { errs = append(errs, err.Error()) }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(func() {
		for _, text := range append(writes, "GROUP \"END\" STOP 0\n") {
			w, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				w.WriteString(text)
				w.Close()
			}
		}
	})
	err = f.Run(ctx, func(n vrrp.Notice) {
		names = append(names, n.Name)
		if n.Name == "END" {
			cancel()
		}
	})
	wait.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return names, f.Stats(), errs
}

func TestFIFOLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200_000)
	names, stats, errs := heard(t,
		"GROUP \"A\" MASTER 0\nnonsense\n\nGROUP \"B\" MASTER 0\n",
		"RS [192.0.2.1]:tcp:80 UP\n",
		"GROUP \""+long+"\" MASTER 0\nGROUP \"C\" MASTER 0\n",
		"GROUP \"D\" ", "MASTER 0\n") // two writes of one line
	if got := strings.Join(names, ""); got != "ABCDEND" {
		t.Errorf("heard %q", got)
	}
	if want := (notify.FIFOStats{Lines: 5, Malformed: 3, Foreign: 1}); stats != want {
		t.Errorf("got %+v", stats)
	}
	if len(errs) != 1 { // at most one a second
		t.Errorf("reported %q", errs)
	}
}

// A line without an end must not spoil the next one.
func TestFIFOLineWithoutEnd(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	f, _ := w.fifo(path)
	write(t, path, "GROUP \"VG")
	notifytest.Eventually(t, "it is given up", func() bool { return f.Stats().Malformed == 1 })
	write(t, path, "GROUP \"VG\" MASTER 0\n")
	w.want("MASTER fifo")
}

// The FIFO's file is removed, or replaced by something else: it is made again, or waited for.
func TestFIFORemoved(t *testing.T) {
	t.Parallel()
	w, path := newWatch(t), fifoPath(t)
	f, _ := w.fifo(path)
	os.Remove(path)
	notifytest.Eventually(t, "it is made again", func() bool { return f.Stats().Replaced == 1 })
	write(t, path, "GROUP \"VG\" MASTER 0\n")
	w.want("MASTER fifo")

	write(t, path+".file", "GROUP \"VG\" FAULT 0\n")
	os.Rename(path+".file", path)
	w.quiet(300 * time.Millisecond)
	os.Remove(path)
	notifytest.Eventually(t, "it is made again", func() bool { return f.Stats().Replaced == 2 })
	write(t, path, "GROUP \"VG\" BACKUP 0\n")
	w.want("BACKUP fifo")
}

func TestFIFOEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*notify.FIFO, context.CancelFunc){
		"context": func(_ *notify.FIFO, cancel context.CancelFunc) { cancel() },
		"close":   func(f *notify.FIFO, _ context.CancelFunc) { f.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f, err := notify.OpenFIFO(fifoPath(t))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error)
			go func() { done <- f.Run(ctx, func(vrrp.Notice) {}) }()
			time.Sleep(20 * time.Millisecond)
			began := time.Now()
			end(f, cancel)
			if err := <-done; err != nil || time.Since(began) > 500*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	}
}

// No line is lost or swapped under load, across a driver that is replaced by the next.
func TestFIFOOrder(t *testing.T) {
	t.Parallel()
	path, lines := fifoPath(t), 5000
	f, err := notify.OpenFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	go func() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		for i := 0; err == nil && i < lines; i++ {
			_, err = fmt.Fprintf(w, "GROUP \"%d\" MASTER 0\n", i)
		}
		w.Close()
	}()
	for next := 0; next < lines; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		stop := min(next+1000, lines)
		f.Run(ctx, func(n vrrp.Notice) {
			if n.Name != fmt.Sprint(next) {
				t.Fatalf("got %s, want %d", n.Name, next)
			}
			if next++; next >= stop {
				cancel()
			}
		})
		if next < stop {
			t.Fatalf("only %d lines", next)
		}
		cancel()
	}
}
