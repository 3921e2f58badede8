package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ctsync/internal/control"
)

// TestMain lets a test run this program as a process, in a network namespace for one.
func TestMain(m *testing.M) {
	if os.Getenv("CTSYNC_TEST_PROGRAM") != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// fake answers as a daemon would and remembers what it was asked.
type fake struct {
	sync.Mutex
	path  string
	asked []control.Request
	exit  int
	hang  bool
}

func startFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{path: filepath.Join(t.TempDir(), "c.sock")}
	s, err := control.Listen(f.path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, f.answer) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func (f *fake) answer(ctx context.Context, r control.Request, stdout, stderr io.Writer) int {
	f.Lock()
	r.PID, r.Root = 0, false
	f.asked = append(f.asked, r)
	exit, hang := f.exit, f.hang
	f.Unlock()
	if hang && r.Verb[0] == "wait-synced" {
		<-ctx.Done()
		return 1
	}
	fmt.Fprintln(stdout, "out")
	fmt.Fprintln(stderr, "err")
	return exit
}

// result of one command line.
type result struct {
	exit           int
	stdout, stderr string
}

func ctsync(line ...string) result {
	var stdout, stderr bytes.Buffer
	exit := run(context.Background(), line, &stdout, &stderr)
	return result{exit, stdout.String(), stderr.String()}
}

// TestVerbs: what is typed, and what the daemon is asked.
func TestVerbs(t *testing.T) {
	f := startFake(t)
	for typed, asked := range map[string]string{
		"show conntrack-sync statistics":               "",
		"show conntrack-sync status":                   "",
		"show conntrack-sync cache internal":           "",
		"show conntrack-sync cache external main":      "",
		"show conntrack-sync cache internal expect":    "",
		"show conntrack-sync internal-cache":           "show conntrack-sync cache internal",
		"show conntrack-sync external-cache expect":    "show conntrack-sync cache external expect",
		"reset conntrack-sync internal-cache":          "",
		"reset conntrack-sync external-cache":          "",
		"reset conntrack-sync statistics":              "",
		"clear conntrack-sync external-cache":          "reset conntrack-sync external-cache",
		"restart conntrack-sync":                       "",
		"commit":                                       "",
		"flush":                                        "",
		"flush internal":                               "",
		"flush external":                               "",
		"resync":                                       "",
		"bulk":                                         "",
		"request-resync":                               "",
		"notify GROUP G MASTER 100":                    "",
		"notify INSTANCE VI_1 MASTER_RX_LOWER_PRI 100": "",
		"notify master G":                              "",
		"cluster start G":                              "",
		"cluster stop G":                               "",
		"cluster status G":                             "",
		"status":                                       "",
		"wait-synced":                                  "",
		"reload":                                       "",
		"demote":                                       "",
		"promote":                                      "",
	} {
		if asked == "" {
			asked = typed
		}
		f.asked, f.exit = nil, 0
		got := ctsync(append(strings.Fields(typed), "--control", f.path)...)
		if got != (result{0, "out\n", "err\n"}) {
			t.Errorf("%s: %+v", typed, got)
		}
		for i := range f.asked {
			if script := strings.HasPrefix(asked, "notify"); script != (f.asked[i].Started > 0) {
				t.Errorf("%s: started %d", typed, f.asked[i].Started)
			}
			f.asked[i].Started = 0
		}
		want := []control.Request{{Verb: strings.Fields(asked), Output: "text"}}
		if diff := cmp.Diff(want, f.asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", typed, diff)
		}
	}
}

// TestExitCode: the daemon's exit code is the program's.
func TestExitCode(t *testing.T) {
	f := startFake(t)
	for exit := range 5 {
		f.exit = exit
		if got := ctsync("--control", f.path, "--output", "json", "status"); got.exit != exit {
			t.Errorf("exit %d, want %d", got.exit, exit)
		}
	}
	if f.asked[0].Output != "json" {
		t.Errorf("asked for %q", f.asked[0].Output)
	}
}

func TestNotRunning(t *testing.T) {
	got := ctsync("--control", filepath.Join(t.TempDir(), "none"), "status")
	if got.exit != 2 || !strings.Contains(got.stderr, "systemctl start ctsync") || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}

// TestMisconfigured: a daemon that only another configuration can start says so by its exit code, for which systemd does not
// start it again.
func TestMisconfigured(t *testing.T) {
	dir := t.TempDir()
	const good = "failover-mechanism cluster group G\ninterface no-such0\n"
	for name, text := range map[string]string{"fault": good + "fly high\n", "empty": "", "key": good + "key-file /none\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ctsync("--config", path, "--control", path+".ctl", "daemon"); got.exit != 78 || !strings.Contains(got.stderr, "systemctl restart ctsync") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := ctsync("--config", filepath.Join(dir, "none"), "daemon"); got.exit != 78 {
		t.Errorf("no file: %+v", got)
	}
	if got := ctsync("--config", filepath.Join(dir, "none"), "status"); got.exit == 78 {
		t.Errorf("not the daemon: %+v", got)
	}
}

// TestStopOfNobody: a cluster manager's order to a daemon that does not run holds for the next one.
func TestStopOfNobody(t *testing.T) {
	dir := t.TempDir()
	order := filepath.Join(dir, "none.order")
	if err := os.WriteFile(order, []byte("G MASTER x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ctsync("--control", filepath.Join(dir, "none"), "cluster", "start", "G"); got.exit != 2 {
		t.Errorf("start: %+v", got)
	}
	if _, err := os.Stat(order); err != nil {
		t.Errorf("start: %v", err)
	}
	if got := ctsync("--control", filepath.Join(dir, "none"), "cluster", "stop", "G"); got.exit != 2 {
		t.Errorf("stop: %+v", got)
	}
	if _, err := os.Stat(order); err == nil {
		t.Error("the former order still holds")
	}
}

// TestSocketOfConfiguration: --config is enough to name a daemon.
func TestSocketOfConfiguration(t *testing.T) {
	f := startFake(t)
	path := filepath.Join(t.TempDir(), "ctsync.conf")
	if err := os.WriteFile(path, []byte("control "+f.path+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ctsync("--config", path, "status"); got.exit != 0 || len(f.asked) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestUsage: what cannot be understood is exit code 2 and names what could stand there.
func TestUsage(t *testing.T) {
	f := startFake(t)
	for line, want := range map[string]string{
		"shwo":                             `unknown word "shwo" after "ctsync"; allowed: bulk, check, cluster, commit`,
		"show":                             `a word is missing after "ctsync show"; allowed: conntrack, conntrack-sync`,
		"show conntrack-sync cache both":   `unknown word "both" after "ctsync show conntrack-sync cache"; allowed: external, internal`,
		"show conntrack-sync status now":   `unknown word "now" after "ctsync show conntrack-sync status"; allowed: nothing`,
		"show conntrack table ipx":         `allowed: ipv4, ipv6`,
		"reset conntrack-sync everything":  `allowed: external-cache, internal-cache, statistics`,
		"flush both":                       `allowed: internal or external`,
		"flush internal external":          `unknown word "external" after "ctsync flush"; allowed: internal or external`,
		"notify MASTER":                    `GROUP|INSTANCE NAME STATE`,
		"cluster start":                    `the name of the cluster group`,
		"cluster pause G":                  `allowed: start, status, stop`,
		"status --output xml":              `text and json are allowed`,
		"status --verbose":                 `unknown flag`,
		"config":                           `allowed: check, show`,
		"show conntrack-sync cache":        `allowed: external, internal`,
		"show conntrack-sync cache int xx": `unknown word "int"`,
	} {
		got := ctsync(append([]string{"--control", f.path}, strings.Fields(line)...)...)
		if got.exit != 2 || got.stdout != "" || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, want %q", line, got.exit, got.stdout, got.stderr, want)
		}
		if strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: more than one line: %q", line, got.stderr)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("the daemon was asked %v", f.asked)
	}
}

func TestHelp(t *testing.T) {
	got := ctsync()
	if got.exit != 0 || !strings.Contains(got.stdout, "wait-synced") {
		t.Errorf("%+v", got)
	}
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"show conntrack-sync ": "statistics", "flush ": "external", "show conntrack table ": "ipv6", "cluster ": "start",
	} {
		words := append([]string{"__complete"}, strings.Split(line, " ")...)
		if got := ctsync(words...); !strings.Contains(got.stdout, want) {
			t.Errorf("completion of %q: %q", line, got.stdout)
		}
	}
	if got := ctsync("completion", "bash"); got.exit != 0 || len(got.stdout) < 1000 {
		t.Errorf("bash completion: %+v", got)
	}
}

func TestWaitSynced(t *testing.T) {
	f := startFake(t)
	f.hang, f.exit = true, 4
	began := time.Now()
	got := ctsync("--control", f.path, "wait-synced", "--timeout", "50ms")
	if got.exit != 4 || !strings.Contains(got.stderr, "not in sync within 50ms") {
		t.Errorf("%+v", got)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
	got = ctsync("--control", filepath.Join(t.TempDir(), "none"), "wait-synced", "--timeout", "50ms")
	if got.exit != 2 || !strings.Contains(got.stderr, "systemctl start") {
		t.Errorf("without a daemon: %+v", got)
	}
}

// TestWaitForDaemon: keepalived may start first.
func TestWaitForDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		done <- control.Serve(ctx, path, "", func(context.Context, control.Request, io.Writer, io.Writer) int { return 0 })
	}()
	if got := ctsync("--control", path, "wait-synced", "--timeout", "5s"); got.exit != 0 {
		t.Errorf("%+v", got)
	}
	cancel()
	<-done
}

func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctsync.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("interface lo\nfailover-mechanism vrrp sync-group G\n")
	if got := ctsync("config", "check", "--no-host", path); got.exit != 0 || !strings.Contains(got.stdout, "no faults") {
		t.Errorf("%+v", got)
	}
	got := ctsync("config", "show", path)
	if got.exit != 0 || !strings.Contains(got.stdout, "set service conntrack-sync failover-mechanism vrrp sync-group") {
		t.Errorf("%+v", got)
	}
	write("interface lo\nfailover-mechanism vrrp sync-group G\nwhat is this\npurge-timeout -1\n")
	for _, verb := range []string{"check", "show"} {
		got := ctsync("config", verb, "--config", path)
		if got.exit != 1 || !strings.Contains(got.stderr, ":3:") || !strings.Contains(got.stderr, ":4:") {
			t.Errorf("%s: %+v", verb, got)
		}
	}
	var j checkedJSON
	got = ctsync("config", "check", "--no-host", "--output", "json", path)
	if err := json.Unmarshal([]byte(got.stdout), &j); err != nil || got.exit != 1 || j.OK || len(j.Faults) != 2 {
		t.Errorf("%v %+v", err, got)
	}
	write("interface nosuch0\nfailover-mechanism vrrp sync-group G\n")
	if got := ctsync("config", "check", path); got.exit != 1 || !strings.Contains(got.stderr, "nosuch0") {
		t.Errorf("%+v", got)
	}
	if got := ctsync("config", "check", path+"x"); got.exit != 1 || !strings.Contains(got.stderr, "no such file") {
		t.Errorf("%+v", got)
	}
}

func TestVersion(t *testing.T) {
	if got := ctsync("version"); got.exit != 0 || !strings.HasPrefix(got.stdout, "ctsync ") {
		t.Errorf("%+v", got)
	}
}

// TestTable lists a namespace's own table: not tracking, tracking by the line that the warning gives, and
// with a flow.
func TestTable(t *testing.T) {
	ns := fmt.Sprintf("ctsc%d", os.Getpid())
	mustRun(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	got := inNamespace(t, ns, "show", "conntrack", "table", "ipv4")
	if got.exit != 1 || !strings.Contains(got.stderr, "\nWarning: Connection tracking is not enabled\n\n") ||
		!strings.Contains(got.stdout, "CONN ID") {
		t.Errorf("not enabled: %+v", got)
	}
	line := got.stderr[strings.LastIndex(got.stderr, "nft "):]
	mustRun(t, "ip", "netns", "exec", ns, "sh", "-c", line)
	if got := inNamespace(t, ns, "show", "conntrack", "table", "ipv4"); got.exit != 0 || got.stderr != "" {
		t.Errorf("enabled by the line of the warning: %+v", got)
	}
	mustRun(t, "ip", "netns", "exec", ns, "conntrack", "-I", "-s", "10.1.1.1", "-d", "10.2.2.2", "-p", "tcp",
		"--sport", "1234", "--dport", "80", "--state", "ESTABLISHED", "-t", "300", "-u", "SEEN_REPLY,ASSURED")
	got = inNamespace(t, ns, "show", "conntrack", "table", "ipv4")
	if got.exit != 0 || !strings.Contains(got.stdout, " 10.1.1.1:1234          10.2.2.2:80            tcp [6] ES       ") {
		t.Errorf("with a flow: %+v", got)
	}
	if id := conntrackID(t, ns); !strings.Contains(got.stdout, "\n"+id+" ") {
		t.Errorf("conntrack(8) calls it %s:\n%s", id, got.stdout)
	}
	if got := inNamespace(t, ns, "show", "conntrack", "table", "ipv6", "--output", "json"); got.exit != 0 || strings.Contains(got.stdout, "10.1.1.1") {
		t.Errorf("ipv6: %+v", got)
	}
}

// TestJournal calls journalctl for the unit; a stand-in tells what with.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if got := ctsync("show", "log", "conntrack-sync"); got != (result{0, "--unit ctsync.service --boot\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := ctsync("monitor", "log", "conntrack-sync"); got != (result{0, "--unit ctsync.service --follow\n", ""}) {
		t.Errorf("%+v", got)
	}
	t.Setenv("PATH", "/nonexistent")
	if got := ctsync("show", "log", "conntrack-sync"); got.exit != 1 || !strings.Contains(got.stderr, "standard error") {
		t.Errorf("%+v", got)
	}
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// conntrackID is the id as the witness prints it.
func conntrackID(t *testing.T, ns string) string {
	t.Helper()
	out := mustRun(t, "ip", "netns", "exec", ns, "conntrack", "-L", "-o", "id")
	_, id, _ := strings.Cut(out, " id=")
	return strings.Fields(id)[0]
}

func inNamespace(t *testing.T, ns string, args ...string) result {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns, exe}, args...)...)
	cmd.Env = append(os.Environ(), "CTSYNC_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
