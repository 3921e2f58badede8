package config

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	errEncoding = errors.New("the line is not UTF-8 text: save the file as UTF-8")
	errControl  = errors.New("the line has a control character: type the line anew")
	errBrace    = errors.New("braces are not read: take the output of `show configuration commands`, or quote a brace that is part of a value")
	errQuote    = errors.New("the quote is not closed on its line")
)

// words splits one line without its line feed. Quotes of either kind hold a word together and are taken off;
// a # outside of quotes begins a comment. There are no escapes. word is what an error is about.
func words(line string) (found []string, word string, err error) {
	line = strings.TrimSuffix(line, "\r")
	if !utf8.ValidString(line) {
		return nil, strings.ToValidUTF8(line, "\uFFFD"), errEncoding
	}
	if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return nil, line, errControl
	}
	var current strings.Builder
	inWord := false
	end := func() {
		if inWord {
			found = append(found, current.String())
		}
		current.Reset()
		inWord = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '#':
			end()
			return found, "", nil
		case ' ', '\t':
			end()
		case '{', '}':
			return found, string(c), errBrace
		case '\'', '"':
			length := strings.IndexByte(line[i+1:], c)
			if length < 0 {
				return found, line[i:], errQuote
			}
			current.WriteString(line[i+1 : i+1+length])
			inWord = true
			i += length + 1
		default:
			current.WriteByte(c)
			inWord = true
		}
	}
	end()
	return found, "", nil
}

// quote is word as words reads it back; no word that Parse accepts has quotes of both kinds.
func quote(word string) string {
	if strings.Contains(word, "'") {
		return `"` + word + `"`
	}
	return "'" + word + "'"
}
