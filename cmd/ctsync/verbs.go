package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ctsync/internal/control"
	"ctsync/internal/daemon"
	"ctsync/internal/journal"
)

var none = words{}

// show has both spellings of the caches: `cache internal` and, before VyOS 1.3, `internal-cache`.
func (p *program) show() *cobra.Command {
	tables := words{name: "main or expect", max: 1, allowed: []string{"main", "expect"}}
	cache := func(use, which string) *cobra.Command {
		return p.ask(use, "flows of the "+which+" cache", tables, "show", "conntrack-sync", "cache", which)
	}
	sync := group("conntrack-sync", "the synchronisation, as VyOS shows it",
		p.ask("statistics", "counters of the caches, the links and the messages",
			words{name: "main or expect", max: 1, allowed: []string{"main", "expect"}}, "show", "conntrack-sync", "statistics"),
		p.ask("status", "links, failover mechanism, last transition, peers", none, "show", "conntrack-sync", "status"),
		group("cache", "flows of a cache", cache("internal", "internal"), cache("external", "external")),
		cache("internal-cache", "internal"), cache("external-cache", "external"))
	kernel := group("conntrack", "the kernel's connection tracking", p.table())
	return group("show", "what there is", sync, kernel, p.showLog())
}

func (p *program) reset() *cobra.Command {
	what := func(name, short string) *cobra.Command {
		return p.ask(name, short, none, "reset", "conntrack-sync", name)
	}
	c := group("reset", "forget and read again", group("conntrack-sync", "a cache or the counters",
		what("internal-cache", "read the internal cache from the kernel and send it to the peers"),
		what("external-cache", "forget the peers' flows and ask for them again"),
		what("statistics", "set the counters to zero")))
	c.Aliases = []string{"clear"}
	return c
}

func (p *program) restart() *cobra.Command {
	return group("restart", "synchronise anew", p.ask("conntrack-sync",
		"compare everything with the kernel and with the peers; no flow is lost and no process restarted",
		none, "restart", "conntrack-sync"))
}

func (p *program) reload() *cobra.Command {
	return leaf("reload", "read the configuration and the keys again; exit code 0 only if they were accepted", none, p.askReload)
}

// askReload does not repeat in the journal what the daemon has said there, with fields and an explanation: ctsync.service's reload
// runs this command.
func (p *program) askReload(ctx context.Context, _ []string) error {
	if !p.toJournal() {
		return p.call(ctx, []string{"reload"})
	}
	quiet := *p
	quiet.stderr = io.Discard
	err := quiet.call(ctx, []string{"reload"})
	switch {
	case errors.Is(err, code(control.ExitNotRunning)):
		fmt.Fprintln(p.stderr, "ctsync: the daemon does not answer: systemctl restart ctsync")
	case err != nil:
		fmt.Fprintln(p.stderr, "ctsync: reload: refused, the old configuration goes on: the daemon has said why (journalctl -xu ctsync CTSYNC_EVENT=configuration-refused)")
	}
	return err
}

// toJournal says that what is printed as an error goes to the journal.
func (p *program) toJournal() bool {
	return journal.Here() && p.stderr == os.Stderr
}

func (p *program) commit() *cobra.Command {
	return p.ask("commit", "put the peers' flows into the kernel; exit code 0 only if all entered", none, "commit")
}

func (p *program) flush() *cobra.Command {
	return p.ask("flush [internal|external]", "forget the internal cache, the external one, or both",
		words{name: "internal or external", max: 1, allowed: []string{"internal", "external"}}, "flush")
}

func (p *program) resync() *cobra.Command {
	return p.ask("resync", "compare the internal cache with the kernel", none, "resync")
}

func (p *program) bulk() *cobra.Command {
	return p.ask("bulk", "have every peer compare itself with this node at once", none, "bulk")
}

func (p *program) requestResync() *cobra.Command {
	return p.ask("request-resync", "ask every peer for all of its flows", none, "request-resync")
}

func (p *program) notify() *cobra.Command {
	c := leaf("notify GROUP|INSTANCE NAME STATE [PRIORITY]", "what keepalived's notify scripts say",
		words{name: "GROUP|INSTANCE NAME STATE [PRIORITY], or STATE GROUP", min: 2, max: 4},
		func(ctx context.Context, args []string) error {
			return p.send(ctx, control.Request{Verb: append([]string{"notify"}, args...), Started: daemon.Started()})
		})
	c.Example = "  in keepalived.conf: notify \"/usr/sbin/ctsync notify\""
	return c
}

func (p *program) cluster() *cobra.Command {
	name := words{name: "the name of the cluster group", min: 1, max: 1}
	verb := func(verb, short string) *cobra.Command {
		return p.ask(verb+" GROUP", short, name, "cluster", verb)
	}
	return group("cluster", "what a cluster manager says",
		verb("start", "this node is the group's primary"),
		leaf("stop GROUP", "it is no longer; remembered for its next start if the daemon does not run", name, p.clusterStop),
		verb("status", "as an OCF monitor: exit code 8 primary, 0 secondary"))
}

// clusterStop is an order that a daemon which is not there must not miss.
func (p *program) clusterStop(ctx context.Context, args []string) error {
	err := p.call(ctx, []string{"cluster", "stop", args[0]})
	if errors.Is(err, code(control.ExitNotRunning)) {
		if failed := daemon.ForgetOrder(p.socket()); failed != nil {
			return failed
		}
	}
	return err
}

func (p *program) status() *cobra.Command {
	return p.ask("status", "one verdict and its reason; exit code 0 in sync, 1 degraded, 2 not running, 3 syncing, 4 alone", none, "status")
}

func (p *program) demote() *cobra.Command {
	return p.ask("demote", "give the active role up, as if keepalived had said BACKUP", none, "demote")
}

func (p *program) promote() *cobra.Command {
	return p.ask("promote", "take the active role, as if keepalived had said MASTER", none, "promote")
}
