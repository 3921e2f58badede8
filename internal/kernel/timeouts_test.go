package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ctsync/engine/flow"
)

// notOfAState are timeouts that the kernel has for something else.
var notOfAState = map[string]bool{"frag6_timeout": true, "tcp_timeout_max_retrans": true, "tcp_timeout_unacknowledged": true}

// TestTimeouts: a new network namespace has the defaults that we know, and what an administrator writes is read,
// each sysctl into a place of its own.
func TestTimeouts(t *testing.T) {
	newNetns(t)
	if got := Timeouts(); got != flow.DefaultTimeouts() {
		t.Errorf("%+v, want %+v", got, flow.DefaultTimeouts())
	}
	files, err := filepath.Glob(sysctls + "nf_conntrack_*timeout*")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	want := map[string]int{}
	for i, file := range files {
		name := strings.TrimPrefix(filepath.Base(file), "nf_conntrack_")
		if notOfAState[name] {
			continue
		}
		want[name] = 1000 + i
		if err := os.WriteFile(file, []byte(strconv.Itoa(1000+i)), 0); err != nil {
			t.Fatal(err)
		}
	}
	got := Timeouts()
	for _, s := range timeoutSysctls(&got) {
		if n, ok := want[s.name]; ok && int(*s.value) != n {
			t.Errorf("%s: %d, want %d", s.name, *s.value, n)
		}
		delete(want, s.name)
	}
	for name := range want {
		t.Errorf("%s is not read", name)
	}
	for _, c := range []struct {
		f    flow.Flow
		want uint32
	}{
		{flow.Flow{Key: flow.Key{L4: flow.TCP}, Value: flow.Value{State: flow.TCPEstablished}}, got.TCP[3]},
		{flow.Flow{Key: flow.Key{L4: flow.UDP}, Value: flow.Value{Status: flow.SeenReply}}, got.UDP},
		{flow.Flow{Key: flow.Key{L4: flow.UDPLite}, Value: flow.Value{Status: flow.Assured}}, got.UDPStream},
		{flow.Flow{Key: flow.Key{L4: flow.GRE}, Value: flow.Value{Status: flow.Assured}}, got.GREStream},
		{flow.Flow{Key: flow.Key{L4: flow.SCTP}, Value: flow.Value{State: 4}}, got.SCTP[4]},
		{flow.Flow{Key: flow.Key{L4: flow.DCCP}, Value: flow.Value{State: 4}}, got.DCCP[4]},
		{flow.Flow{Key: flow.Key{L4: flow.ICMP}}, got.ICMP},
		{flow.Flow{Key: flow.Key{L4: flow.ICMPv6}}, got.ICMPv6},
		{flow.Flow{Key: flow.Key{L4: flow.ESP}}, got.Generic},
	} {
		if n := got.Of(&c.f.Key, &c.f.Value); n != c.want || n == 0 {
			t.Errorf("%v state %d: %d s, want %d", c.f.Key, c.f.State, n, c.want)
		}
	}
}
