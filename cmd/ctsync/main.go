// Ctsync replicates the connection tracking table between firewalls, so that the one that takes the addresses
// over has every connection. `ctsync daemon` is the program, everything else an operator's word to it.
//
// Exit codes: 0 done; 1 refused, failed or, of status, degraded; 2 not running, or not understood; of
// status 3 syncing, 4 alone; and of daemon 78 a configuration that an operator must change first.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"ctsync/internal/daemon"
)

// Exit codes of this program's own. An answer of the daemon brings its own code.
const (
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78 // EX_CONFIG of sysexits.h: ctsync.service does not start again after it
)

// code is an exit code whose reason was printed already.
type code int

func (c code) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	exit := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(exit)
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit code
	var usage usageError
	var misconfigured *daemon.Misconfigured
	var told daemon.NotStarted
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &told):
		return exitFailed
	}
	fmt.Fprintln(stderr, "ctsync:", err)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &misconfigured):
		return exitConfig
	}
	return exitFailed
}
