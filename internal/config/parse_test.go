package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestLargest: the largest file of the worst lines is judged in no time, a larger one not at all.
func TestLargest(t *testing.T) {
	for _, line := range []string{"a\n", "interfaze x y\n", "interface %x\n", "ignore-address 10.%d.%d.1\n", "accept-protocol tpc\n", "interface e peer 10.%d.%d.1\n"} {
		var b strings.Builder
		for i := 0; b.Len() < maxSize-64; i++ {
			switch strings.Count(line, "%") {
			case 0:
				b.WriteString(line)
			case 1:
				fmt.Fprintf(&b, line, i)
			default:
				fmt.Fprintf(&b, line, i>>8, i&255)
			}
		}
		start := time.Now()
		Parse("large", strings.NewReader(b.String()))
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%q: %v", line, d)
		} else {
			t.Logf("%q: %v", line, d)
		}
	}
	_, faults := Parse("large", strings.NewReader(strings.Repeat("#\n", maxSize)))
	if len(faults) != 1 || !strings.Contains(faults[0].Problem, "larger") {
		t.Errorf("%v", faults)
	}
}
