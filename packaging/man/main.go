// Man renders the manual: ctsync(8), ctsync-keepalived(7) and ctsync-pacemaker(7) from the texts beside it, ctsync.conf(5) from
// docs/ctsync.conf.md. The commands are what the program itself says of them, the examples are the files that
// the package ships. It runs in the checkout's root.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

func main() {
	program := flag.String("program", "build/ctsync", "the program whose commands are described")
	version := flag.String("version", "unreleased", "its version")
	epoch := flag.Int64("epoch", 0, "the manual's date, in seconds since 1970")
	out := flag.String("out", "build/man", "folder of the pages")
	flag.Parse()
	if err := write(*program, *version, time.Unix(*epoch, 0).UTC(), *out); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func write(program, version string, date time.Time, out string) error {
	p, err := commandsOf(program)
	if err != nil {
		return err
	}
	words := strings.NewReplacer(
		"@VERSION@", version, "@DATE@", date.Format(time.DateOnly),
		"@COMMANDS@", p.commands, "@OPTIONS@", p.options, "@EVENTS@", events())
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for name, read := range map[string]func() (string, error){
		"ctsync.8":            page("packaging/man/ctsync.8.md"),
		"ctsync-keepalived.7": page("packaging/man/ctsync-keepalived.7.md"),
		"ctsync-pacemaker.7":  page("packaging/man/ctsync-pacemaker.7.md"),
		"ctsync.conf.5":       reference,
	} {
		text, err := read()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), render(words.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// render makes roff of Markdown. The program's name is not broken at the end of a line. The first line stays the first one: it
// tells man(1) that there are tables, and since groff 1.23 (Debian 13) nothing else does.
func render(text string) []byte {
	roff := md2man.Render([]byte(text))
	if bytes.HasPrefix(roff, []byte(tables)) {
		return slices.Concat([]byte(tables+unbroken), roff[len(tables):])
	}
	return append([]byte(unbroken), roff...)
}

const tables, unbroken = "'\\\" t\n", ".hw ctsync\n"

var title = regexp.MustCompile(`(?m)^## .+$`)

var included = regexp.MustCompile(`(?m)^@FILE (.+)@$`)

// page reads a text and the files that it includes.
func page(path string) func() (string, error) {
	return func() (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		var failed error
		return included.ReplaceAllStringFunc(string(text), func(line string) string {
			b, err := os.ReadFile(filepath.Join("packaging", included.FindStringSubmatch(line)[1]))
			if err != nil {
				failed = err
			}
			return "```\n" + packaged(string(b)) + "```"
		}), failed
	}
}

// packaged is an example as the package ships it: the FIFO belongs to the service's user.
func packaged(example string) string {
	return strings.ReplaceAll(example, "vrrp_notify_fifo /run/ctsync/notify.fifo\n", "vrrp_notify_fifo /run/ctsync/notify.fifo ctsync ctsync\n")
}

// reference is ctsync.conf(5): the reference with a manual page's head and end.
func reference() (string, error) {
	b, err := os.ReadFile("docs/ctsync.conf.md")
	if err != nil {
		return "", err
	}
	_, text, found := strings.Cut(string(b), "\n")
	if !found {
		return "", fmt.Errorf("docs/ctsync.conf.md is empty")
	}
	return "# CTSYNC.CONF 5 \"@DATE@\" \"ctsync @VERSION@\" \"File formats\"\n\n" +
		"## NAME\n\nctsync.conf - what ctsync replicates, with whom, and who drives it\n\n## DESCRIPTION\n" +
		title.ReplaceAllStringFunc(text, strings.ToUpper) +
		"\n## SEE ALSO\n\n**ctsync**(8), **ctsync-keepalived**(7), **ctsync-pacemaker**(7)\n", nil
}
