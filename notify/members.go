package notify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrNoGroup is in the error of Members where the configuration was read and has not the group.
var ErrNoGroup = errors.New("no vrrp_sync_group")

// Bounds of what is read of a configuration; they are ours.
const (
	maxIncludes    = 256
	maxConfigBytes = 16 << 20
)

// Members reads the instances of a sync group from keepalived's configuration:
//
//	vrrp_sync_group VG { group { VI_WAN VI_LAN } }
//
// with its include files, comments, quotes and simple $NAME=value definitions. It is the best effort of a
// second reader: what depends on keepalived's own start (lines with @config-id, repeated blocks) is left
// out, since a member too few does no harm (vrrp.Tracker). An error tells why there is no answer; the
// members are then learned from what keepalived says.
func Members(configPath, group string) ([]string, error) {
	r := configReader{vars: map[string]string{}}
	if err := r.read(configPath); err != nil {
		return nil, fmt.Errorf("notify: members of the sync group %q: %w", group, err)
	}
	members, found := syncGroup(r.words, group)
	switch {
	case !found:
		return nil, fmt.Errorf("notify: %s has %w %q (it has: %s)", configPath, ErrNoGroup, group, strings.Join(groups(r.words), ", "))
	case len(members) == 0:
		return nil, fmt.Errorf("notify: the vrrp_sync_group %q in %s names no instances", group, configPath)
	}
	return members, nil
}

// word is a word of the configuration. A quoted one is never a brace or a keyword.
type word struct {
	text   string
	quoted bool
}

type configReader struct {
	words []word
	vars  map[string]string
	files int
	bytes int
}

var (
	definition = regexp.MustCompile(`^\s*\$([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$`)
	reference  = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?`)
	token      = regexp.MustCompile(`"[^"]*"?|[{}]|[^\s{}"]+`)
)

func (r *configReader) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if r.files++; r.files > maxIncludes {
		return fmt.Errorf("more than %d files (does one include itself?)", maxIncludes)
	}
	if r.bytes += len(b); r.bytes > maxConfigBytes {
		return fmt.Errorf("more than %d bytes of configuration", maxConfigBytes)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxConfigBytes)
	for lines.Scan() {
		if err := r.line(lines.Text(), filepath.Dir(path)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r *configReader) line(line, dir string) error {
	line = uncomment(line)
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
	words := tokens(line)
	if len(words) == 0 || strings.HasPrefix(words[0].text, "@") {
		return nil
	}
	// include, and includer, includem and the like, which differ in what they make of a missing file
	if len(words) == 2 && len(words[0].text) <= 9 && strings.HasPrefix(words[0].text, "include") {
		return r.include(words[1].text, dir)
	}
	r.words = append(r.words, words...)
	return nil
}

// include reads the files of a pattern, relative to the including file. A missing one is keepalived's
// matter.
func (r *configReader) include(pattern, dir string) error {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		if err := r.read(file); err != nil {
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

func tokens(line string) (words []word) {
	for _, t := range token.FindAllString(line, -1) {
		if text, quoted := strings.CutPrefix(t, `"`); quoted {
			words = append(words, word{strings.TrimSuffix(text, `"`), true})
			continue
		}
		words = append(words, word{text: t})
	}
	return words
}

func (w word) is(text string) bool { return !w.quoted && w.text == text }

// syncGroup finds the members of the group; the last block of that name counts.
func syncGroup(words []word, group string) (members []string, found bool) {
	for i, w := range words {
		if w.is("vrrp_sync_group") && i+2 < len(words) && words[i+1].text == group && words[i+2].is("{") {
			members, found = blockMembers(words[i+3:]), true
		}
	}
	return members, found
}

// blockMembers reads the words of the group's block, up to its end.
func blockMembers(words []word) (members []string) {
	depth, in := 1, false
	for i, w := range words {
		switch {
		case w.is("{"):
			in = depth == 1 && i > 0 && words[i-1].is("group")
			depth++
		case w.is("}"):
			in = false
			if depth--; depth == 0 {
				return members
			}
		case in && !slices.Contains(members, w.text):
			members = append(members, w.text)
		}
	}
	return members
}

// groups are the names of all groups, for an error.
func groups(words []word) (names []string) {
	for i, w := range words {
		if w.is("vrrp_sync_group") && i+1 < len(words) {
			names = append(names, words[i+1].text)
		}
	}
	if names == nil {
		return []string{"none"}
	}
	return names
}
