package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	mutations = flag.Bool("mutations", false, "break one rule after the other, not only the first, and see that somebody notices; takes minutes")
	budget    = flag.Duration("budget", 0, "with -mutations: begin none after this time; every day others come first")
)

// byScenario are the broken rules that the simulation is known not to notice within seedsToFind.
var byScenario = []string{
	"R4: an end is forgotten before it has gone out",
	"an end is not verified where we wrote the entry",
}

// rules are broken one at a time: in file, old is replaced by new.
var rules = []struct{ name, file, old, new string }{
	{"R1: a record takes effect whatever is held of its key", "cache/replica.go",
		"	case c.Seq > seq:\n", "	case c.Seq > seq && false:\n"},
	{"R1: what is known takes effect again", "cache/replica.go",
		"	if seq <= p.Have {\n", "	if seq <= p.Have && false {\n"},
	{"R2: a range beyond a gap moves have", "cache/replica.go",
		"	if from > p.Have {\n", "	if from > p.Have && false {\n"},
	{"R6: the sweep does not wait for proof", "hear.go",
		"	p.rep.Range(d.Prev, d.Last, e.release)\n",
		"	p.rep.Range(d.Prev, d.Last, e.release)\n	if p.rep.Have >= p.base {\n		p.rep.Sweep(func(r ref) { e.sweeping(p, r) }, e.release)\n	}\n"},
	{"R8: a heartbeat older than the data is believed", "hear.go",
		"		if h.Counter < p.data {\n", "		if false {\n"},
	{"R7: proof without comparing digests", "hear.go",
		"	if !p.rep.Agrees(b.Last, int(b.Count), b.Digest) {\n", "	if false {\n"},
	{"I8: a datagram is heard twice", "hear.go", "p.window.fresh(h.Counter) {", "(p.window.fresh(h.Counter) || true) {"},
	{"I8: what came before the answer may still be heard", "trust.go", "	p.window.reset(h.Counter)\n", ""},
	{"I8: what is for another node is heard", "hear.go", " || h.Dest != (wire.Epoch{}) && h.Dest != e.cfg.Epoch {", " {"},
	{"I8: an old heartbeat is believed", "hear.go", "	if h.Counter > p.beat {", "	if true {"},
	{"I13: an active node is ready only when it has read its table", "role.go",
		"case e.role.is == Active:", "case e.role.is == Active && e.complete():"},
	{"O2: a standby's own flows are adopted", "peers.go",
		"{ return p.activation > 0 }", "{ return true }"},
	{"O3: anybody's tombstone deletes", "hear.go",
		"	case e.role.is == Standby && p == e.peers.leader:\n		if ended", "	case e.role.is == Standby && (ended || p == e.peers.leader):\n		if ended"},
	{"O3: the leader's end marks no other copy", "owner.go", "	e.markDead(r, p.owner)\n", ""},
	{"O3: an end here marks no other copy", "own.go",
		"	if kind == cache.Ended && e.role.is != Standby {\n		e.markDead(r, ownOwner)\n	}\n", ""},
	{"R4: an end is forgotten before it has gone out", "peers.go",
		"	upTo := e.send.sent\n", "	upTo := e.log.Last\n"},
	{"R4: a question from 0 is never answered by RESTART", "send.go",
		"return max(g.next, g.base) < e.log.Horizon }", "return max(g.next, g.base) < e.log.Horizon && g.next+g.base > 0 }"},
	{"R5: who holds nothing takes late DATA", "send.go",
		"p.base, p.floor = p.last, max(p.floor, p.beat, p.data)", "p.base = p.last"},
	{"O8: an activation that was not heard is not merged", "hear.go",
		"acted := p.role != Standby || b.Activation > p.activation", "acted := p.role != Standby"},
	{"O8: what ended here while the other acted is not adopted from it", "owner.go",
		"	if t.Seq <= e.lastAt(p.actedUntil()) {\n", "	if false {\n"},
	{"O5: what ended here after the other had stepped down is adopted", "owner.go",
		"	if e.endedHere(p, r, c) ||", "	if"},
	{"O5: adoption moves instead of copying", "owner.go",
		"	e.dropAside(r)\n	e.internal(r).Created++\n", "	e.dropAside(r)\n	e.tbl.Drop(r, p.owner)\n	e.internal(r).Created++\n"},
	{"K7: what changes while an operation is under way is forgotten", "writer.go",
		"		ent.Kern |= kAgain\n		return\n", "		return\n"},
	{"K9: a dump is believed over events", "dump.go",
		"	if ent.Stamp == e.dump.generation {\n		return\n	}\n", ""},
	{"K9: a dump after a loss does not wait", "own.go",
		"	d.retryAt = e.now.Add(queueRead)\n", "	d.retryAt = time.Time{}\n	e.startDump()\n"},
	{"K12: an eviction is an end", "evict.go",
		"	return nat\n}\n", "	return nat && false\n}\n"},
	{"K3: what the kernel translates otherwise is only updated", "writer.go",
		"ent.Shape != e.shapeOf(ent, c)):\n		e.replace(r)", "false):\n		e.replace(r)"},
	{"an end is not verified where we wrote the entry", "own.go",
		"	case own != nil && (written || e.perhapsOlder(own)) && e.role.is != Standby:\n", "	case own != nil && e.perhapsOlder(own) && e.role.is != Standby:\n"},
	{"purge: at once, whether or not a packet came", "purge.go",
		"	if ent.Kern&kSuspect == 0 || expires > ent.Due+refreshSlack {\n", "	if ent.Kern&kSuspect == 0 {\n"},
	{"purge: without HAVE >= L", "purge.go",
		"	if l.theyHave < p.last {\n", "	if false {\n"},
	{"readiness does not wait for the kernel", "role.go",
		"!e.writer.filled ||", ""},
	{"a demoted node's entries are not rewritten", "owner.go",
		"		if e.writes() && listed != nil ||", "		if e.writes() && listed != nil && e.log.Lives(r) == nil ||"},
}

// TestMutationsHaveTheirPlaces: a rule whose code has moved would be broken no more.
func TestMutationsHaveTheirPlaces(t *testing.T) {
	for _, m := range rules {
		_, text := source(t, m.file)
		if n := strings.Count(text, m.old); n != 1 {
			t.Errorf("%s: %s has its place %d times", m.name, m.file, n)
		}
	}
}

// source is a file of the engine.
func source(t *testing.T, file string) (path, text string) {
	path, err := filepath.Abs(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(b)
}

// seedsToFind is how many seeds may pass before a broken rule is noticed.
const seedsToFind = 500

// TestMutations breaks each rule, or without -mutations the first one, and wants the simulation to notice, or at least
// a scenario.
func TestMutations(t *testing.T) {
	broken := rules
	if !*mutations {
		broken = rules[:1]
	}
	begin := time.Now()
	if *budget > 0 {
		first := int(begin.Unix()/86400) * 7 % len(rules)
		broken = slices.Concat(rules[first:], rules[:first])
	}
	by := map[string]string{}
	for i, m := range broken {
		if *budget > 0 && time.Since(begin) > *budget {
			t.Logf("%d of %d were left for another day", len(broken)-i, len(broken))
			break
		}
		t.Run(m.name, func(t *testing.T) {
			line := ""
			if !slices.Contains(byScenario, m.name) {
				line = found(withMutation(t, m.file, m.old, m.new, ".", "-test.run", "TestSeeds$", "-stop", "-seeds", fmt.Sprint(seedsToFind)))
			}
			if line == "" {
				line = foundByScenario(t, withMutation(t, m.file, m.old, m.new, "..", "-test.run", "^Test"))
			}
			t.Log(line)
			seed, rest, _ := strings.Cut(line, ": ")
			invariant, _, _ := strings.Cut(rest, ":")
			by[m.name] = seed + ", " + invariant
		})
	}
	if *document {
		document, err := os.ReadFile(documentFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(documentFile, []byte(mutationsIn(string(document), by)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// found says which seed failed first, of a run of the mutated simulation; empty: none.
func found(out string) string {
	for _, line := range strings.Split(out, "\n") {
		if _, is := strings.CutPrefix(strings.TrimSpace(line), "sim_test.go"); is && strings.Contains(line, "seed ") {
			return line[strings.Index(line, "seed "):min(len(line), 160)]
		}
	}
	return ""
}

// foundByScenario says which scenario failed first.
func foundByScenario(t *testing.T, out string) string {
	_, name, ok := strings.Cut(out, "--- FAIL: ")
	if !ok {
		t.Fatalf("nobody noticed:\n%s", out)
	}
	name, _, _ = strings.Cut(name, " ")
	return "scenario: " + name + ":"
}

// withMutation runs the tests of a package, with args, on a changed file that is laid over the real one.
func withMutation(t *testing.T, file, old, changed, pkg string, args ...string) string {
	path, text := source(t, file)
	dir := t.TempDir()
	over := filepath.Join(dir, "mutated.go")
	if err := os.WriteFile(over, []byte(strings.Replace(text, old, changed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: over}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "mutated.test")
	if out, err := exec.Command("go", "test", "-c", "-overlay", list, "-vet=off", "-o", binary, pkg).CombinedOutput(); err != nil {
		t.Fatalf("it does not even build: %v\n%s", err, out)
	}
	run := exec.Command(binary, args...)
	run.Dir = pkg
	out, _ := run.CombinedOutput()
	return string(out)
}
