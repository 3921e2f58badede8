package keepalived

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Bounds of what is read; they are ours.
const (
	maxFiles = 256
	maxBytes = 16 << 20
)

// Place is where a statement begins.
type Place struct {
	File string
	Line int // from 1
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Statement is a keyword with its arguments, and the block after it if there is one.
type Statement struct {
	Words []string
	Block []*Statement
	At    Place
}

// Configuration is what keepalived reads, include files in place. It is read only once it is made.
type Configuration struct {
	Top      []*Statement
	Unclosed []Place // statements whose block has no end
}

// Read reads the configuration at path with what it includes. An error says which file cannot be read.
func Read(path string) (*Configuration, error) {
	r := reader{vars: map[string]string{}}
	r.blocks = []*Statement{{}}
	if err := r.file(path); err != nil {
		return nil, fmt.Errorf("keepalived: read: %w", err)
	}
	c := &Configuration{Top: r.blocks[0].Block}
	for _, open := range r.blocks[1:] {
		c.Unclosed = append(c.Unclosed, open.At)
	}
	return c, nil
}

// reader builds statements. blocks are those that are open, the whole file first.
type reader struct {
	blocks []*Statement
	vars   map[string]string
	files  int
	bytes  int
}

var (
	definition = regexp.MustCompile(`^\s*\$([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$`)
	reference  = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?`)
	token      = regexp.MustCompile(`"[^"]*"?|[{}]|[^\s{}"]+`)
)

func (r *reader) file(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if r.files++; r.files > maxFiles {
		return fmt.Errorf("more than %d files (does one include itself?)", maxFiles)
	}
	if r.bytes += len(b); r.bytes > maxBytes {
		return fmt.Errorf("more than %d bytes of configuration", maxBytes)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxBytes)
	at := Place{File: path}
	for begun := ""; lines.Scan(); {
		at.Line++
		line := begun + uncomment(lines.Text())
		if rest, more := strings.CutSuffix(strings.TrimRight(line, " \t"), `\`); more {
			begun = rest + " "
			continue
		}
		begun = ""
		if err := r.line(line, at); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r *reader) line(line string, at Place) error {
	if m := definition.FindStringSubmatch(line); m != nil {
		r.vars[m[1]] = strings.Trim(m[2], `"`)
		return nil
	}
	line = reference.ReplaceAllStringFunc(line, func(ref string) string {
		if value, ok := r.vars[strings.Trim(ref, "${}")]; ok {
			return value
		}
		return ref
	})
	words := token.FindAllString(line, -1)
	if len(words) == 0 || strings.HasPrefix(words[0], "@") {
		return nil
	}
	// include, and includer, includem and the like, which differ in what they make of a missing file
	if len(words) == 2 && len(words[0]) <= 9 && strings.HasPrefix(words[0], "include") && !strings.Contains(words[0], "_") {
		return r.include(unquoted(words[1]), filepath.Dir(at.File))
	}
	r.statements(words, at)
	return nil
}

// statements takes the words of one line: a brace begins or ends a block, whatever else is there forms statements.
func (r *reader) statements(words []string, at Place) {
	var current *Statement
	for _, w := range words {
		top := r.blocks[len(r.blocks)-1]
		switch {
		case w == "{":
			if current == nil && len(top.Block) > 0 {
				current = top.Block[len(top.Block)-1] // its keyword stands on a line before
			}
			if current != nil {
				r.blocks = append(r.blocks, current)
			}
			current = nil
		case w == "}":
			if len(r.blocks) > 1 {
				r.blocks = r.blocks[:len(r.blocks)-1]
			}
			current = nil
		case current == nil:
			current = &Statement{Words: []string{unquoted(w)}, At: at}
			top.Block = append(top.Block, current)
		default:
			current.Words = append(current.Words, unquoted(w))
		}
	}
}

// include reads the files of a pattern, relative to the including file. A missing one is keepalived's matter.
func (r *reader) include(pattern, dir string) error {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		if err := r.file(file); err != nil {
			return err
		}
	}
	return nil
}

// uncomment cuts a comment off, which begins with # or ! outside quotes.
func uncomment(line string) string {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '#' || c == '!'):
			return line[:i]
		}
	}
	return line
}

func unquoted(word string) string { return strings.Trim(word, `"`) }
