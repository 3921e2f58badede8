package operator

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func source(t *testing.T, patterns ...string) string {
	t.Helper()
	var all strings.Builder
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join("../..", p))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", p, len(files), err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}

// TestManual: docs/OPERATING.md has every finding, metric, reason and verdict of the program, and no metric or finding
// that is none.
func TestManual(t *testing.T) {
	manual := source(t, "docs/OPERATING.md")
	known := map[string]bool{}
	each := func(what, text, pattern, prefix string) {
		t.Helper()
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
		if len(found) < 2 {
			t.Errorf("%s: only %d in the source", what, len(found))
		}
		for _, m := range found {
			known[prefix+m[1]] = true
			if !strings.Contains(manual, prefix+m[1]) {
				t.Errorf("%s %q is not in the manual", what, prefix+m[1])
			}
		}
	}
	checks := source(t, "internal/hostcheck/*.go")
	each("finding", checks, `(?:problem|hint|finding|level)\("([a-z0-9-]+)"`, "")
	each("finding", checks, `kernel\.[A-Z]\w+: "([a-z0-9-]+)"`, "")
	each("finding", checks, `traffic\{+"([a-z0-9-]+)"`, "")
	each("metric", source(t, "internal/metrics/metrics.go"), `desc\("(\w+)"`, "ctsync_")
	each("refusal", source(t, "engine/wire/wire.go", "engine/wire/seal.go", "engine/trust.go", "engine/hear.go"), `errors\.New\("([^"]+)"\)`, "")
	each("reason of the kernel", source(t, "engine/*.go"), `(?s)return "([^":]+)[^"]*"\n\tcase syscall`, "")
	verdicts := regexp.MustCompile(`(?s)func \(e \*Engine\) verdict.*\n}\n\nfunc \(e \*Engine\) standbyVerdict.*?\n}\n`).FindString(source(t, "engine/state.go"))
	each("verdict", verdicts, `(?:Degraded|Syncing|Alone), (?:fmt\.Sprintf\()?"(?:%d )?([a-z ]+)`, "")
	for _, m := range regexp.MustCompile("`(ctsync_[a-z_]+)`").FindAllStringSubmatch(manual, -1) {
		if !known[m[1]] {
			t.Errorf("the manual has the metric %s, which is none", m[1])
		}
	}
	_, list, _ := strings.Cut(manual, "## Before a failover")
	list, _, _ = strings.Cut(list, "\n## ")
	list = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(list, "")
	for _, id := range regexp.MustCompile(`\b[a-z]+(?:-[a-z0-9]+)+\b`).FindAllString(list, -1) {
		if !known[id] {
			t.Errorf("the manual has the finding %s, which is none", id)
		}
	}
}
