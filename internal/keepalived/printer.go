package keepalived

import (
	"fmt"
	"strings"
)

// printer indents by blocks.
type printer struct {
	lines []string
	depth int
}

func (p *printer) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if line != "" {
		line = strings.Repeat("    ", p.depth) + line
	}
	p.lines = append(p.lines, line)
}

func (p *printer) block(head string, body func()) {
	p.say("%s {", head)
	p.depth++
	body()
	p.depth--
	p.say("}")
}

func (p *printer) statement(s *Statement) {
	words := make([]string, len(s.Words))
	for i, w := range s.Words {
		words[i] = quoted(w)
	}
	if line := strings.Join(words, " "); s.Block != nil {
		p.block(line, func() {
			for _, sub := range s.Block {
				p.statement(sub)
			}
		})
	} else {
		p.say("%s", line)
	}
}

// quoted puts quotes around a word that is none without them.
func quoted(word string) string {
	if word == "" || strings.ContainsAny(word, " \t{}#!") {
		return `"` + word + `"`
	}
	return word
}
