package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// What more than one setting allows.
const (
	allowedText     = "1 to 255 bytes of printable text with quotes of one kind at most"
	allowedName     = "1 to 64 letters, digits, '.', '_' and '-'"
	allowedPath     = "an absolute path, such as "
	allowedAccount  = "a name from 1 to 32 letters, digits, '.', '_' and '-', or a number"
	allowedMegabyte = "0 to 1023, in MB (0: the kernel's default)"
	allowedSeconds  = "1 to 2147483647, in seconds"
)

// maxMegabyte is the most that a socket buffer can be: the kernel cuts at INT_MAX/2 bytes
// (__sock_set_rcvbuf, net/core/sock.c).
const maxMegabyte = 1023

// number reads a whole number within bounds. There are no units to write: each setting has its own.
func number(word string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		if strings.TrimLeft(word, "0123456789") == "" {
			return 0, errors.New("out of range") // more digits than 64 bits hold
		}
		return 0, errors.New("not a whole number without unit")
	}
	if n < least || n > most {
		return 0, errors.New("out of range")
	}
	return n, nil
}

func megabytes(word string) (bytes int, err error) {
	n, err := number(word, 0, maxMegabyte)
	return int(n) * megabyte, err
}

func seconds(word string) (time.Duration, error) {
	n, err := number(word, 1, math.MaxInt32)
	return time.Duration(n) * time.Second, err
}

// age reads how old a flow must be, which may be nothing.
func age(word string) (time.Duration, error) {
	n, err := number(word, 0, 3600)
	return time.Duration(n) * time.Second, err
}

// packets reads how many packets make a flow old enough.
func packets(word string) (uint64, error) {
	n, err := number(word, 1, 1_000_000)
	return uint64(n), err
}

// text reads free text, such as the name of a group.
func text(word string) (string, error) {
	switch {
	case word == "":
		return "", errors.New("empty")
	case len(word) > 255:
		return "", fmt.Errorf("%d bytes long", len(word))
	case strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("has characters that cannot be seen")
	case strings.TrimSpace(word) != word:
		return "", errors.New("begins or ends with a space")
	case strings.HasPrefix(word, "<") && strings.HasSuffix(word, ">"):
		return "", errors.New("a placeholder of the documentation: put your own value there")
	case strings.Contains(word, "'") && strings.Contains(word, `"`):
		return "", errors.New("has quotes of both kinds")
	}
	return word, nil
}

// plain says whether word is 1 to most letters, digits, '.', '_' and '-', the first none of the last two.
func plain(word string, most int) bool {
	inner := func(r rune) bool {
		return r == '.' || r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	return word != "" && len(word) <= most && word[0] != '-' && word[0] != '.' &&
		!strings.ContainsFunc(word, func(r rune) bool { return !inner(r) })
}

func nodeName(word string) (string, error) {
	if !plain(word, 64) {
		return "", errors.New("not a name for a node")
	}
	return word, nil
}

func account(word string) (string, error) {
	if !plain(word, 32) {
		return "", errors.New("not a name of the account database")
	}
	return word, nil
}

// path reads an absolute path of at most most bytes, and cleans it.
func path(most int) func(word string) (string, error) {
	return func(word string) (string, error) {
		if _, err := text(word); err != nil {
			return "", err
		}
		switch {
		case !filepath.IsAbs(word):
			return "", errors.New("not an absolute path")
		case strings.HasSuffix(word, "/"):
			return "", errors.New("a directory: name the file in it")
		case len(word) > most:
			return "", fmt.Errorf("%d bytes long, and %d are the most", len(word), most)
		}
		return filepath.Clean(word), nil
	}
}

// Longest paths, in bytes: of any file (ours: that of any text), and of a Unix socket (sun_path without its
// NUL).
const (
	maxPath   = 255
	maxSocket = 107
)

const off = "off"

// pathOrOff reads a path, or "off" as the empty one.
func pathOrOff(word string) (string, error) {
	if word == off {
		return "", nil
	}
	return path(maxPath)(word)
}

func orOff(word string) string {
	if word == "" {
		return off
	}
	return word
}

func onOff(word string) (bool, error) {
	switch strings.ToLower(word) {
	case "on":
		return true, nil
	case off:
		return false, nil
	}
	return false, errors.New("neither on nor off")
}

func standby(word string) (Standby, error) {
	switch strings.ToLower(word) {
	case "hot":
		return Hot, nil
	case "warm":
		return Warm, nil
	}
	return Hot, errors.New("neither hot nor warm")
}

var levels = []struct {
	word  string
	level slog.Level
}{{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError}}

func level(word string) (slog.Level, error) {
	var known []string
	for _, l := range levels {
		if l.word == strings.ToLower(word) {
			return l.level, nil
		}
		known = append(known, l.word)
	}
	return slog.LevelInfo, unknown(word, known)
}

func levelWord(level slog.Level) string {
	for _, l := range levels {
		if l.level == level {
			return l.word
		}
	}
	return strings.ToLower(level.String())
}

// endpoint reads ADDRESS:PORT, or "off" as the zero value.
func endpoint(word string) (netip.AddrPort, error) {
	if word == off {
		return netip.AddrPort{}, nil
	}
	a, err := netip.ParseAddrPort(word)
	switch {
	case err != nil && strings.HasPrefix(word, ":"):
		return a, errors.New("the address is missing (every address: 0.0.0.0 or [::])")
	case err != nil:
		return a, errors.New("not ADDRESS:PORT (an IPv6 address in brackets)")
	case a.Port() == 0:
		return a, errors.New("the port cannot be 0")
	case a.Addr().IsMulticast():
		return a, errors.New("a multicast address")
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// seal says whether word is permissive.
func seal(word string) (bool, error) {
	switch strings.ToLower(word) {
	case "required":
		return false, nil
	case "permissive":
		return true, nil
	}
	return false, errors.New("neither required nor permissive")
}

func writeSeal(c *Config) []string {
	if !c.Permissive {
		return nil
	}
	return quoted("permissive")
}
