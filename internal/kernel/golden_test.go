package kernel

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

var capture = flag.Bool("capture", false, "write what the kernel says into testdata (then read the difference)")

// golden reads the netlink message of testdata/NAME.hex.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	_, digits, _ := strings.Cut(string(text), "\n") // the first line says where it is from
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func writeGolden(t testing.TB, name, what string, b []byte) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s of Linux %s, little-endian\n", what, release)
	for line := range slices.Chunk(b, 32) {
		fmt.Fprintf(&out, "%x\n", line)
	}
	if err := os.WriteFile(filepath.Join("testdata", name+".hex"), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// goldenDumps are the samples whose dump entries are kept.
var goldenDumps = []string{"tcp snat port", "tcp6 dnat", "icmp snat id", "icmpv6 snat", "udp mark", "gre snat", "sctp snat", "zone orig", "master ftp", "child", "seqadj"}

func goldenName(sample string) string { return "dump-" + strings.ReplaceAll(sample, " ", "-") }

func findSample(name string) flow.Flow {
	list := samples()
	return list[slices.IndexFunc(list, func(s sample) bool { return s.name == name })].flow
}

// rawDump is every message of a dump.
func rawDump(t *testing.T) (entries [][]byte) {
	t.Helper()
	fd, _, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = list(fd, msgGet, unix.AF_UNSPEC, nil, func(m *message, attrs []byte) error {
		whole := appendHeader(nil, m.typ, 0, m.seq, m.body[0])
		entries = append(entries, finish(append(whole, attrs...), 0))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// decodeMessage decodes a whole netlink message.
func decodeMessage(t testing.TB, b []byte) (flow.Flow, flow.Has) {
	t.Helper()
	m, rest, err := nextMessage(b)
	if err != nil || len(rest) != 0 {
		t.Fatalf("message: %v, %d bytes more", err, len(rest))
	}
	family, attrs, err := m.conntrack()
	if err != nil {
		t.Fatal(err)
	}
	var f flow.Flow
	has, err := DecodeFlow(attrs, family, &f, new(flow.Extra))
	if err != nil {
		t.Fatal(err)
	}
	return f, has
}

// TestKernelSpeaksAsGolden compares the golden messages with those of this kernel; -capture replaces them.
func TestKernelSpeaksAsGolden(t *testing.T) {
	newNetns(t)
	nft(t, natTables)
	createAll(t, openWriter(t), samples())
	raw := map[flow.Key][]byte{}
	for _, b := range rawDump(t) {
		f, _ := decodeMessage(t, b)
		raw[f.Key] = b
	}
	for _, name := range goldenDumps {
		b := raw[findSample(name).Key]
		if *capture {
			writeGolden(t, goldenName(name), "an entry of a dump", b)
		}
		old := golden(t, goldenName(name))
		if got, want := shape(t, b), shape(t, old); !slices.Equal(got, want) {
			t.Logf("%s: this kernel has the attributes %v, the golden one %v", name, got, want)
		}
		now, hasNow := decodeMessage(t, b)
		then, hasThen := decodeMessage(t, old)
		now.ID, then.ID = 0, 0
		if now.Key != then.Key || now.Reply != then.Reply || now.Status != then.Status || hasNow != hasThen {
			t.Errorf("%s: now\n%+v, then\n%+v", name, now, then)
		}
	}
}

// shape is the list of the attributes' types.
func shape(t *testing.T, b []byte) (types []uint16) {
	t.Helper()
	err := eachAttr(b[headers:], func(typ uint16, _ []byte) error {
		types = append(types, typ)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// captureEvents writes the first messages that raw has received, by kind and protocol.
func captureEvents(t *testing.T, raw *Events) {
	t.Helper()
	seen := map[string]bool{}
	for {
		n, err := raw.socket.Try(raw.batch, vectors)
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			b, _ := raw.batch.Datagram(i)
			f, _ := decodeMessage(t, b)
			kind := map[bool]string{true: "update", false: "destroy"}[b[4] == 0]
			if m, _, _ := nextMessage(b); m.flags&unix.NLM_F_CREATE != 0 {
				kind = "new"
			}
			name := fmt.Sprintf("event-%s-%d-%d", kind, f.L4, f.L3)
			if f.State == flow.TCPEstablished {
				name += "-established"
			}
			if !seen[name] {
				writeGolden(t, name, "an event about packets", b)
			}
			seen[name] = true
		}
	}
}
