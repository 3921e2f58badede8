package main

import (
	"strings"
	"testing"
)

// TestHelp: what a command says of itself is taken apart.
func TestHelp(t *testing.T) {
	h, err := parseHelp("wait until in sync\n\nUsage:\n  ctsync wait-synced [flags]\n\nExamples:\n  in keepalived.conf: x\n\n" +
		"Flags:\n  -h, --help               help for wait-synced\n      --timeout duration   how long (default 1m0s)\n\n" +
		"Global Flags:\n      --config FILE   configuration FILE\n")
	if err != nil {
		t.Fatal(err)
	}
	if h.short != "wait until in sync" || h.usage != "ctsync wait-synced" || h.example != "in keepalived.conf: x" || len(h.subs) > 0 {
		t.Errorf("%+v", h)
	}
	if got, want := flagList(h.flags), "**--timeout** *duration*: How long (default 1m0s)."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := parseHelp("Error: unknown command"); err == nil {
		t.Error("no usage, and no error")
	}
}

// TestPackaged: the examples of the manual name the FIFO's owner, as those that the package installs do.
func TestPackaged(t *testing.T) {
	const in = "    vrrp_notify_fifo /run/ctsync/notify.fifo\n"
	if got := packaged(in); !strings.HasSuffix(got, "notify.fifo ctsync ctsync\n") {
		t.Error(got)
	}
}

// TestRender: the title becomes the page's, sections stay sections, and no name is hyphenated.
func TestRender(t *testing.T) {
	got := string(render("# X 8 \"d\" \"s\" \"m\"\n\n## NAME\n\nx - y\n"))
	for _, want := range []string{".hw ctsync\n", ".TH X 8", ".SH NAME"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if table := string(render("# X 8\n\n| a | b |\n|---|---|\n| c | d |\n")); !strings.HasPrefix(table, "'\\\" t\n.hw ctsync\n") {
		t.Errorf("the first line does not tell that there is a table: %q", table)
	}
}
