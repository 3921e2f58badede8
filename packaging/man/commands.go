package main

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"ctsync/internal/journal"
)

// described is the manual's part that the program itself tells.
type described struct{ commands, options string }

// commandsOf asks the program for all of its commands, down to the last word.
func commandsOf(program string) (described, error) {
	var b strings.Builder
	root, err := helpOf(program)
	if err != nil {
		return described{}, err
	}
	if err := describe(&b, program, nil, root); err != nil {
		return described{}, err
	}
	return described{commands: b.String(), options: flagList(root.flags)}, nil
}

// help is what `--help` of one command says.
type help struct {
	short, usage, example string
	subs, flags           []string // lines
}

var section = regexp.MustCompile(`^(Usage|Available Commands|Examples|Flags|Global Flags|Aliases):$`)

func helpOf(program string, words ...string) (help, error) {
	out, err := exec.Command(program, append(words, "--help")...).Output()
	if err != nil {
		return help{}, fmt.Errorf("%s %s --help: %w", program, strings.Join(words, " "), err)
	}
	h, err := parseHelp(string(out))
	if err != nil {
		return help{}, fmt.Errorf("%s %s --help: %w", program, strings.Join(words, " "), err)
	}
	return h, nil
}

func parseHelp(text string) (help, error) {
	var h help
	at := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch text := strings.TrimSpace(line); {
		case text == "":
		case section.MatchString(line):
			at = strings.TrimSuffix(line, ":")
		case at == "" && h.short == "":
			h.short = text
		case at == "Usage" && h.usage == "":
			h.usage = strings.TrimSuffix(text, " [flags]")
		case at == "Available Commands" && strings.HasPrefix(line, "  "):
			h.subs = append(h.subs, strings.Fields(text)[0])
		case at == "Examples":
			h.example = text
		case at == "Flags":
			h.flags = append(h.flags, text)
		}
	}
	if h.usage == "" || h.short == "" {
		return help{}, errors.New("it says no usage")
	}
	return h, nil
}

// generic are commands that every program of the same library has.
var generic = map[string]bool{"completion": true, "help": true}

func describe(b *strings.Builder, program string, words []string, h help) error {
	for _, sub := range h.subs {
		if generic[sub] {
			continue
		}
		path := append(append([]string(nil), words...), sub)
		next, err := helpOf(program, path...)
		if err != nil {
			return err
		}
		if len(next.subs) > 0 {
			if err := describe(b, program, path, next); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(b, "**%s**\n: %s.", escape(next.usage), escape(sentence(next.short)))
		if next.example != "" {
			fmt.Fprintf(b, " For example, %s", escape(next.example))
		}
		if own := flagList(next.flags); own != "" {
			fmt.Fprintf(b, "\n\n%s", indent(own))
		}
		b.WriteString("\n\n")
	}
	return nil
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// escape keeps Markdown from reading what the program says.
func escape(s string) string {
	return strings.NewReplacer("[", `\[`, "]", `\]`, "|", `\|`, "*", `\*`, "_", `\_`, "<", `\<`).Replace(s)
}

var flagLine = regexp.MustCompile(`^(?:-\w, )?(--\S+)(?: (\S+))?\s{2,}(.+)$`)

// flagList describes flags, but --help.
func flagList(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		m := flagLine.FindStringSubmatch(line)
		if m == nil || m[1] == "--help" {
			continue
		}
		fmt.Fprintf(&b, "**%s**", m[1])
		if m[2] != "" {
			fmt.Fprintf(&b, " *%s*", escape(m[2]))
		}
		fmt.Fprintf(&b, ": %s.\n\n", escape(sentence(m[3])))
	}
	return strings.TrimSpace(b.String())
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

// events are the names of the journal's events.
func events() string {
	var names []string
	for _, e := range journal.Events() {
		names = append(names, "*"+string(e)+"*")
	}
	return strings.Join(names, ", ")
}
