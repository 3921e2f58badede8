package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// socketPath is where journald takes native entries (systemd's JOURNAL_NATIVE_PROTOCOL).
const socketPath = "/run/systemd/journal/socket"

// maxValue bounds a field in bytes: an entry must fit one datagram, whose limit is about 200 KB (net.core.wmem_default).
const maxValue = 16 << 10

// entry is what one datagram holds.
type entry []field

type field struct{ name, value string }

// encode lays an entry out: NAME=value, or for a value of several lines NAME, its size in 8 bytes, little endian, and
// the value.
func (e entry) encode() []byte {
	var b bytes.Buffer
	for _, f := range e {
		v := strings.ToValidUTF8(f.value, "\uFFFD")
		if len(v) > maxValue {
			v = strings.ToValidUTF8(v[:maxValue], "") + "..."
		}
		if !strings.Contains(v, "\n") {
			b.WriteString(f.name + "=" + v + "\n")
			continue
		}
		b.WriteString(f.name + "\n")
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(v))))
		b.WriteString(v + "\n")
	}
	return b.Bytes()
}

// socket is the way to journald. It is safe for concurrent use.
type socket struct {
	to unix.Sockaddr

	mu   sync.Mutex
	fd   int
	lost int // entries since the last one that went through
}

func dial(path string) (*socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("journal: socket: %w", err)
	}
	return &socket{to: &unix.SockaddrUnix{Name: path}, fd: fd}, nil
}

// send never waits. It addresses the path each time, so that a journald that was restarted is found.
func (s *socket) send(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost > 0 {
		e = append(e, field{"CTSYNC_LOST_ENTRIES", strconv.Itoa(s.lost)})
	}
	err := unix.Sendto(s.fd, e.encode(), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, s.to)
	if err != nil {
		s.lost++
		return fmt.Errorf("journal: send: %w", err)
	}
	s.lost = 0
	return nil
}
