package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"ctsync/tests/lab"
)

// holdLab makes this test binary make a lab, say so and wait to be killed.
const holdLab = "CTSYNC_TEST_HOLD_LAB"

func TestMain(m *testing.M) {
	if os.Getenv(holdLab) != "" {
		hold()
	}
	os.Exit(m.Run())
}

func hold() {
	l, err := lab.New(lab.Options{})
	if err == nil {
		err = l.Start()
	}
	fmt.Println("ready", err)
	select {}
}

// A process that is killed leaves nothing behind: no namespace, no keepalived.
func TestKilledProcessLeavesNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdLab+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 200)
	n, _ := out.Read(said)
	if got := string(said[:n]); got != "ready <nil>\n" {
		t.Fatalf("the other process said %q", got)
	}
	mine := fmt.Sprintf("ctlab-%d-", cmd.Process.Pid)
	if left := leftovers(t, mine); len(left) != 5 {
		t.Fatalf("before: %v, want five namespaces", left)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	wait(t, "the guard to remove everything", func() bool { return len(leftovers(t, mine)) == 0 })
}

// Two labs at the same time do not meet.
func TestLabsCoexist(t *testing.T) {
	a, b := bare(t), bare(t)
	for _, l := range []*lab.Lab{a, b} {
		if _, err := l.Client.Run("ping", "-c", "1", "-W", "2", l.R1.LANAddress().Addr().String()); err != nil {
			t.Error(err)
		}
	}
	a.Close()
	if _, err := b.Client.Run("ping", "-c", "1", "-W", "2", b.R2.LANAddress().Addr().String()); err != nil {
		t.Error("after the other lab was closed: ", err)
	}
}

// leftovers are namespaces whose name begins so.
func leftovers(t *testing.T, prefix string) []string {
	t.Helper()
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			left = append(left, e.Name())
		}
	}
	return left
}
