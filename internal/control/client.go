package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning is in the error of a Call that no daemon answered.
var ErrNotRunning = errors.New("ctsync is not running")

// Call asks the daemon on the socket at path and copies its answer. With an error the exit code is that of a
// program that could not do what it was asked: ExitNotRunning where nobody answered, else ExitRefused.
func Call(ctx context.Context, path string, r Request, stdout, stderr io.Writer) (exit int, err error) {
	line, err := json.Marshal(r)
	if err != nil {
		return ExitRefused, fmt.Errorf("control: request: %w", err)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return dialExit(path, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := send(conn.(*net.UnixConn), append(line, '\n'), r.Files); err != nil && !errors.Is(err, unix.EPIPE) {
		return ExitNotRunning, fmt.Errorf("control: request: %w", err)
	}
	exit, err = copyFrames(conn, stdout, stderr)
	if err != nil && ctx.Err() != nil {
		return exit, ctx.Err()
	}
	return exit, err
}

// dialExit says why nobody answers and what to do.
func dialExit(path string, err error) (int, error) {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return ExitNotRunning, fmt.Errorf("%w: nobody answers at %s: start it with `systemctl start ctsync`, "+
			"or name the socket of another daemon with --control", ErrNotRunning, path)
	case errors.Is(err, os.ErrPermission):
		return ExitRefused, fmt.Errorf("control: %s: permission denied: run as root or as a member of the socket's group", path)
	}
	return ExitNotRunning, fmt.Errorf("control: %w", err)
}
