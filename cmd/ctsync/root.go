package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ctsync/internal/config"
	"ctsync/internal/control"
)

// defaultConfig is where the package puts the configuration.
const defaultConfig = "/etc/ctsync/ctsync.conf"

// program is the flags that every command has, and where it prints.
type program struct {
	config, control, output string
	stdout, stderr          io.Writer
}

// usageError is a command line that says nothing we know.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	p := &program{stdout: stdout, stderr: stderr}
	root := group("ctsync", "replicate the connection tracking table between firewalls",
		p.daemon(), p.notReady(), p.reload(), p.show(), p.reset(), p.restart(), p.commit(), p.flush(), p.resync(), p.bulk(), p.requestResync(),
		p.notify(), p.takeFIFO(), p.giveRing(), p.askKeepalived(), p.cluster(), p.configuration(), p.check(), p.keepalived(), p.status(), p.top(), p.waitSynced(), p.demote(), p.promote(),
		p.monitor(), p.keygen(), p.version())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err.Error()} })
	flags := root.PersistentFlags()
	flags.StringVar(&p.config, "config", defaultConfig, "configuration `FILE`")
	flags.StringVar(&p.control, "control", "", "control `SOCKET` of the daemon (default: what the configuration says)")
	flags.StringVar(&p.output, "output", "text", "text or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return p.checkFlags() }
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

func (p *program) checkFlags() error {
	if p.output != "text" && p.output != "json" {
		return usageError{fmt.Sprintf("--output %s: text and json are allowed", p.output)}
	}
	return nil
}

func (p *program) json() bool { return p.output == "json" }

// socket is the control socket: the flag's, else the configuration's, else the default one. A configuration
// with faults still names its socket, and without one the daemon may run all the same.
func (p *program) socket() string {
	if p.control != "" {
		return p.control
	}
	if c, _, err := config.Load(p.config); err == nil && c.Control != "" {
		return c.Control
	}
	return config.Default().Control
}

// group is a word that needs another one after it.
func group(name, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && c.Parent() == nil {
				return c.Help()
			}
			return unknown(c, args)
		},
	}
	c.AddCommand(subs...)
	return c
}

// unknown names the words that could have stood there.
func unknown(c *cobra.Command, args []string) error {
	var allowed []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			allowed = append(allowed, sub.Name())
		}
	}
	said := "a word is missing after"
	if len(args) > 0 {
		said = fmt.Sprintf("unknown word %q after", args[0])
	}
	return usageError{fmt.Sprintf("%s %q; allowed: %s", said, c.CommandPath(), strings.Join(allowed, ", "))}
}

// words says which arguments a command takes: at least min and at most max. Where allowed is not empty, each
// is one of them. name is for the message.
type words struct {
	name     string
	min, max int
	allowed  []string
}

func (w words) check(c *cobra.Command, args []string) error {
	wants := w.name
	if len(w.allowed) > 0 {
		wants = strings.Join(w.allowed, " or ")
	}
	if len(args) < w.min {
		return usageError{fmt.Sprintf("a word is missing after %q; allowed: %s", c.CommandPath(), wants)}
	}
	if len(args) > w.max {
		if w.max == 0 {
			wants = "nothing"
		}
		return usageError{fmt.Sprintf("unknown word %q after %q; allowed: %s", args[w.max], c.CommandPath(), wants)}
	}
	for _, a := range args {
		if len(w.allowed) > 0 && !slices.Contains(w.allowed, a) {
			return usageError{fmt.Sprintf("unknown word %q after %q; allowed: %s", a, c.CommandPath(), wants)}
		}
	}
	return nil
}

// leaf is a command that does something.
func leaf(use, short string, w words, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              w.check,
		ValidArgsFunction: cobra.FixedCompletions(w.allowed, cobra.ShellCompDirectiveNoFileComp),
		RunE:              func(c *cobra.Command, args []string) error { return run(c.Context(), args) },
	}
}

// ask is a command that hands its words to the daemon: verb, then the arguments.
func (p *program) ask(use, short string, w words, verb ...string) *cobra.Command {
	return leaf(use, short, w, func(ctx context.Context, args []string) error {
		return p.call(ctx, append(slices.Clone(verb), args...))
	})
}

// call asks the daemon and passes its answer and exit code on.
func (p *program) call(ctx context.Context, verb []string) error {
	return p.send(ctx, control.Request{Verb: verb})
}

// send asks the daemon and passes its answer and exit code on.
func (p *program) send(ctx context.Context, r control.Request) error {
	r.Output = p.output
	exit, err := control.Call(ctx, p.socket(), r, p.stdout, p.stderr)
	if err != nil {
		fmt.Fprintln(p.stderr, "ctsync:", p.explained(err))
	}
	return exited(exit, nil)
}

// explained is why nobody answers: a service that is not configured yet waits, and to start it changes nothing.
func (p *program) explained(err error) error {
	if errors.Is(err, control.ErrNotRunning) && config.SaysNothing(p.config) {
		return fmt.Errorf("%w: %s has nothing but comments, and the service waits for it: write it (whole examples are in ctsync-keepalived(7)), "+
			"then `ctsync config check && systemctl restart ctsync`", control.ErrNotRunning, p.config)
	}
	return err
}
