package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A message reads back as what it was, and no byte of it can change unnoticed.
func TestMessage(t *testing.T) {
	b := message(7, 1<<40+3)
	if id, number, ok := readMessage(b); !ok || id != 7 || number != 1<<40+3 {
		t.Fatalf("read back as %d, %d, %v", id, number, ok)
	}
	for i := range b {
		b[i] ^= 0x10
		if id, number, ok := readMessage(b); ok {
			t.Errorf("with byte %d changed it reads as %d, %d", i, id, number)
		}
		b[i] ^= 0x10
	}
	if _, _, ok := readMessage(b[:len(b)-1]); ok {
		t.Error("a truncated message was accepted")
	}
}

// The pattern of a stream shows a byte that was lost, doubled, or is of another conversation.
func TestPattern(t *testing.T) {
	b := make([]byte, 64)
	fill(b, 3, 1000)
	if !sameAs(b, 3, 1000) {
		t.Error("the pattern is not itself")
	}
	if sameAs(b, 3, 1001) || sameAs(b, 3, 999) || sameAs(b, 3, 1000+64) || sameAs(b, 4, 1000) {
		t.Error("the pattern fits another place")
	}
}

// A conversation is active only if something that was sent after the mark has arrived, in each direction used.
func TestActive(t *testing.T) {
	c := &Conversation{Kind: Bulk}
	c.sending(up, 100)
	c.sending(down, 100)
	c.remark()
	c.arrived(up, 100)
	c.arrived(down, 100)
	if c.active() {
		t.Error("active by what was sent before the mark")
	}
	c.arrived(up, 101)
	if c.active() {
		t.Error("active although nothing came down")
	}
	c.arrived(down, 101)
	if !c.active() {
		t.Error("not active")
	}
	c.lost(Reset, "first")
	c.lost(Moved, "second")
	if v := c.verdict(c.active()); v.Outcome != Reset || v.Reason != "first" {
		t.Errorf("verdict %+v, want the first cause", v)
	}
}

// An answer that never came is silence, with the wait so far as its stall.
func TestSilent(t *testing.T) {
	c := &Conversation{Kind: UDP}
	c.sending(up, 1)
	c.remark()
	time.Sleep(2 * time.Millisecond)
	if v := c.verdict(c.active()); v.Outcome != Silent || v.Stall < 2*time.Millisecond {
		t.Errorf("verdict %+v", v)
	}
}

func TestProgramEntry(t *testing.T) {
	own := Comparison{Own: []netip.Addr{netip.MustParseAddr("10.0.0.9")}}
	for _, c := range []struct {
		line, key, timeout, rest string
		ok                       bool
	}{
		{
			"ipv4     2 tcp      6 99 ESTABLISHED src=1.2.3.4 dst=5.6.7.8 sport=1 dport=2 [UNREPLIED] src=5.6.7.8 dst=1.2.3.4 sport=2 dport=1 mark=5 zone=7 use=1 id=381073993",
			"tcp 6 src=1.2.3.4 dst=5.6.7.8 sport=1 dport=2 zone=7", "99",
			"ESTABLISHED [UNREPLIED] src=5.6.7.8 dst=1.2.3.4 sport=2 dport=1 mark=5", true,
		},
		{
			"ipv4     2 icmp     1 29 src=1.0.0.1 dst=1.0.0.2 type=8 code=0 id=30861 src=1.0.0.2 dst=1.0.0.1 type=0 code=0 id=30861 mark=0 use=1 id=685476855",
			"icmp 1 src=1.0.0.1 dst=1.0.0.2 type=8 code=0 id=30861", "29",
			"src=1.0.0.2 dst=1.0.0.1 type=0 code=0 id=30861 mark=0", true,
		},
		{line: "ipv4     2 udp      17 29 src=1.0.0.1 dst=10.0.0.9 sport=1 dport=2 src=10.0.0.9 dst=1.0.0.1 sport=2 dport=1 mark=0 use=1 id=1"},
		{line: "conntrack v1.4.7"},
	} {
		key, e, ok := programEntry(c.line, own)
		if ok != c.ok || ok && (key != c.key || e["timeout"] != c.timeout || e["line"] != c.rest) {
			t.Errorf("%s\nreads as %q %q %v", c.line, key, e, ok)
		}
	}
}

func TestTable(t *testing.T) {
	r := Judge("power cut", []Verdict{
		{Kind: TCP, Stall: 600 * time.Millisecond},
		{Kind: TCP, Outcome: Reset, Reason: "client: connection reset by peer"},
		{Kind: UDP, Outcome: Moved, Reason: "came from a, now from b", Stall: 30 * time.Millisecond},
	})
	if r.Lost() != 2 || r.Count(Survived, TCP) != 1 {
		t.Errorf("lost %d, survived %d", r.Lost(), r.Count(Survived, TCP))
	}
	if got, want := r.Reasons(), "1 tcp: client: connection reset by peer; 1 udp: moved"; got != want {
		t.Errorf("reasons %q, want %q", got, want)
	}
	lines := strings.Split(Table([]Result{r}), "\n")
	want := "  power cut                            1/3      1       0      1     600.0 ms      30.0 ms         0.0 ms"
	if len(lines) != 3 || lines[1] != want || len(lines[0]) != len(lines[1]) {
		t.Errorf("table\n%s\nwant\n%s", strings.Join(lines, "\n"), want)
	}
}
