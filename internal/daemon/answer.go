package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/internal/config"
	"ctsync/internal/control"
	"ctsync/internal/show"
	"ctsync/notify"
	"ctsync/vrrp"
)

// Exit codes of commands, besides those of `status`.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// verb is one command: its words, how many may follow them, and what does it.
type verb struct {
	words string
	more  int
	do    func(d *Daemon, c *call) int
}

// call is one request being answered.
type call struct {
	ctx            context.Context
	rest           []string // words after the verb's
	json           bool
	stdout, stderr io.Writer
	started        time.Time // of the client's process, on the boot's clock; zero: unknown
	root           bool      // it is root's process
	files          []*os.File
}

// verbs in the order in which they are listed. A longer one stands before its beginning.
var verbs = []verb{
	{"show conntrack-sync statistics", 1, (*Daemon).showStatistics},
	{"show conntrack-sync status", 0, (*Daemon).showSyncStatus},
	{"show conntrack-sync cache internal", 1, (*Daemon).showInternal},
	{"show conntrack-sync cache external", 1, (*Daemon).showExternal},
	{"reset conntrack-sync internal-cache", 0, engineVerb("flows read again", engine.VerbFlushInternal, engine.VerbResync)},
	{"reset conntrack-sync external-cache", 0, engineVerb("flows asked for again", engine.VerbFlushExternal)},
	{"reset conntrack-sync statistics", 0, engineVerb("", engine.VerbResetStatistics)},
	{"restart conntrack-sync", 0, engineVerb("flows sent again", engine.VerbResync, engine.VerbRequestResync, engine.VerbBulk)},
	{"commit", 0, engineVerb("flows committed", engine.VerbCommit)},
	{"flush internal", 0, engineVerb("flows forgotten", engine.VerbFlushInternal)},
	{"flush external", 0, engineVerb("flows forgotten", engine.VerbFlushExternal)},
	{"flush", 0, engineVerb("flows forgotten", engine.VerbFlushInternal, engine.VerbFlushExternal)},
	{"resync", 0, engineVerb("differences", engine.VerbResync)},
	{"bulk", 0, engineVerb("flows offered", engine.VerbBulk)},
	{"request-resync", 0, engineVerb("peers asked", engine.VerbRequestResync)},
	{"notify", math.MaxInt, (*Daemon).notify},
	{"asked", 2, (*Daemon).asked},
	{"ring", 0, (*Daemon).giveRing},
	{"cluster start", 1, clusterVerb(vrrp.Master)},
	{"cluster stop", 1, clusterVerb(vrrp.Backup)},
	{"cluster status", 1, (*Daemon).clusterStatus},
	{"promote", 0, operatorVerb(vrrp.Master)},
	{"demote", 0, operatorVerb(vrrp.Backup)},
	{"reload", 0, (*Daemon).reloaded},
	{"wait-synced", 0, (*Daemon).waitSynced},
	{"status", 0, (*Daemon).showStatus},
}

// answer does one request of the control socket.
func (d *Daemon) answer(ctx context.Context, r control.Request, stdout, stderr io.Writer) int {
	c := &call{ctx: ctx, json: r.Output == "json", stdout: stdout, stderr: stderr, started: started(r), root: r.Root, files: r.Files}
	defer func() {
		for _, f := range c.files {
			f.Close()
		}
	}()
	for _, v := range verbs {
		words := strings.Fields(v.words)
		n := len(words)
		if len(r.Verb) < n || !slices.Equal(r.Verb[:n], words) {
			continue
		}
		if len(r.Verb)-n > v.more {
			fmt.Fprintf(stderr, "ctsync: %q says nothing after %q\n", r.Verb[n+v.more], strings.Join(r.Verb[:n+v.more], " "))
			return exitUsage
		}
		c.rest = r.Verb[n:]
		return v.do(d, c)
	}
	var known []string
	for _, v := range verbs {
		known = append(known, v.words)
	}
	fmt.Fprintf(stderr, "ctsync: %q is not a request; allowed: %s\n", strings.Join(r.Verb, " "), strings.Join(known, ", "))
	return exitUsage
}

func (c *call) failed(format string, args ...any) int {
	fmt.Fprintf(c.stderr, "ctsync: "+format+"\n", args...)
	return exitFailed
}

// printed is the exit code after printing.
func (c *call) printed(err error) int {
	if err != nil {
		return c.failed("%v", err)
	}
	return exitOK
}

func (d *Daemon) showLinks() []show.Link {
	var out []show.Link
	for _, l := range d.links.Stats() {
		out = append(out, show.Link(l))
	}
	return out
}

func (d *Daemon) setup() show.Setup {
	s := show.Setup{Mechanism: "vrrp", Group: d.cfg.Failover.Group, Expect: d.cfg.ExpectSync}
	if d.cfg.Failover.Mechanism == config.Cluster {
		s.Mechanism = "cluster"
	}
	for _, l := range d.cfg.Links {
		s.Interfaces = append(s.Interfaces, l.Interface)
	}
	return s
}

// showStatistics prints both parts, or the one that is asked for; that on expectations where they are replicated.
func (d *Daemon) showStatistics(c *call) int {
	st := d.loop.status()
	if c.json {
		return c.printed(show.StatisticsJSON(c.stdout, st, d.showLinks()))
	}
	if !c.expectOnly() {
		if err := show.Statistics(c.stdout, st, d.showLinks()); err != nil {
			return c.printed(err)
		}
	}
	if c.expectOnly() || len(c.rest) == 0 && len(d.cfg.ExpectSync) > 0 {
		return c.printed(show.ExpectStatistics(c.stdout, st))
	}
	return exitOK
}

func (d *Daemon) showSyncStatus(c *call) int {
	set := d.setup()
	if c.json {
		return c.printed(show.StatusJSON(c.stdout, &set, d.loop.status(), d.showLinks()))
	}
	return c.printed(show.SyncStatus(c.stdout, set, d.loop.status()))
}

// showStatus exits with the verdict.
func (d *Daemon) showStatus(c *call) int {
	st := d.loop.status()
	print := show.Status
	if c.json {
		print = func(w io.Writer, st engine.Status, links []show.Link) error {
			return show.StatusJSON(w, nil, st, links)
		}
	}
	if code := c.printed(print(c.stdout, st, d.showLinks())); code != exitOK {
		return code
	}
	return int(st.Verdict)
}

func (d *Daemon) showInternal(c *call) int {
	return d.showCache(c, d.loop.engine.Internal)
}

func (d *Daemon) showExternal(c *call) int {
	return d.showCache(c, d.loop.engine.External)
}

// expectOnly says that the table of expectations is asked for, rather than that of connections.
func (c *call) expectOnly() bool { return len(c.rest) > 0 && c.rest[0] == "expect" }

func (d *Daemon) showCache(c *call, page func(uint32, []flow.Flow) (int, uint32)) int {
	l := show.Cache(c.stdout, "", c.json)
	if c.expectOnly() {
		l = show.Expectations(c.stdout, "", c.json)
	}
	if err := d.loop.list(page, func(flows []flow.Flow) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		return l.Rows(flows)
	}); err != nil {
		return c.failed("%v", err)
	}
	return c.printed(l.Close())
}

// engineVerb runs verbs of the engine one after another, and says what the last one did.
func engineVerb(what string, vs ...engine.Verb) func(*Daemon, *call) int {
	return func(d *Daemon, c *call) int {
		var r engine.Reply
		for _, v := range vs {
			var err error
			if r, err = d.loop.command(c.ctx, v); err != nil {
				return c.failed("%v", err)
			}
			if r.Err != "" {
				break
			}
		}
		if c.json {
			return c.replied(r)
		}
		if what != "" {
			fmt.Fprintf(c.stdout, "%d %s in %s\n", r.Done, what, r.Duration.Round(time.Microsecond))
		}
		for _, reason := range sorted(r.Failed) {
			fmt.Fprintf(c.stderr, "ctsync: %d failed: %s\n", r.Failed[reason], reason)
		}
		if r.Err != "" {
			return c.failed("%s", r.Err)
		}
		return exitOK
	}
}

// replied prints the answer of an engine's verb for programs.
func (c *call) replied(r engine.Reply) int {
	code := exitOK
	if r.Err != "" {
		code = exitFailed
	}
	err := json.NewEncoder(c.stdout).Encode(struct {
		Done     int            `json:"done"`
		Failed   map[string]int `json:"failed"`   // by reason
		Duration float64        `json:"duration"` // seconds
		Error    string         `json:"error"`
	}{r.Done, r.Failed, r.Duration.Seconds(), r.Err})
	return max(code, c.printed(err))
}

func sorted(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// started is when the client's process began: its own word, since it may be hidden from this process.
func started(r control.Request) time.Time {
	if r.Started > 0 {
		return time.Unix(0, r.Started)
	}
	at, err := notify.StartOf(r.PID)
	if err != nil {
		return time.Time{}
	}
	return at
}

// Started is when this process began, as a notify script tells it to the daemon; 0 unknown.
func Started() int64 {
	at, err := notify.StartOf(os.Getpid())
	if err != nil {
		return 0
	}
	return at.UnixNano()
}

// notify delivers what a notify script was called with.
func (d *Daemon) notify(c *call) int {
	if d.cfg.Failover.Mechanism != config.VRRP {
		return c.failed("failover-mechanism is %s: keepalived is not listened to", d.cfg.Failover)
	}
	n, err := notify.ParseScript(c.rest)
	if err != nil {
		d.scripts.tell(d.log, "the words of a notify script are not understood", err) // keepalived drops what it prints
		return c.failed("%v", err)
	}
	n.At = c.started
	d.loop.step(&engine.Notice{Notice: n})
	return exitOK
}

func clusterVerb(s vrrp.State) func(*Daemon, *call) int {
	return func(d *Daemon, c *call) int {
		if code := d.ownGroup(c); code != exitOK {
			return code
		}
		if err := rememberOrder(orderPath(d.cfg.Control), d.cfg.Failover.Group, s); err != nil {
			d.log.Warn("after a restart this node will be a standby until the cluster manager says otherwise", "error", err)
		}
		d.order(vrrp.SourceCluster, s)
		return d.awaitRole(c, s)
	}
}

// ownGroup checks that a cluster manager means this daemon's group.
func (d *Daemon) ownGroup(c *call) int {
	if d.cfg.Failover.Mechanism != config.Cluster {
		return c.failed("failover-mechanism is %s: set `failover-mechanism cluster group GROUP` for a cluster manager", d.cfg.Failover)
	}
	if len(c.rest) != 1 || c.rest[0] != d.cfg.Failover.Group {
		return c.failed("cluster group %q is configured, not %q", d.cfg.Failover.Group, strings.Join(c.rest, " "))
	}
	return exitOK
}

func (d *Daemon) order(source vrrp.Source, s vrrp.State) {
	d.loop.step(&engine.Notice{Notice: vrrp.Notice{Source: source, Kind: vrrp.Group, Name: d.cfg.Failover.Group, State: s}})
}

// awaitRole waits until an order is carried out: a cluster manager goes on when its agent returns.
func (d *Daemon) awaitRole(c *call, s vrrp.State) int {
	if err := d.reachRole(c, s); err != nil {
		return c.failed("%v", err)
	}
	return exitOK
}

// reachRole waits until this node has the role that goes with s.
func (d *Daemon) reachRole(c *call, s vrrp.State) error {
	want := engine.Standby
	if s == vrrp.Master {
		want = engine.Active
	}
	give := time.After(roleLimit)
	for d.loop.status().Role != want {
		select {
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		case <-give:
			st := d.loop.status()
			return fmt.Errorf("this node is %s and not %s after %s (%s): `ctsync status` says what it waits for", st.Role, want, roleLimit, st.RoleReason)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// roleLimit bounds a takeover as its orderer sees it: 2,000,000 flows are written in about 14 s.
const roleLimit = 60 * time.Second

// clusterStatus exits as an OCF monitor does: 8 running as master, 0 running as slave.
func (d *Daemon) clusterStatus(c *call) int {
	if code := d.ownGroup(c); code != exitOK {
		return code
	}
	s, word, exit := d.loop.status(), "PRIMARY", 8
	if s.Role == engine.Standby {
		word, exit = "SECONDARY", 0
	}
	if c.json {
		return max(exit, c.printed(json.NewEncoder(c.stdout).Encode(clusterJSON{word, s.VRRP != vrrp.Unknown, s.Ready == engine.Ready})))
	}
	fmt.Fprintln(c.stdout, word)
	return exit
}

// clusterJSON is `cluster status --output json`.
type clusterJSON struct {
	State string `json:"state"` // PRIMARY or SECONDARY
	Told  bool   `json:"told"`  // somebody has said which, since the start
	Ready bool   `json:"ready"` // it has every connection, or forwards them
}
