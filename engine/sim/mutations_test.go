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

// TestMutationsHaveTheirPlaces: a rule whose code has moved would be broken no more.
func TestMutationsHaveTheirPlaces(t *testing.T) {
	known := map[string]bool{}
	for _, m := range rules {
		_, text := source(t, m.file)
		if n := strings.Count(text, m.old); n != 1 {
			t.Errorf("%s: %s has its place %d times", m.name, m.file, n)
		}
		known[m.name] = true
	}
	for _, name := range byScenario {
		if !known[name] {
			t.Errorf("no rule is called %s", name)
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
