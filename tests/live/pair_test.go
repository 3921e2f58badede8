package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ctsync/tests/lab"
)

// long says that the long form of the tests is wanted.
var long = os.Getenv("LONG") != ""

// pick is the number for the short form, or the one for the long form.
func pick(short, longer int) int {
	if long {
		return longer
	}
	return short
}

// usual is the traffic under which most things are broken.
var usual = lab.Plan{TCP: 200, Bulk: 4, UDP: 20, Ping: 10}

// small is enough traffic to see whether connections live.
var small = lab.Plan{TCP: 20, Bulk: 2, UDP: 5, Ping: 2}

// ctsync is the daemon of a router that knows where this router's keepalived has its files.
func ctsync(lines ...string) lab.Kind {
	return func(r *lab.Router) lab.Daemon {
		own := []string{
			"keepalived-config " + filepath.Join(r.Folder, "keepalived.conf"),
			"keepalived-pid " + filepath.Join(r.Folder, "keepalived.pid"),
		}
		return lab.Ctsync(append(own, lines...)...)(r)
	}
}

// run starts a pair.
func run(t *testing.T, o lab.Options, lines ...string) *lab.Lab {
	t.Helper()
	if o.Daemon == nil {
		o.Daemon = ctsync(lines...)
	}
	return lab.Run(t, o)
}

// talk starts traffic through the pair.
func talk(t *testing.T, l *lab.Lab, p lab.Plan) *lab.Traffic {
	t.Helper()
	traffic, err := l.StartTraffic(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traffic.Stop)
	return traffic
}

// status is what `ctsync status --output json` says, as far as tests ask.
type status struct {
	Node       string
	Verdict    string
	Code       int `json:"verdict_code"`
	Why        string
	Role       string
	RoleReason string `json:"role_reason"`
	VRRP       struct{ State, Source string }
	Ready      *bool
	Complete   bool
	Leader     string
	Internal   cache
	Young      int
	External   cache
	Kernel     struct {
		Events, Overruns, Dumps, Created, Updated, Deleted uint64
		Pending, Outstanding                               int
		Failed                                             map[string]int
		Silent                                             int
		TableCount                                         int `json:"table_count"`
		TableMax                                           int `json:"table_max"`
	}
	Messages struct {
		Sent, Received, Lost, Malformed uint64
		Refused                         map[string]uint64
	}
	Activity struct {
		Takeovers, Evicted, Purged, Notices uint64
		TakeoverDuration                    float64 `json:"takeover_duration"`
		TakeoverAdopted                     int     `json:"takeover_adopted"`
		TakeoverWritten                     int     `json:"takeover_written"`
	}
	Peers []peerStatus
	Links []struct {
		Interface, Mode, State string
		Up                     bool
		MTU                    int
		SendErrors             uint64 `json:"send_errors"`
		ReceiveErrors          uint64 `json:"receive_errors"`
	}
}

type cache struct {
	Active                      int
	Created, Updated, Destroyed uint64
}

// ask runs one of the program's commands and gives its output and its exit code.
func ask(t *testing.T, r *lab.Router, words ...string) (string, int) {
	t.Helper()
	out, err := r.Ask(words...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out, 0
	case errors.As(err, &exit):
		return out, exit.ExitCode()
	}
	t.Fatal(err)
	return "", 0
}

// state is the daemon's status; one with the node's name empty where it does not answer.
func state(t *testing.T, r *lab.Router) (s status) {
	t.Helper()
	out, code := ask(t, r, "status", "--output", "json")
	if out == "" {
		return status{Code: code}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%s: status: %v in %s", r.Name, err, out)
	}
	if s.Code != code {
		t.Errorf("%s: status says code %d and exits %d", r.Name, s.Code, code)
	}
	return s
}

// await asks ever again until ok.
func await(t *testing.T, what string, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for pause := 2 * time.Millisecond; !ok(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("waited %s for %s", limit, what)
		}
		time.Sleep(pause)
	}
	return time.Since(began)
}

// awaitState waits until a router's status is as wanted.
func awaitState(t *testing.T, r *lab.Router, what string, limit time.Duration, ok func(status) bool) status {
	t.Helper()
	var s status
	defer func() {
		if t.Failed() {
			t.Logf("%s: %+v", r.Name, s)
		}
	}()
	await(t, r.Name+": "+what, limit, func() bool { s = state(t, r); return ok(s) })
	return s
}

// bothSynced waits until both nodes say that all is well, one of them as the active one and the other with that
// one, as it runs now, as its leader.
func bothSynced(t *testing.T, l *lab.Lab, limit time.Duration) {
	t.Helper()
	for _, r := range l.Routers() {
		awaitState(t, r, "in sync", limit, func(s status) bool {
			return s.Code == 0 && s.Node != "" && (s.Role == "active" || s.follows())
		})
	}
}

type peerStatus struct {
	Name, Epoch, Role, State, Address string
	Behind, Lacks, Restarts           uint64
	Flows                             int
	Leader                            bool
	LastHeard                         float64 `json:"last_heard"`
}

// follows says that the leader is heard, and that all of its log is here.
func (s status) follows() bool {
	l, led := s.leader()
	return led && l.State == "in sync" && l.LastHeard < 0.25 && l.Behind == 0
}

// led says that there is a leader, heard or starved for a moment.
func (s status) led() bool {
	l, led := s.leader()
	return led && l.LastHeard < 3
}

// leader is the peer that leads, if there is one.
func (s status) leader() (l peerStatus, led bool) {
	if i := slices.IndexFunc(s.Peers, func(p peerStatus) bool { return p.Leader }); i >= 0 {
		return s.Peers[i], true
	}
	return l, false
}

// alive fails the test if a conversation is reset, silent or moved.
func alive(t *testing.T, what string, r lab.Result) {
	t.Helper()
	if r.Lost() > 0 {
		t.Errorf("%s: lost %d of %d: %s\n%s", what, r.Lost(), len(r.Verdicts), r.Reasons(), &r.Timeline)
	}
}

// check judges the traffic as it is now.
func check(t *testing.T, what string, traffic *lab.Traffic) {
	t.Helper()
	alive(t, what, lab.Judge(what, traffic.Check(6*time.Second)))
}

// try does a fault under the traffic; nothing may be lost.
func try(t *testing.T, traffic *lab.Traffic, f lab.Fault) lab.Result {
	t.Helper()
	r := tryOnly(t, traffic, f)
	alive(t, f.Name, r)
	return r
}

// tryOnly does a fault under the traffic, once a standby that is to take over has what has just begun: replication
// is not instantaneous, least of all on a busy machine.
func tryOnly(t *testing.T, traffic *lab.Traffic, f lab.Fault) lab.Result {
	t.Helper()
	if f.Taker.Daemon.Process().Alive() && state(t, f.Taker).led() {
		time.Sleep(150 * time.Millisecond) // a heartbeat tells where the log ends
		awaitState(t, f.Taker, "up to date", 30*time.Second, func(s status) bool {
			return s.Code == 0 && s.follows() && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
		})
	}
	r, err := traffic.Try(f)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return r
}

// tryWarm does a fault under the traffic: no TCP connection may be lost, and nothing may fall silent. A UDP
// packet that arrives between the address and the commit meets a kernel that does not know its flow, and is
// translated anew: that is the price of a warm standby.
func tryWarm(t *testing.T, traffic *lab.Traffic, f lab.Fault) lab.Result {
	t.Helper()
	r := tryOnly(t, traffic, f)
	if r.Lost() > r.Count(lab.Moved, lab.UDP, lab.Ping) {
		alive(t, f.Name, r)
	}
	return r
}

// said is the lines of a router's daemon since a time, as one text.
func said(r *lab.Router, since time.Time) string {
	var b strings.Builder
	for _, line := range r.Daemon.Process().Lines(since) {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// durations prints their smallest, median, 99th percentile and largest.
func durations(ds []time.Duration) string {
	if len(ds) == 0 {
		return "none"
	}
	ds = sortedCopy(ds)
	at := func(q float64) string {
		return fmt.Sprintf("%.1f", float64(ds[int(q*float64(len(ds)-1)+0.5)])/float64(time.Millisecond))
	}
	return fmt.Sprintf("min %s, median %s, p99 %s, max %s ms of %d", at(0), at(0.5), at(0.99), at(1), len(ds))
}

func median(ds []time.Duration) time.Duration { return sortedCopy(ds)[len(ds)/2] }

func sortedCopy(ds []time.Duration) []time.Duration { return slices.Sorted(slices.Values(ds)) }
