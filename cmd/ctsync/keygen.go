package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"
)

// keygen makes a shared key: for a key file that is the same on every node.
func (p *program) keygen() *cobra.Command {
	c := leaf("keygen [FILE]", "make a key for key-file; into FILE (mode 0600, not overwritten), or printed",
		words{name: "the file to make", max: 1}, func(_ context.Context, args []string) error {
			var secret [32]byte
			if _, err := rand.Read(secret[:]); err != nil {
				return err
			}
			line := hex.EncodeToString(secret[:]) + "\n"
			if len(args) == 0 {
				_, err := fmt.Fprint(p.stdout, line)
				return err
			}
			if err := writeNew(args[0], line); err != nil {
				return err
			}
			if _, err := user.Lookup(serviceUser); err == nil && os.Geteuid() == 0 {
				fmt.Fprintf(p.stderr, "ctsync: the service runs as %[1]s and cannot read it yet: chown %[1]s %[2]s\n", serviceUser, args[0])
			}
			return nil
		})
	c.Example = "  ctsync keygen /etc/ctsync/key && chown ctsync /etc/ctsync/key, and the same file on every node"
	return c
}

// serviceUser is the one that the package makes for ctsync.service.
const serviceUser = "ctsync"

func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keygen: %w: to add a key to a file, append what `ctsync keygen` prints", err)
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return fmt.Errorf("keygen: %w", err)
	}
	return f.Close()
}
