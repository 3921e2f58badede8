package live

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"ctsync/internal/kernel"
	"ctsync/tests/bigtable"
)

// The limits of the kernel's table are the machine's: what a killed test left behind the next one that starts puts back.
func TestMain(m *testing.M) {
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel { // most of a test's time is waiting
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.NumCPU()))
	}
	if unlock, err := bigtable.Lock(false); err == nil { // else its holder takes care
		unlock()
	}
	os.Exit(m.Run())
}

// room makes the kernel's table hold that many flows in each namespace until the test's end.
func room(t *testing.T, flows int) {
	t.Helper()
	max, _, err := kernel.Limits()
	if err != nil {
		t.Fatal(err)
	}
	if bigtable.For(flows) <= max {
		return
	}
	restore, err := bigtable.Raise(flows)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(restore)
}
