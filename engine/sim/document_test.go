package sim

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var document = flag.Bool("document", false, "write the tables of docs/SIMULATION.md anew; with -mutations, what found each")

const documentFile = "../../docs/SIMULATION.md"

// faultsTold says what each kind of fault is. The names are those that `make sim` counts.
var faultsTold = []struct{ name, what string }{
	{"loss", "1, 10 or 40 of a hundred datagrams are lost"},
	{"duplication", "three of ten come twice"},
	{"reordering", "they are on their way for up to 5, 50 or 800 ms, each for its own time"},
	{"partition", "two nodes do not hear each other for up to 12 s; keepalived's own link is another one"},
	{"one-way partition", "one does not hear the other"},
	{"bad link", "loss, reordering and duplication at once"},
	{"clogged link", "so few bytes a second that datagrams wait, and what would wait too long is dropped"},
	{"long datagrams dropped", "a link with a smaller MTU; the nodes are told of it late, or never"},
	{"daemon crash", "the daemon ends, one time of three with a last word, and begins anew up to 5 s later; the kernel keeps its table"},
	{"reboot", "the machine dies with its table, and is back after up to 8 s"},
	{"freeze", "the daemon does not run for up to 6 s, then reads what waits"},
	{"clock jump", "the clock that the engine is told jumps on by up to 8 s, or back by up to 2 s"},
	{"failover", "another node becomes MASTER; who steps back does so moments before or after"},
	{"flap", "and back, and again, within moments"},
	{"dual masters", "two nodes have the address, for up to 6 s; packets go to either"},
	{"keepalived fault", "FAULT at a node; if it had the address, another one gets it up to 3.5 s later"},
	{"keepalived stop", "STOP, likewise"},
	{"late notices", "what keepalived says comes up to 2.5 s after the address came or went"},
	{"overruns", "the event queue holds next to nothing: events are lost, and the loss is told"},
	{"slow events", "events come up to 800 ms late"},
	{"slow kernel", "operations take up to 2 s"},
	{"unanswered operations", "batches stay without an answer, carried out or not or half"},
	{"full table", "ENOMEM for one create of five, or for each"},
	{"failing dumps", "one piece of a dump in two fails"},
	{"address flap", "the virtual address goes for up to 2 s without a word of keepalived; masqueraded flows go with it"},
	{"key step", "the operator gives a node another key beside the old one, or a first key, and later that one alone"},
	{"change of version", "a daemon begins anew as a newer version, whose heartbeats and records say more, or as one that the others refuse"},
	{"operator's command", "commit, flush, resync, bulk and the others, at any node"},
}

// TestEveryFaultIsTold: a kind of fault that the document does not know.
func TestEveryFaultIsTold(t *testing.T) {
	told := map[string]bool{}
	for _, f := range faultsTold {
		told[f.name] = true
	}
	for _, k := range allKinds {
		if !told[k.name] {
			t.Errorf("%s is not told", k.name)
		}
	}
}

// TestDocument compares the tables of docs/SIMULATION.md with what is simulated. What found a mutation, and when, is of
// the last run with -document -mutations.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	want := faultsIn(string(b))
	want = mutationsIn(want, map[string]string{})
	if *document {
		if err := os.WriteFile(documentFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(b) {
		t.Errorf("its tables are old: go test ./engine/sim -run TestDocument -document")
	}
}

func faultsIn(text string) string {
	var b strings.Builder
	b.WriteString("| fault | what happens |\n|---|---|\n")
	for _, f := range faultsTold {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.what)
	}
	return between(text, "faults", b.String())
}

// mutationsIn writes the table of broken rules into text; what is not found anew stays as it was told there.
func mutationsIn(text string, foundBy map[string]string) string {
	was := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (.*) \| (.*) \| (.*) \|$`).FindAllStringSubmatch(text, -1) {
		was[m[1]] = m[3]
	}
	var b strings.Builder
	b.WriteString("| what is broken | in | found by |\n|---|---|---|\n")
	for _, m := range rules {
		by, ok := foundBy[m.name]
		if !ok {
			by = was[m.name]
		}
		fmt.Fprintf(&b, "| %s | `engine/%s` | %s |\n", m.name, m.file, by)
	}
	return between(text, "mutations", b.String())
}

// between puts table between the two marks of that name.
func between(text, name, table string) string {
	from, to := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	i, j := strings.Index(text, from), strings.Index(text, to)
	if i < 0 || j < i {
		return text + "\n" + from + table + to
	}
	return text[:i+len(from)] + table + text[j:]
}
