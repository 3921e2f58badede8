package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// section is what the reference says about one setting.
type section struct {
	name, syntax, initial, allowed string
	examples                       []string
}

// TestReference: docs/ctsync.conf.md has one section a setting, in the order of the table and with its texts.
func TestReference(t *testing.T) {
	got := sections(t, "../../docs/ctsync.conf.md")
	var names []string
	for i, s := range got {
		names = append(names, s.name)
		if i >= len(settings) {
			continue
		}
		want := settings[i]
		line := strings.TrimSpace(want.name + " " + want.syntax)
		if diff := cmp.Diff([]string{line, want.initial, want.allowed}, []string{s.syntax, s.initial, s.allowed}); diff != "" {
			t.Errorf("%s: -table +reference:\n%s", want.name, diff)
		}
	}
	if diff := cmp.Diff(settingNames(), names); diff != "" {
		t.Errorf("-table +reference:\n%s", diff)
	}
}

// TestReferenceExamples: what the reference shows is accepted, and shows the setting.
func TestReferenceExamples(t *testing.T) {
	for _, s := range sections(t, "../../docs/ctsync.conf.md") {
		if len(s.examples) == 0 {
			t.Errorf("%s: no example", s.name)
		}
		for _, example := range s.examples {
			if !strings.Contains("\n"+example, "\n"+s.name) {
				t.Errorf("%s: the example does not show it:\n%s", s.name, example)
			}
			if _, faults := Parse(s.name, strings.NewReader(completed(example))); len(faults) > 0 {
				t.Errorf("%s: %v\n%s", s.name, faults, example)
			}
		}
	}
}

// TestReferenceDefaults: the defaults that the reference states as values are those that hold.
func TestReferenceDefaults(t *testing.T) {
	base := parsed(t, completed(""))
	for _, s := range settings {
		value, _, _ := strings.Cut(s.initial, " with ")
		if strings.Contains(value, " ") || value == "off" && s.name == "expect-sync" {
			continue // none, or one that follows from elsewhere
		}
		said, faults := Parse(s.name, strings.NewReader(completed(s.name+" "+quote(value))))
		if len(faults) > 0 || !said.Equal(base) {
			t.Errorf("%s %s is not what holds without it: %v %v", s.name, value, faults, said.Changed(base))
		}
	}
}

// completed adds the required settings that text lacks.
func completed(text string) string {
	if !strings.Contains(text, "failover-mechanism") {
		text += "\nfailover-mechanism vrrp sync-group VG"
	}
	if !strings.HasPrefix(text, "interface") {
		text += "\ninterface eth2"
	}
	return text
}

func sections(t *testing.T, file string) (found []section) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "### "); ok {
			found = append(found, section{name: name})
		}
		if len(found) == 0 {
			continue
		}
		s := &found[len(found)-1]
		switch {
		case line == "```conf":
			fenced = true
			s.examples = append(s.examples, "")
		case line == "```":
			fenced = false
		case fenced:
			s.examples[len(s.examples)-1] += line + "\n"
		case strings.HasPrefix(line, "    ") && s.syntax == "":
			s.syntax = strings.TrimSpace(line)
		default:
			field(&s.initial, line, "Default: ")
			field(&s.allowed, line, "Allowed: ")
		}
	}
	if fenced {
		t.Fatal(fmt.Errorf("%s: an example without end", file))
	}
	return found
}

func field(into *string, line, name string) {
	if value, ok := strings.CutPrefix(line, name); ok {
		*into = value
	}
}
