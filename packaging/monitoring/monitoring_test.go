//go:build monitoring

// Package monitoring checks the alert rules and the dashboard with Debian's Prometheus: the rules' own tests with
// promtool, and every expression against two running daemons in network namespaces. It needs root, prometheus and
// what the laboratory needs: see `make test-monitoring`.
package monitoring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ctsync/engine/wire"
	"ctsync/tests/lab"
)

func promtool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("promtool", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestRules: promtool accepts the rules, and each fires for what it is for and for nothing beside.
func TestRules(t *testing.T) {
	promtool(t, "check", "rules", "ctsync.rules.yml")
	promtool(t, "check", "config", "--syntax-only", "prometheus.yml")
	promtool(t, "test", "rules", "ctsync.rules.test.yml")
	tests := read(t, "ctsync.rules.test.yml")
	for _, a := range alerts(t) {
		if !strings.Contains(tests, "alertname: "+a.name+"\n") {
			t.Errorf("%s has no test", a.name)
		}
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

type expression struct{ name, expr string }

var alert = regexp.MustCompile(`(?m)^ +- alert: (\w+)\n +expr: (.+)$`)

func alerts(t *testing.T) (all []expression) {
	t.Helper()
	for _, m := range alert.FindAllStringSubmatch(read(t, "ctsync.rules.yml"), -1) {
		all = append(all, expression{m[1], m[2]})
	}
	if len(all) < 15 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

// panels are the expressions of the dashboard, with its variables filled in.
func panels(t *testing.T) (all []expression) {
	t.Helper()
	type query struct{ Title, Name, Expr string }
	var d struct {
		Annotations struct{ List []query }
		Panels      []struct {
			Title   string
			Targets []query
		}
	}
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "10s", "$job", "ctsync", "$instance", ".+").Replace
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, expression{p.Title, fill(q.Expr)})
		}
	}
	for _, q := range d.Annotations.List {
		all = append(all, expression{q.Name, fill(q.Expr)})
	}
	if len(all) < 25 {
		t.Fatalf("%d expressions", len(all))
	}
	return all
}

// comparison is what makes an alert of a figure. Without it an expression has a result also when all is well.
var comparison = regexp.MustCompile(`\s*(==|!=|>=|<=|>|<)\s*[0-9.]+`)

// interval replaces the long ones: the daemons run for seconds.
var interval = regexp.MustCompile(`\[[0-9]+[mh]\]`)

// TestExpressions: every expression has a result of two running daemons, after a takeover, with something refused.
func TestExpressions(t *testing.T) {
	const port = 9780
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(hex.EncodeToString(secret[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	l := lab.Run(t, lab.Options{Daemon: func(r *lab.Router) lab.Daemon {
		return lab.Ctsync(fmt.Sprintf("metrics %s:%d", r.LANAddress().Addr(), port), "key-file "+key,
			"keepalived-config "+filepath.Join(r.Folder, "keepalived.conf"), "keepalived-pid "+filepath.Join(r.Folder, "keepalived.pid"))(r)
	}})
	for _, r := range l.Routers() {
		in(t, r.Namespace, "nft", "add", "rule", "inet", "filter", "input", "iifname", "lan0", "tcp", "dport", fmt.Sprint(port), "accept")
	}
	traffic, err := l.StartTraffic(lab.Plan{TCP: 20, UDP: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traffic.Stop)
	start(t, l)
	refuse(t, l)
	clash(t, l)
	await(t, "two scraped daemons", 20*time.Second, func() bool {
		return len(query(t, l, `up{job="ctsync"} == 1`)) == 2 && len(query(t, l, "ctsync_datagrams_refused_total")) == 4
	})
	await(t, "a figure of each change", 20*time.Second, func() bool { return len(query(t, l, "rate(ctsync_takeovers_total[10s])")) == 2 })
	await(t, "flow that the kernel refused", 10*time.Second, func() bool { return len(query(t, l, "ctsync_kernel_flows_failed")) > 0 })
	for _, e := range alerts(t) {
		check(t, l, e.name, interval.ReplaceAllString(comparison.ReplaceAllString(e.expr, ""), "[10s]"))
		query(t, l, e.expr) // it is a right one as it is
	}
	for _, e := range panels(t) {
		check(t, l, e.name, comparison.ReplaceAllString(e.expr, ""))
	}
	if got := query(t, l, `no_such_metric`); len(got) != 0 {
		t.Error("an unknown metric has a result")
	}
}

func check(t *testing.T, l *lab.Lab, name, expr string) {
	t.Helper()
	if len(query(t, l, expr)) == 0 {
		t.Errorf("%s: no result of %s", name, expr)
	}
}

// secret is the pair's key.
var secret = [wire.KeySize]byte{1, 2, 3}

// start runs Prometheus where it reaches both routers: in the client's namespace, with our configuration.
func start(t *testing.T, l *lab.Lab) {
	t.Helper()
	dir := t.TempDir()
	conf := read(t, "prometheus.yml")
	targets := fmt.Sprintf("[%s:9780, %s:9780]", l.R1.LANAddress().Addr(), l.R2.LANAddress().Addr())
	for old, now := range map[string]string{"[fw-a:9780, fw-b:9780]": targets, "scrape_interval: 5s": "scrape_interval: 1s", "evaluation_interval: 5s": "evaluation_interval: 1s"} {
		if !strings.Contains(conf, old) {
			t.Fatalf("prometheus.yml has no %s", old)
		}
		conf = strings.ReplaceAll(conf, old, now)
	}
	for name, text := range map[string]string{"prometheus.yml": conf, "ctsync.rules.yml": read(t, "ctsync.rules.yml")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in(t, l.Client, "ip", "link", "set", "lo", "up")
	cmd := exec.Command("ip", "netns", "exec", l.Client.Name, "prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", "127.0.0.1:9090", "--log.level", "warn")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", said.String())
		}
	})
	await(t, "prometheus to answer", 20*time.Second, func() bool {
		_, err := l.Client.Run("promtool", "query", "instant", "http://127.0.0.1:9090", "vector(1)")
		return err == nil
	})
}

// query is the result of an instant query, one element a series.
func query(t *testing.T, l *lab.Lab, expr string) (result []json.RawMessage) {
	t.Helper()
	out, err := l.Client.Run("promtool", "query", "instant", "--format=json", "http://127.0.0.1:9090", expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%s: %v: %s", expr, err, out)
	}
	return result
}

func in(t *testing.T, n *lab.Namespace, command string, args ...string) {
	t.Helper()
	if out, err := n.Run(command, args...); err != nil {
		t.Fatalf("%s %v: %v\n%s", command, args, err, out)
	}
}

func await(t *testing.T, what string, limit time.Duration, done func() bool) {
	t.Helper()
	for give := time.Now().Add(limit); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(give) {
			t.Fatalf("no %s within %s", what, limit)
		}
	}
}

// refuse sends each router a datagram that is none of ours, and one that says to be of the other but has no seal of the
// key.
func refuse(t *testing.T, l *lab.Lab) {
	t.Helper()
	forged := wire.AppendHeader(nil, &wire.Header{Type: wire.Beat, Cluster: wire.ClusterHash(lab.Group), Sender: wire.Epoch{1}, Counter: 1})
	forged[5] = wire.NewKey(secret).ID
	for _, payload := range [][]byte{[]byte("nonsense, of more bytes than a header has"), append(forged, make([]byte, 64)...)} {
		for _, r := range l.Routers() {
			if err := r.Do(func() error {
				c, err := net.Dial("udp", fmt.Sprintf("%s:3780", r.Peer.SyncAddress(0).Addr()))
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Write(payload)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// clash has the standby's kernel refuse a flow: it has met another one with the same translation.
func clash(t *testing.T, l *lab.Lab) {
	t.Helper()
	flow := func(source string) []string {
		return []string{"-I", "-p", "udp", "-s", source, "-d", lab.ServerAddress.String(), "--sport", "5000", "--dport", "80",
			"--src-nat", lab.WANVIP.String() + ":15000", "-t", "300", "-u", "SEEN_REPLY,ASSURED"}
	}
	in(t, l.R2.Namespace, "conntrack", flow("10.10.0.11")...)
	await(t, "flow that r2 has met", 5*time.Second, func() bool {
		out, err := l.R2.Ask("show", "conntrack-sync", "cache", "internal")
		return err == nil && strings.Contains(out, "10.10.0.11")
	})
	in(t, l.R1.Namespace, "conntrack", flow("10.10.0.12")...)
}
