package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden reads each testdata/*.conf and compares all that is said about it: the faults, or else the
// warnings and the effective configuration.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := verdict(filepath.Base(file), string(text))
			golden := strings.TrimSuffix(file, ".conf") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (run with -update)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got, -update rewrites:\n%s", diff)
			}
		})
	}
}

// verdict is everything that is said about a configuration.
func verdict(name, text string) string {
	c, faults := Parse(name, strings.NewReader(text))
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.Error() + "\n")
	}
	if len(faults) > 0 {
		return b.String()
	}
	for _, w := range c.Warnings() {
		b.WriteString("warning: " + w + "\n")
	}
	b.WriteString(strings.Join(c.Lines(), "\n") + "\n")
	return b.String()
}
