package dialogues

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets all labs live at once: most of their time is waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel {
		_ = flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}
