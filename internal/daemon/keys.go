package daemon

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"

	"ctsync/engine/wire"
)

// maxKeys is how many keys a key file may hold: a rotation needs two.
const maxKeys = wire.MaxKeys

// ownName is the user that this process runs as.
func ownName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Getuid())
}

// CheckKeyFile says why a daemon of this user would refuse a key file; nil if it would not.
func CheckKeyFile(path string) error {
	_, err := readKeys(path)
	return err
}

// readKeys reads a key file: one key a line, 64 hexadecimal digits, # comments. Whoever can read it can open the
// firewall, so its rights are checked.
func readKeys(path string) ([]wire.Key, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("key-file: %w: it must belong to the user that the daemon runs as (`chown %s %s`), and so must every folder on the way be open to it",
			err, ownName(), path)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("key-file: %w: make one with `ctsync keygen %s`, or copy the other firewall's", err, path)
	case err != nil:
		return nil, fmt.Errorf("key-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key-file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return nil, fmt.Errorf("key-file %s: mode %04o lets others read it or its group write it: chmod 0600 %s", path, mode, path)
	}
	var keys []wire.Key
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		secret, err := hex.DecodeString(text)
		if err != nil || len(secret) != wire.KeySize {
			return nil, fmt.Errorf("key-file %s:%d: not a key: want %d hexadecimal digits, as `ctsync keygen` prints", path, n, 2*wire.KeySize)
		}
		key := wire.NewKey([wire.KeySize]byte(secret))
		for _, k := range keys {
			if k.ID == key.ID {
				return nil, fmt.Errorf("key-file %s:%d: this key cannot be told from another in the file (id %02x): make a new one with `ctsync keygen`", path, n, key.ID)
			}
		}
		keys = append(keys, key)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("key-file %s: %w", path, err)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("key-file %s: %d keys, 1 to %d are allowed", path, len(keys), maxKeys)
	}
	return keys, nil
}

// keys are those of the configuration; none where it names no file.
func (d *Daemon) keys() ([]wire.Key, error) {
	if d.cfg.KeyFile == "" {
		return nil, nil
	}
	return readKeys(d.cfg.KeyFile)
}
