package keepalived

import (
	"slices"
	"strings"
)

// Driver is how keepalived tells ctsync.
type Driver string

// Drivers, the best one first.
const (
	FIFO    Driver = "fifo"
	DBus    Driver = "dbus"
	Scripts Driver = "scripts"
)

// Drivers are all of them.
func Drivers() []string { return []string{string(FIFO), string(DBus), string(Scripts)} }

// Wanted is what keepalived's configuration shall have for ctsync.
type Wanted struct {
	Driver    Driver
	Group     string
	Members   []string   // of the group; empty: not known
	Kept      *Statement // the group as it is, whose other statements stay; or nil
	FIFO      string     // path
	Owner     string     // of the FIFO; empty or root: keepalived's own user
	Insecure  bool       // the configuration that is there has scripts, and no script security
	TrackFile string     // path; empty: readiness is not followed
	Program   string     // what scripts call, as /usr/sbin/ctsync
	Flags     string     // of the program, behind its words; empty: none
}

const trackName = "ctsync"

// Lines are the statements, complete blocks with comments, which keepalived accepts beside its instances.
func (w *Wanted) Lines() []string {
	var p printer
	w.global(&p)
	if w.TrackFile != "" {
		p.say("")
		p.say("# Added to the priority: 100 while this node may take over, 200 while no other one may, else 0. Make the priorities")
		p.say("# low, on every node, and let their difference prefer one: 50 and 40, say. No nopreempt then.")
		p.block("track_file "+trackName, func() {
			p.say("file %s", quoted(w.TrackFile))
			p.say("weight 1")
		})
	}
	p.say("")
	w.group(&p)
	w.instances(&p)
	return p.lines
}

func (w *Wanted) global(p *printer) {
	p.block("global_defs", func() {
		switch w.Driver {
		case FIFO:
			owner := ""
			if w.Owner != "" && w.Owner != "root" {
				owner = " " + w.Owner + " " + w.Owner
			}
			p.say("# Made and read by ctsync, which starts before keepalived.")
			p.say("vrrp_notify_fifo %s%s", quoted(w.FIFO), owner)
			p.say("fifo_write_vrrp_states_on_reload")
		case DBus:
			p.say("enable_dbus")
		case Scripts:
			p.say("# Scripts run as root only if nobody else can change them.")
			p.say("script_user root")
			p.say("enable_script_security")
		}
		if w.Insecure && w.Driver != Scripts {
			p.say("# There are scripts. With reload_check_config keepalived does not start without these two.")
			p.say("script_user root")
			p.say("enable_script_security")
		}
		p.say("# Without it a reload with a broken configuration ends keepalived, and its addresses stay.")
		p.say("reload_check_config")
	})
}

func (w *Wanted) group(p *printer) {
	if w.Kept != nil {
		p.say("# In the place of the group of this name at %s.", w.Kept.At)
	}
	p.block("vrrp_sync_group "+quoted(w.Group), func() {
		p.block("group", func() {
			if len(w.Members) == 0 {
				p.say("# the names of all vrrp_instances that fail over together")
			}
			for _, m := range w.Members {
				p.say("%s", quoted(m))
			}
		})
		if w.TrackFile != "" {
			p.block("track_file", func() { p.say(trackName) })
		}
		if w.Driver == Scripts {
			p.say(`notify "%s"`, w.command("notify"))
		}
		w.keep(p)
	})
}

// keep prints what the group has besides.
func (w *Wanted) keep(p *printer) {
	if w.Kept == nil {
		return
	}
	for _, s := range w.Kept.Block {
		switch {
		case s.Keyword() == "group":
		case s.Keyword() == "track_file" && w.TrackFile != "":
			others := slices.DeleteFunc(slices.Clone(s.Block), func(u *Statement) bool { return u.Keyword() == trackName })
			if len(others) > 0 {
				p.statement(&Statement{Words: s.Words, Block: others})
			}
		case strings.HasPrefix(s.Keyword(), "notify") && w.replaces(s):
		default:
			p.statement(s)
		}
	}
}

func (w *Wanted) instances(p *printer) {
	p.say("")
	if w.TrackFile == "" {
		p.say("# And in each vrrp_instance, so that a node that comes back does not take over before it has the connections:")
		p.say("#     state BACKUP")
		p.say("#     nopreempt")
	}
	if w.Driver != Scripts {
		return
	}
	names := w.Members
	if len(names) == 0 {
		names = []string{"NAME"}
	}
	p.say("# And in the vrrp_instances, as two that both forwarded leave no other trace:")
	for _, n := range names {
		p.say(`#     notify_master_rx_lower_pri "%s"`, w.command("notify", "INSTANCE", n, "MASTER_RX_LOWER_PRI"))
	}
}

// command is a script's: single quotes keep the words of a name together.
func (w *Wanted) command(words ...string) string {
	for i, word := range words {
		if strings.ContainsAny(word, " \t") {
			words[i] = "'" + word + "'"
		}
	}
	if w.Flags != "" {
		words = append(words, w.Flags)
	}
	return w.Program + " " + strings.Join(words, " ")
}

// replaces says whether a line of the group calls ctsync already.
func (w *Wanted) replaces(s *Statement) bool {
	c := Script{Command: commandWords(s.Arg(1))}
	return c.Runs("ctsync") || c.Runs(w.Program)
}
