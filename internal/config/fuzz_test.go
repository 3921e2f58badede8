package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: any file is either understood, and then its lines say the same, or refused with faults that an
// operator can read.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.conf")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(documented)
	f.Add("vrrp sync-group 'a\"b'\ninterface \"it's\" peer ::ffff:1.2.3.4\nmetrics [fe80::1%eth0]:1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, faults := Parse("f", strings.NewReader(text))
		for _, fault := range faults {
			checkFault(t, fault)
		}
		if len(faults) > 0 {
			return
		}
		c.Warnings()
		again, faults := Parse("f", strings.NewReader(strings.Join(c.Lines(), "\n")))
		if len(faults) > 0 {
			t.Fatalf("its own lines are refused: %v", faults)
		}
		if diff := cmp.Diff(exported(c), exported(again)); diff != "" {
			t.Fatalf("its lines say something else:\n%s", diff)
		}
	})
}

func checkFault(t *testing.T, f Fault) {
	text := f.Error()
	if strings.ContainsAny(text, "\n\r\x00\x1b") || f.Problem == "" || !strings.HasPrefix(text, "f:") {
		t.Errorf("not a message for people: %q", text)
	}
}
