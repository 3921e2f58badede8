package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// reader reads the values of one setting.
type reader func(p *parser, args []string)

// single reads a setting of one value. parse makes it, its error says what is wrong with the word.
func single[T any](parse func(word string) (T, error), set func(*Config, T)) reader {
	return func(p *parser, args []string) {
		word, ok := p.only(args)
		if !ok {
			return
		}
		value, err := parse(word)
		if err != nil {
			p.refuse(word, err)
			return
		}
		if p.once(p.setting.name, fmt.Sprint(value), word) {
			set(&p.cfg, value)
		}
	}
}

// only is the one value of a setting.
func (p *parser) only(args []string) (word string, ok bool) {
	switch {
	case len(args) == 0 || len(args) == 1 && args[0] == "":
		p.missing()
		return "", false
	case len(args) > 1:
		p.fault(args[1], p.setting.name+" takes one value (quote it if it has spaces)", p.setting.allowed)
		return "", false
	}
	return args[0], true
}

// valueless reads a setting without value.
func valueless(set func(*Config)) reader {
	return func(p *parser, args []string) {
		if len(args) > 0 {
			p.fault(args[0], p.setting.name+" takes no value", "the word alone; without the line it is off")
			return
		}
		p.once(p.setting.name, "set", "set")
		set(&p.cfg)
	}
}

// list calls add with each value of a setting that takes a comma list, repeated lines, or both.
func list(add func(p *parser, word string)) reader {
	return func(p *parser, args []string) {
		found := pieces(args)
		if len(found) == 0 {
			p.missing()
		}
		for _, word := range found {
			add(p, word)
		}
	}
}

// pieces are the values of comma lists.
func pieces(args []string) (found []string) {
	for _, arg := range args {
		found = append(found, strings.FieldsFunc(arg, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return found
}

// chosen reads a set of known words, of which "all" stands alone.
func chosen(known []string, add func(c *Config, word string)) reader {
	return list(func(p *parser, given string) {
		word := strings.ToLower(given)
		if !slices.Contains(known, word) {
			p.refuse(given, unknown(given, known))
			return
		}
		if p.standsAlone(word, given) {
			p.once(p.setting.name+" "+word, word, word)
			add(&p.cfg, word)
		}
	})
}

// standsAlone says whether word goes with what the setting already has.
func (p *parser) standsAlone(word, given string) bool {
	name := p.setting.name + " "
	var other []int
	if word == all {
		before, again := p.said[name+all]
		other = slices.DeleteFunc(p.saidLines(name), func(line int) bool { return again && line == before.line })
	} else if m, ok := p.said[name+all]; ok {
		other = []int{m.line}
	}
	if len(other) == 0 {
		return true
	}
	p.fault(given, fmt.Sprintf("all does not go with other values, see line %d: keep all alone, or the others without it", other[0]), "")
	return false
}

func unknown(word string, known []string) error {
	if near := nearest(word, known); near != "" {
		return errors.New("not known, the nearest is " + near)
	}
	return errors.New("not known")
}

// readMechanism reads `vrrp sync-group NAME` or `cluster group NAME`.
func readMechanism(p *parser, args []string) {
	if len(args) == 0 {
		p.missing()
		return
	}
	mechanism, group := VRRP, "sync-group"
	switch args[0] {
	case "vrrp":
	case "cluster":
		mechanism, group = Cluster, "group"
	default:
		p.refuse(args[0], unknown(args[0], []string{"vrrp", "cluster"}))
		return
	}
	allowed := group + " NAME"
	switch {
	case len(args) == 1:
		p.fault(args[0], "the group is missing", allowed)
	case args[1] != group:
		p.fault(args[1], unknown(args[1], []string{group}).Error(), allowed)
	case len(args) == 2 || len(args) == 3 && args[2] == "":
		p.fault(args[1], "the name of the group is missing", "NAME, as "+whoNames(mechanism)+" names it")
	case len(args) > 3:
		p.fault(args[3], "one name only (quote it if it has spaces)", allowed)
	default:
		p.mechanism(mechanism, args[2])
	}
}

func whoNames(m Mechanism) string {
	if m == VRRP {
		return "keepalived"
	}
	return "the cluster manager"
}

func (p *parser) mechanism(m Mechanism, group string) {
	if _, err := text(group); err != nil {
		p.fault(group, err.Error(), allowedText)
		return
	}
	f := Failover{m, group}
	if p.once("failover-mechanism", f.String(), f.String()) {
		p.cfg.Failover = f
	}
}
