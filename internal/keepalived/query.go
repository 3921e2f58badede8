package keepalived

import (
	"slices"
	"strconv"
	"strings"
)

// Keyword is the first word.
func (s *Statement) Keyword() string { return s.Words[0] }

// Arg is the nth word after the keyword, from 1; empty if there is none.
func (s *Statement) Arg(n int) string {
	if n >= len(s.Words) {
		return ""
	}
	return s.Words[n]
}

// All are the statements of the block with one of the keywords.
func (s *Statement) All(keywords ...string) (found []*Statement) {
	for _, sub := range s.Block {
		if slices.Contains(keywords, sub.Keyword()) {
			found = append(found, sub)
		}
	}
	return found
}

// Get is the last statement of the block with the keyword, which is the one that counts, or nil.
func (s *Statement) Get(keyword string) *Statement {
	all := s.All(keyword)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// Has says whether the block has the keyword.
func (s *Statement) Has(keyword string) bool { return s.Get(keyword) != nil }

// Number is the value of a keyword of the block, or none.
func (s *Statement) Number(keyword string, none int) int {
	if sub := s.Get(keyword); sub != nil {
		if n, err := strconv.Atoi(sub.Arg(1)); err == nil {
			return n
		}
	}
	return none
}

// Names are all words in the block, as of `group { A B }`.
func (s *Statement) Names() (names []string) {
	for _, sub := range s.Block {
		names = append(names, sub.Words...)
	}
	return names
}

// top is the whole file as a block.
func (c *Configuration) top() *Statement { return &Statement{Block: c.Top} }

// Global are the statements of all global_defs, as one block.
func (c *Configuration) Global() *Statement {
	all := &Statement{Words: []string{"global_defs"}}
	for _, g := range c.top().All("global_defs") {
		all.Block = append(all.Block, g.Block...)
	}
	return all
}

// Group is the sync group of that name, or nil.
func (c *Configuration) Group(name string) *Statement { return c.named("vrrp_sync_group", name) }

// Instance is the vrrp_instance of that name, or nil.
func (c *Configuration) Instance(name string) *Statement { return c.named("vrrp_instance", name) }

func (c *Configuration) named(keyword, name string) (found *Statement) {
	for _, s := range c.top().All(keyword) {
		if s.Arg(1) == name {
			found = s
		}
	}
	return found
}

// GroupNames are the names of all sync groups.
func (c *Configuration) GroupNames() (names []string) {
	for _, s := range c.top().All("vrrp_sync_group") {
		names = append(names, s.Arg(1))
	}
	return names
}

// Members are the instances that a group names.
func Members(group *Statement) (names []string) {
	for _, g := range group.All("group") {
		for _, n := range g.Names() {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// TrackFiles are the definitions of files to track, with the old spelling.
func (c *Configuration) TrackFiles() []*Statement {
	return c.top().All("track_file", "vrrp_track_file")
}

// Script is one command that keepalived runs.
type Script struct {
	Keyword string
	Command []string // the program and its arguments, as keepalived parts them
	User    string   // empty: the global script_user
	In      *Statement
	At      Place
}

// Runs says whether the program has that name in any folder.
func (s Script) Runs(program string) bool {
	return len(s.Command) > 0 && (s.Command[0] == program || strings.HasSuffix(s.Command[0], "/"+program))
}

// Scripts are all commands of the configuration: of notify lines, of tracking and at start and end.
func (c *Configuration) Scripts() (found []Script) {
	var walk func(in *Statement)
	walk = func(in *Statement) {
		for _, s := range in.Block {
			if isScript(in, s) {
				found = append(found, Script{s.Keyword(), commandWords(s.Arg(1)), s.Arg(2), in, s.At})
			}
			walk(s)
		}
	}
	walk(c.top())
	return found
}

// InsecureScript is a script that keepalived runs without script security, nil if there is none. With reload_check_config it is a
// fault of the configuration, at which keepalived ends (2.2.7, 2.3.3).
func (c *Configuration) InsecureScript() *Script {
	scripts := c.Scripts()
	if global := c.Global(); len(scripts) == 0 || global.Has("enable_script_security") {
		return nil
	}
	return &scripts[0]
}

func isScript(in, s *Statement) bool {
	switch k := s.Keyword(); {
	case strings.Contains(k, "fifo") && !strings.HasSuffix(k, "_script"), k == "notify_priority_changes":
		return false
	case k == "script":
		return len(in.Words) > 0 && in.Keyword() == "vrrp_script"
	case k == "notify", strings.HasPrefix(k, "notify_"), strings.HasSuffix(k, "_fifo_script"), k == "startup_script", k == "shutdown_script":
		return len(s.Block) == 0 && s.Arg(1) != ""
	}
	return false
}

// commandWords parts a command: single quotes keep words together, and there is no shell.
func commandWords(command string) (words []string) {
	for i, piece := range strings.Split(command, "'") {
		if i%2 == 1 {
			words = append(words, piece)
			continue
		}
		words = append(words, strings.Fields(piece)...)
	}
	return words
}

// InstanceNames are the names of all instances that are in no group.
func (c *Configuration) InstanceNames() (names []string) {
	var grouped []string
	for _, g := range c.top().All("vrrp_sync_group") {
		grouped = append(grouped, Members(g)...)
	}
	for _, s := range c.top().All("vrrp_instance") {
		if n := s.Arg(1); !slices.Contains(grouped, n) && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
