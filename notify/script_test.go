package notify

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ctsync/vrrp"
)

func TestParseScript(t *testing.T) {
	group := vrrp.Notice{Source: vrrp.SourceScript, Kind: vrrp.Group, Name: "VG", State: vrrp.Master}
	for _, test := range []struct {
		args string
		want vrrp.Notice
		err  string
	}{
		{"GROUP VG MASTER 0", group, ""}, // as keepalived appends it
		{"GROUP VG MASTER", group, ""},
		{"group VG master", group, ""},
		{"master VG", group, ""},
		{"INSTANCE VI MASTER_RX_LOWER_PRI", vrrp.Notice{Source: vrrp.SourceScript, Kind: vrrp.Instance, Name: "VI", Event: vrrp.EventRxLowerPriority}, ""},
		{"INSTANCE VI STOP 150", vrrp.Notice{Source: vrrp.SourceScript, Kind: vrrp.Instance, Name: "VI", State: vrrp.Stop, Priority: 150}, ""},
		{"", vrrp.Notice{}, "0 words: want GROUP NAME STATE"},
		{"MASTER", vrrp.Notice{}, "1 words: want GROUP NAME STATE"},
		{"GROUP VG MASTER 0 0", vrrp.Notice{}, "5 words"},
		{"GROUP VG PRIMARY", vrrp.Notice{}, "want MASTER, BACKUP, FAULT, STOP or DELETED"},
		{"TRIBE VG MASTER", vrrp.Notice{}, "want GROUP or INSTANCE"},
		{"GROUP VG MASTER high", vrrp.Notice{}, "want a number from 0 to 255"},
	} {
		before := time.Now()
		got, err := ParseScript(strings.Fields(test.args))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "keepalived.conf") {
				t.Errorf("%q: got the error %v, want %q", test.args, err, test.err)
			}
			continue
		}
		if got.At.IsZero() || got.At.After(before) {
			t.Errorf("%q: made at %v", test.args, got.At)
		}
		if got.At = (time.Time{}); err != nil || got != test.want {
			t.Errorf("%q: got %+v, %v", test.args, got, err)
		}
	}
	if _, err := ParseScript([]string{"GROUP", "", "MASTER"}); err == nil {
		t.Error("an empty name is taken")
	}
}

// Processes started one after the other have starts in that order, within one tick of the kernel too.
func TestStartOfOrders(t *testing.T) {
	var last time.Time
	for range 20 {
		c := exec.Command("sleep", "10")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		at, err := StartOf(c.Process.Pid)
		c.Process.Kill()
		c.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if !at.After(last) {
			t.Fatalf("%v is not after %v", at, last)
		}
		last = at
	}
	if _, err := StartOf(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no process: %v", err)
	}
}

func TestStartTicks(t *testing.T) {
	got, err := startTicks([]byte("77 (a) b (c)) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 999 1"))
	if err != nil || got != 123456 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := startTicks([]byte("77 (a) S 1")); err == nil {
		t.Error("a short one is taken")
	}
}
