package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadKeys(t *testing.T) {
	one, two := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		keys int
		err  string
	}{
		"one":               {one + "\n", 0o600, 1, ""},
		"two with comments": {"# the new one\n" + one + " # since May\n\n" + two, 0o640, 2, ""},
		"world-readable":    {one, 0o644, 0, "chmod 0600"},
		"group-writable":    {one, 0o660, 0, "chmod 0600"},
		"empty":             {"# nothing\n", 0o600, 0, "0 keys"},
		"short":             {one[2:], 0o600, 0, ":1: not a key"},
		"no hexadecimal":    {two + "\n" + strings.Repeat("xy", 32), 0o600, 0, ":2: not a key"},
		"twice":             {one + "\n" + one, 0o600, 0, ":2: this key cannot be told"},
		"an endless line":   {strings.Repeat("0", 1<<20), 0o600, 0, "key-file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			keys, err := readKeys(path)
			if len(keys) != c.keys {
				t.Errorf("%d keys, want %d", len(keys), c.keys)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}
