package daemon

import (
	"encoding/json"
	"strings"
	"testing"

	"ctsync/engine"
	"ctsync/internal/config"
	"ctsync/internal/control"
	"ctsync/vrrp"
)

// Every verb is answered, in text and in JSON, and a word too many is refused.
func TestVerbs(t *testing.T) {
	for _, v := range verbs {
		words := strings.Fields(v.words)
		mechanism := config.VRRP
		var more []string
		switch words[0] {
		case "cluster":
			mechanism, more = config.Cluster, []string{"VG"}
		case "notify":
			more = []string{"GROUP", "VG", "BACKUP"}
		case "asked":
			more = []string{"VG", "BACKUP"}
		case "wait-synced", "reload", "ring":
			continue // alone it would wait for ever; a fake watches no file, and hears no events
		}
		t.Run(v.words, func(t *testing.T) {
			f := newFake(t, mechanism)
			f.notice(vrrp.Backup)
			_, stderr, exit := f.ask(append(words, more...)...)
			if want := map[string]int{"status": int(engine.Alone)}[v.words]; exit != want {
				t.Errorf("exit code %d, want %d: %s", exit, want, stderr)
			}
			out, _, _ := f.askAs(control.Request{Verb: append(words, more...), Output: "json"})
			if looksLikeJSON := strings.HasPrefix(out, "{") || strings.HasPrefix(out, "["); looksLikeJSON && !json.Valid([]byte(out)) {
				t.Errorf("not JSON: %s", out)
			}
			if out, stderr, exit := f.ask(append(append(words, more...), "too", "many", "words")...); exit == 0 || stderr == "" || out != "" {
				t.Errorf("too many words: exit code %d, %q, %q", exit, out, stderr)
			}
		})
	}
}

func TestUnknownVerb(t *testing.T) {
	f := newFake(t, config.VRRP)
	for _, words := range [][]string{{}, {"fly"}, {"show"}, {"show", "conntrack-sync"}, {"flushed"}, {"reset conntrack-sync statistics x"}} {
		if _, stderr, exit := f.ask(words...); exit != exitUsage || !strings.Contains(stderr, "commit") {
			t.Errorf("%q: exit code %d, %s", words, exit, stderr)
		}
	}
}

func TestExpectations(t *testing.T) {
	f := newFake(t, config.VRRP)
	for _, words := range []string{"show conntrack-sync statistics", "show conntrack-sync cache internal", "show conntrack-sync cache external"} {
		if _, _, exit := f.ask(append(strings.Fields(words), "main")...); exit != 0 {
			t.Errorf("%s main: exit code %d", words, exit)
		}
		if out, _, exit := f.ask(append(strings.Fields(words), "expect")...); exit != 0 || strings.Contains(out, "Main Table") {
			t.Errorf("%s expect: exit code %d: %s", words, exit, out)
		}
	}
}

// A cluster manager's orders are carried out before they are answered, and status says what an OCF monitor must.
func TestCluster(t *testing.T) {
	f := newFake(t, config.Cluster)
	for _, c := range []struct {
		words string
		exit  int
		out   string
	}{
		{"cluster status VG", 0, "SECONDARY\n"},
		{"cluster start VG", 0, ""},
		{"cluster status VG", 8, "PRIMARY\n"},
		{"cluster start OTHER", 1, ""},
		{"cluster start", 1, ""},
		{"notify GROUP VG BACKUP", 1, ""},
		{"cluster stop VG", 0, ""},
		{"cluster status VG", 0, "SECONDARY\n"},
	} {
		if out, stderr, exit := f.ask(strings.Fields(c.words)...); exit != c.exit || out != c.out || (exit == 1) != (stderr != "") {
			t.Errorf("%s: exit code %d, %q, %q", c.words, exit, out, stderr)
		}
	}
	for _, c := range []struct{ order, want string }{
		{"start", `{"state":"PRIMARY","told":true,"ready":true}`}, {"stop", `{"state":"SECONDARY","told":true,"ready":false}`},
	} {
		f.ask("cluster", c.order, "VG")
		if out, _, _ := f.askAs(control.Request{Verb: []string{"cluster", "status", "VG"}, Output: "json"}); strings.TrimSpace(out) != c.want {
			t.Errorf("after %s: %s", c.order, out)
		}
	}
	k := newFake(t, config.VRRP)
	if _, stderr, exit := k.ask("cluster", "start", "VG"); exit != 1 || !strings.Contains(stderr, "failover-mechanism cluster group") {
		t.Errorf("with keepalived: exit code %d, %s", exit, stderr)
	}
}

// What a script says badly is refused and in the journal, since keepalived drops what scripts print.
func TestBadNotify(t *testing.T) {
	f := newFake(t, config.VRRP)
	for _, words := range []string{"", "GROUP", "GROUP VG MONSTER 0", "GROUP VG MASTER 999", "THING VG MASTER 0"} {
		if _, stderr, exit := f.ask(append([]string{"notify"}, strings.Fields(words)...)...); exit != 1 || stderr == "" {
			t.Errorf("notify %s: exit code %d, %s", words, exit, stderr)
		}
	}
	if s := f.loop.status(); s.Activity.Notices != 0 {
		t.Errorf("%d notices", s.Activity.Notices)
	}
	if n := strings.Count(f.log.String(), "notify script"); n != 1 {
		t.Errorf("%d lines in the journal, want one a second:\n%s", n, f.log.String())
	}
}

// What keepalived was asked for once is the process's word, which never disagrees later as a script's would.
func TestAsked(t *testing.T) {
	f := newFake(t, config.VRRP)
	for words, want := range map[string]int{"asked VG": 1, "asked VG MONSTER": 1, "asked VG BACKUP": 0} {
		if _, stderr, exit := f.ask(strings.Fields(words)...); exit != want || (exit == 1) != (stderr != "") {
			t.Errorf("%s: exit code %d, %s", words, exit, stderr)
		}
	}
	if s := f.loop.status(); s.VRRP != vrrp.Backup || s.VRRPSource != vrrp.SourceProcess.String() {
		t.Errorf("%s by %q", s.VRRP, s.VRRPSource)
	}
}

// An order by hand says in one line what happened and what will follow: keepalived is told nothing.
func TestPromoteAndDemote(t *testing.T) {
	f := newFake(t, config.VRRP)
	f.notice(vrrp.Backup)
	for _, c := range []struct {
		word string
		role engine.Role
		want []string
	}{
		{"promote", engine.Active, []string{"active (was standby; 0 flows adopted, 0 written, 0 failed, in ", "`ctsync demote` takes this back", "until keepalived says otherwise"}},
		{"promote", engine.Active, []string{"active (as before). "}},
		{"demote", engine.Standby, []string{"standby (was active). No node is active now, and no address was moved", "`systemctl stop keepalived`", "`ctsync promote` takes this back"}},
	} {
		out, stderr, exit := f.ask(c.word)
		if exit != 0 || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q, %s", c.word, exit, out, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in %q", c.word, want, out)
			}
		}
		if s := f.loop.status(); s.Role != c.role || s.VRRPSource != "operator" {
			t.Errorf("%s: %s by %s", c.word, s.Role, s.VRRPSource)
		}
	}
}

func TestPromoteJSON(t *testing.T) {
	f := newFake(t, config.Cluster)
	f.notice(vrrp.Backup)
	out, stderr, exit := f.askAs(control.Request{Verb: []string{"promote"}, Output: "json"})
	var got byHandJSON
	if err := json.Unmarshal([]byte(out), &got); err != nil || exit != 0 {
		t.Fatalf("exit code %d, %v: %q, %s", exit, err, out, stderr)
	}
	if got.Role != "active" || got.Was != "standby" || got.Error != "" || !strings.Contains(got.Next, "the cluster manager") {
		t.Errorf("%+v", got)
	}
}

// An order that is not carried out says why on standard error, or in the JSON, and exits with 1.
func TestPromoteFails(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out, stderr strings.Builder
		c := &call{json: asJSON, stdout: &out, stderr: &stderr}
		if exit := c.byHand(byHandJSON{Role: "taking over", Was: "standby", Error: "not active after 60s"}); exit != exitFailed {
			t.Errorf("exit code %d", exit)
		}
		if said := out.String() + stderr.String(); !strings.Contains(said, "not active after 60s") || asJSON != (stderr.Len() == 0) {
			t.Errorf("json %v: %q, %q", asJSON, out.String(), stderr.String())
		}
	}
}
