package live

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// lists says of how many flows the standby's kernel has the given words in conntrack(8)'s listing.
func lists(t *testing.T, r *lab.Router, words string) int {
	t.Helper()
	return strings.Count(inside(t, r, "conntrack -L"), words)
}

func TestAcceptProtocol(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "accept-protocol tcp", "accept-protocol icmp")
	talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	await(t, "TCP and pings on the standby", 3*time.Second, func() bool {
		return lists(t, l.R2, "dport=7000") == small.TCP+small.Bulk && lists(t, l.R2, "icmp ") == small.Ping
	})
	if n := lists(t, l.R2, "udp "); n != 0 {
		t.Errorf("the standby has %d UDP flows", n)
	}
}

// What is ignored is not on the standby; a change of the setting takes effect at once, both ways.
func TestIgnoreAddress(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "ignore-address 10.11.0.0/25")
	if err := l.R1.AddFlows(512); err != nil { // 256 of 10.11.0.0/24, twice
		t.Fatal(err)
	}
	has := func(flows int) {
		t.Helper()
		awaitState(t, l.R2, fmt.Sprintf("%d flows", flows), 5*time.Second, func(s status) bool { return s.External.Active == flows })
	}
	bothSynced(t, l, 10*time.Second)
	has(512 - 128)
	config := filepath.Join(l.R1.Folder, "ctsync.conf")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, bytes.Replace(text, []byte("10.11.0.0/25"), []byte("10.11.1.0/24"), 1))
	has(512 - 256)
	write(t, config, bytes.Replace(text, []byte("ignore-address"), []byte("# ignore-address"), 1))
	has(512)
	if n := count(t, l.R1); n < 512 {
		t.Errorf("the active node has %d flows itself", n)
	}
}

// A warm standby's kernel is empty until the commit, which gives flows the timeout that the setting says.
func TestWarmCommit(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "standby warm", "commit-timeout 55")
	if err := l.R1.AddFlows(1000); err != nil {
		t.Fatal(err)
	}
	bothSynced(t, l, 10*time.Second)
	awaitState(t, l.R2, "1000 flows", 5*time.Second, func(s status) bool { return s.External.Active == 1000 })
	if n := lists(t, l.R2, "src=10.11."); n != 0 {
		t.Errorf("a warm standby's kernel has %d flows", n)
	}
	if out, code := ask(t, l.R2, "commit"); code != 0 || !strings.HasPrefix(out, "1000 ") {
		t.Errorf("commit: exit code %d: %s", code, out)
	}
	timeout := regexp.MustCompile(`(?m)^tcp +6 (\d+) ESTABLISHED`)
	rows := timeout.FindAllStringSubmatch(inside(t, l.R2, "conntrack -L"), -1)
	for _, row := range rows {
		if n, _ := strconv.Atoi(row[1]); n < 50 || n > 55 {
			t.Fatalf("a committed flow has %d s left", n)
		}
	}
	if len(rows) != 1000 {
		t.Errorf("%d flows committed", len(rows))
	}
}

// A node that lost its role keeps what only it has for purge-timeout, then drops it.
func TestPurgeTimeout(t *testing.T) {
	for _, seconds := range []int{1, 60} {
		t.Run(fmt.Sprint(seconds), func(t *testing.T) {
			t.Parallel()
			l := run(t, lab.Options{}, fmt.Sprintf("purge-timeout %d", seconds))
			bothSynced(t, l, 10*time.Second)
			time.Sleep(2500 * time.Millisecond) // r2 may have acted as they began: what it has read within 2 s of that is taken over
			if seconds == 60 {
				if purges(t, l.R2, 5*time.Second) {
					t.Error("purged long before its time")
				}
				return
			}
			if !purges(t, l.R2, 10*time.Second) {
				t.Error("not purged")
			}
		})
	}
}

// purges gives the standby's kernel a flow that nobody else knows, and says whether it is purged within that time.
func purges(t *testing.T, r *lab.Router, within time.Duration) (purged bool) {
	t.Helper()
	inside(t, r, "conntrack -I -p tcp -s 10.10.0.77 -d 192.0.2.7 --sport 7 --dport 8 --state ESTABLISHED -t 600")
	here := func() bool { return lists(t, r, "src=10.10.0.77") > 0 }
	if !here() {
		t.Fatal("the flow is not there")
	}
	ask(t, r, "resync") // the purge of after its step-down is over
	for end := time.Now().Add(within); here() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	purged = !here()
	if n := state(t, r).Activity.Purged; purged && n != 1 {
		t.Errorf("%d flows purged", n)
	}
	return purged
}

// The readiness file says 100 where a takeover loses nothing, 0 where it would, and 200 on the node that alone has everything.
func TestTrackFile(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{})
	says := func(r *lab.Router, want string) {
		t.Helper()
		await(t, fmt.Sprintf("the readiness file of %s to say %s", r.Name, want), 5*time.Second, func() bool {
			text, _ := os.ReadFile(filepath.Join(r.Folder, "ready"))
			return strings.TrimSpace(string(text)) == want
		})
	}
	says(l.R1, "100")
	says(l.R2, "100")
	if err := l.R2.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	says(l.R2, "0")
	if err := l.CutSync(0); err != nil {
		t.Fatal(err)
	}
	if err := l.R2.Restart(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond) // its role is known from keepalived by then
	says(l.R2, "0")
	says(l.R1, "200")
	if err := l.JoinSync(0); err != nil {
		t.Fatal(err)
	}
	says(l.R2, "100")
	says(l.R1, "100")
}

// Sizes of socket buffers, as the kernel tells them.
func TestQueueSizes(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "event-listen-queue-size 3", "sync-queue-size 5")
	const double = 2 << 20 // the kernel counts its own overhead too
	if out := inside(t, l.R1, "ss -uanm sport = :3780"); !strings.Contains(out, fmt.Sprintf("rb%d,", 5*double)) || !strings.Contains(out, fmt.Sprintf("tb%d,", 5*double)) {
		t.Errorf("sync-queue-size 5: %s", out)
	}
	if out := inside(t, l.R1, "ss -f netlink -anm"); !strings.Contains(out, fmt.Sprintf("rb%d,", 3*double)) {
		t.Errorf("event-listen-queue-size 3: %s", out)
	}
}

// The log has no more than its level, and VyOS's word for less of it says the same as warn.
func TestLogLevels(t *testing.T) {
	for _, c := range []struct {
		line             string
		debug, info, bad bool
	}{{"log-level debug", true, true, false}, {"log-level info", false, true, false}, {"log-level warn", false, false, false}, {"disable-syslog", false, false, false}} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			l := run(t, lab.Options{}, c.line)
			bothSynced(t, l, 10*time.Second)
			ask(t, l.R1, "resync")
			await(t, "a line", 3*time.Second, func() bool {
				text := said(l.R1, time.Time{})
				return strings.Contains(text, "level=DEBUG") == c.debug && strings.Contains(text, "level=INFO") == c.info &&
					strings.Contains(text, "level=WARN") // the link is not authenticated
			})
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	l := run(t, lab.Options{}, "metrics 127.0.0.1:9780")
	if err := l.R1.AddFlows(123); err != nil {
		t.Fatal(err)
	}
	bothSynced(t, l, 10*time.Second)
	var text []byte
	await(t, "the flows among the metrics", 3*time.Second, func() bool {
		err := l.R1.Do(func() error {
			conn, err := net.Dial("tcp", "127.0.0.1:9780") // on this thread, which is in the namespace
			if err != nil {
				return err
			}
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
				DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
			r, err := client.Get("http://127.0.0.1:9780/metrics")
			if err != nil {
				return err
			}
			defer r.Body.Close()
			text, err = io.ReadAll(r.Body)
			return err
		})
		return err == nil && bytes.Contains(text, []byte(`ctsync_flows{cache="internal"} 123`))
	})
}

// With a priority of 255 keepalived never writes the group's line: the members' lines lead, as its configuration
// names them.
func TestPriority255(t *testing.T) {
	t.Parallel()
	kind := hook(ctsync(), func(h *lab.Hooks) { h.TrackFile = "" })
	l := prepared(t, lab.Options{Daemon: kind}, func(r *lab.Router) {
		if r.Name == "r1" {
			r.Priority = 255
		}
	})
	traffic := talk(t, l, small)
	awaitState(t, l.R1, "active", 3*time.Second, func(s status) bool { return s.Role == "active" && s.VRRP.Source == "fifo" })
	await(t, "the members in the journal", time.Second, func() bool {
		return strings.Contains(said(l.R1, time.Time{}), `members="VI_WAN, VI_LAN"`)
	})
	bothSynced(t, l, 10*time.Second)
	try(t, traffic, l.Cycle()[2])
	try(t, traffic, l.Cycle()[3])
	awaitState(t, l.R1, "active again", 3*time.Second, func(s status) bool { return s.Role == "active" && s.VRRP.Source == "fifo" })
}

// A sealed link needs the key: nodes with it are in sync, one without it is refused and counted.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	write(t, key, []byte(strings.Repeat("5a", 32)+"\n"))
	l := run(t, lab.Options{}, "key-file "+key)
	traffic := talk(t, l, small)
	bothSynced(t, l, 10*time.Second)
	for _, d := range record(t, l.R1, 5) {
		if bytes.Contains(d, []byte("r1")) {
			t.Error("the node's name can be read on the link")
		}
	}
	try(t, traffic, l.Cycle()[2])
	try(t, traffic, l.Cycle()[3])

	if err := l.R2.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	mute := lab.Ctsync()(l.R2) // with neither key
	if err := mute.Start(); err != nil {
		t.Fatal(err)
	}
	defer mute.Kill9()
	before := state(t, l.R1).Messages.Malformed
	awaitState(t, l.R1, "refusing the node without a key", 6*time.Second, func(s status) bool {
		return s.Messages.Malformed > before+5 && s.Code == 4
	})
}

// A key is introduced to nodes that run: the first that has it takes both kinds and seals once the other has it too.
func TestPermissive(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	write(t, key, []byte(strings.Repeat("a5", 32)+"\n"))
	l := run(t, lab.Options{Daemon: each(func(r *lab.Router) []string {
		if r.Name == "r1" {
			return []string{"key-file " + key, "seal permissive"}
		}
		return nil
	})})
	traffic := talk(t, l, small)
	open := func() (n int) {
		for _, d := range record(t, l.R1, 5) {
			if bytes.Contains(d, []byte("r1")) { // the node's name in a heartbeat
				n++
			}
		}
		return n
	}
	bothSynced(t, l, 10*time.Second)
	if open() == 0 {
		t.Error("r1 seals although r2 has no key")
	}
	config := filepath.Join(l.R2.Folder, "ctsync.conf")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, append(text, []byte("key-file "+key+"\nseal required\n")...))
	await(t, "r1 to seal", 10*time.Second, func() bool { return open() == 0 })
	bothSynced(t, l, 10*time.Second)
	try(t, traffic, l.Cycle()[2])
}

// observed is where the effect of each setting is seen. A test of another package is named with it.
var observed = map[string]string{
	"accept-protocol":         "TestAcceptProtocol",
	"event-listen-queue-size": "TestQueueSizes",
	"expect-sync":             "../fidelity TestExpectationOfPackets",
	"failover-mechanism":      "TestCluster",
	"ignore-address":          "TestIgnoreAddress",
	"interface":               "TestLinks",
	"listen-address":          "TestLinks",
	"mcast-group":             "TestLinks",
	"sync-queue-size":         "TestQueueSizes",
	"purge-timeout":           "TestPurgeTimeout",
	"startup-resync":          "", // always done: TestLateStart
	"disable-external-cache":  "", // the default, by another name
	"disable-syslog":          "TestLogLevels",
	"standby":                 "TestWarmCommit",
	"cluster-id":              "TestClusterID",
	"node-name":               "TestLinks",
	"notify-fifo":             "TestDrivers",
	"notify-fifo-owner":       "../../notify TestOpenFIFORefuses",
	"dbus":                    "TestDrivers",
	"keepalived-config":       "TestPriority255",
	"keepalived-pid":          "TestKeepalivedKilled",
	"track-file":              "TestTrackFile",
	"commit-timeout":          "TestWarmCommit",
	"sync-after":              "TestSyncAfter",
	"sync-after-packets":      "../dialogues TestBusyFlows",
	"accept-tcp-state":        "TestAcceptTCPState",
	"metrics":                 "TestMetrics",
	"log-level":               "TestLogLevels",
	"control":                 "TestBadRequests",
	"control-group":           "../../internal/control TestGroup",
	"key-file":                "TestKeyFile",
	"seal":                    "TestPermissive",
}

// Every setting of the reference has a test that observes its effect, or a reason here why none can.
func TestEverySetting(t *testing.T) {
	reference, err := os.ReadFile("../../docs/ctsync.conf.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### ([a-z-]+)$`).FindAllSubmatch(reference, -1) {
		name := string(m[1])
		named[name] = true
		if _, ok := observed[name]; !ok {
			t.Errorf("no test observes the effect of %s", name)
		}
	}
	for name, test := range observed {
		if !named[name] {
			t.Errorf("%s is not in the reference", name)
		}
		if test != "" && !exists(t, test) {
			t.Errorf("%s: there is no %s", name, test)
		}
	}
}

func exists(t *testing.T, test string) bool {
	t.Helper()
	folder, name, other := strings.Cut(test, " ")
	if !other {
		folder, name = ".", test
	}
	files, _ := filepath.Glob(filepath.Join(folder, "*_test.go"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("func "+name+"(t *testing.T)")) {
			return true
		}
	}
	return false
}
