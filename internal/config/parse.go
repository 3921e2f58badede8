package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxSize bounds a file, in bytes: far beyond any configuration, and below what would take long to judge.
const maxSize = 128 << 10

// parser reads one file. It goes on after every fault.
type parser struct {
	file    string
	line    int      // the line that is read, from 1
	setting *setting // the setting that is read
	cfg     Config
	faults  []Fault
	said    map[string]mention // what was said, by setting or by setting and value
	tried   map[string]bool    // settings that were named, rightly or not
}

// mention is where something was said first: its value in the one spelling by which values are compared, and
// the word that stood there.
type mention struct {
	line        int
	value, word string
}

// Parse reads a configuration; name is the file's name for faults. It returns every fault at once, in the
// order of the lines. With faults the Config is what could be understood and good for nothing else.
func Parse(name string, r io.Reader) (Config, []Fault) {
	p := &parser{file: name, cfg: Default(), said: map[string]mention{}, tried: map[string]bool{}}
	if text, ok := p.text(r); ok {
		for i, line := range strings.Split(text, "\n") {
			p.line = i + 1
			p.readLine(line)
		}
		p.line = 0
		p.finish()
	}
	p.cfg.from = origin{file: name, lines: map[string]int{}}
	for what, m := range p.said {
		p.cfg.from.lines[what] = m.line
	}
	sortFaults(p.faults)
	return p.cfg, p.faults
}

// Load is Parse of the file at path, with the host's name for node-name where the file gives none. The error
// is the file's: it cannot be read.
func Load(path string) (Config, []Fault, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, nil, fmt.Errorf("config: read: %w (name the file with --config, or begin with the example that comes with ctsync)", err)
	}
	c, faults := Parse(path, bytes.NewReader(text))
	if c.NodeName != "" {
		return c, faults, nil
	}
	host, err := os.Hostname()
	if err == nil {
		_, err = nodeName(host)
	}
	if err != nil {
		return c, append(faults, Fault{File: path, Word: "node-name",
			Problem: fmt.Sprintf("the host's name cannot serve (%s: %v): set node-name", shown(host), err), Allowed: allowedName}), nil
	}
	c.NodeName = host
	return c, faults, nil
}

// SaysNothing says that a file is there and has nothing but comments, as the package installs it: ctsync.service waits then.
func SaysNothing(path string) bool {
	text, err := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return err == nil
}

// text is all of r, if it can be a configuration at all: a binary file is one fault, not thousands.
func (p *parser) text(r io.Reader) (text string, ok bool) {
	all, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	switch {
	case err != nil:
		p.fault("", fmt.Sprintf("cannot be read: %v", err), "")
	case len(all) > maxSize:
		p.fault("", "larger than 128 KiB: is it the right file?", "")
	case bytes.IndexByte(all, 0) >= 0:
		p.fault("", "not a text file: is it the right file?", "")
	default:
		return strings.TrimPrefix(string(all), "\uFEFF"), true
	}
	return "", false
}

func (p *parser) readLine(line string) {
	words, word, err := words(line)
	if err != nil {
		p.fault(strings.TrimSpace(word), err.Error(), "")
		return
	}
	if words, ok := p.unprefixed(words); ok && len(words) > 0 {
		p.read(words)
	}
}

// prefix is what VyOS writes in front of every setting.
var prefix = []string{"set", "service", "conntrack-sync"}

// unprefixed takes the prefix off, and refuses what else may be pasted from VyOS.
func (p *parser) unprefixed(words []string) ([]string, bool) {
	if len(words) == 0 {
		return nil, true
	}
	switch {
	case words[0] == "delete":
		p.fault(words[0], "there is nothing to delete from: remove the setting's own line", "one setting a line")
		return nil, false
	case words[0] != prefix[0]:
		return words, true
	}
	for i, want := range prefix {
		if i >= len(words) || words[i] != want {
			p.fault(strings.Join(words[:min(i+1, len(words))], " "), "not a setting of conntrack-sync", strings.Join(prefix, " ")+" SETTING, or SETTING alone")
			return nil, false
		}
	}
	if len(words) == len(prefix) {
		p.fault(strings.Join(words, " "), "the setting is missing", strings.Join(settingNames(), ", "))
	}
	return words[len(prefix):], true
}

// read reads one setting with its values.
func (p *parser) read(words []string) {
	name, args := words[0], words[1:]
	if name == "cluster" || name == "vrrp" { // the short spelling of the mechanism
		name, args = "failover-mechanism", words
	}
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		p.unknownSetting(name)
		return
	}
	p.setting = &settings[i]
	p.tried[name] = true
	p.setting.read(p, args)
}

func (p *parser) unknownSetting(name string) {
	known := append(settingNames(), "cluster", "vrrp")
	problem := "not a setting"
	if near := nearest(name, known); near != "" {
		problem += ", the nearest is " + near
	}
	p.fault(name, problem, strings.Join(settingNames(), ", "))
}

func settingNames() (names []string) {
	for i := range settings {
		names = append(names, settings[i].name)
	}
	return names
}

// fault notes what is wrong on the line that is read.
func (p *parser) fault(word, problem, allowed string) { p.faultAt(p.line, word, problem, allowed) }

func (p *parser) faultAt(line int, word, problem, allowed string) {
	p.faults = append(p.faults, Fault{File: p.file, Line: line, Word: word, Problem: problem, Allowed: allowed})
}

// refuse notes a word that does not fit the setting that is read.
func (p *parser) refuse(word string, why error) { p.fault(word, why.Error(), p.setting.allowed) }

// missing notes that the setting that is read lacks its value.
func (p *parser) missing() { p.fault(p.setting.name, "the value is missing", p.setting.allowed) }

// once says whether value, spelled word, may be what the line says of what: it is said for the first time, or
// again.
func (p *parser) once(what, value, word string) bool {
	first, again := p.said[what]
	if again && first.value != value {
		p.fault(what, fmt.Sprintf("%s here, but %s on line %d: remove one of the lines", shown(word), shown(first.word), first.line), "")
		return false
	}
	if !again {
		p.said[what] = mention{p.line, value, word}
	}
	return true
}

// saidLines are the lines on which something was said that begins with what, rising.
func (p *parser) saidLines(what string) (lines []int) {
	for said, m := range p.said {
		if strings.HasPrefix(said, what) {
			lines = append(lines, m.line)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
