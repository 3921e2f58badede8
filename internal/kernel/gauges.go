package kernel

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ctsync/internal/rawio"
)

// Gauges are the sysctls that a daemon looks at again and again: their files stay open, and reading them wakes
// nobody. They are those of the network namespace in which they are read first. One goroutine owns them.
type Gauges struct{ max, count, events gauge }

// NewGauges opens nothing yet.
func NewGauges() *Gauges {
	return &Gauges{max: newGauge("nf_conntrack_max"), count: newGauge("nf_conntrack_count"), events: newGauge("nf_conntrack_events")}
}

// Limits is what the function of this name gives.
func (g *Gauges) Limits() (max, count int, err error) {
	if max, err = g.max.read(); err != nil {
		return 0, 0, err
	}
	count, err = g.count.read()
	return max, count, err
}

// Mute says that flows which begin now will never emit an event.
func (g *Gauges) Mute() bool {
	mode, err := g.events.read()
	return err == nil && mode == 0
}

// Close closes the files. What is read later opens them again.
func (g *Gauges) Close() {
	for _, one := range []*gauge{&g.max, &g.count, &g.events} {
		one.close()
	}
}

// gauge is one sysctl.
type gauge struct {
	name string
	fd   int // -1: not open
	buf  []byte
}

func newGauge(name string) gauge { return gauge{name: name, fd: -1, buf: make([]byte, 32)} }

// read opens the file anew after a failure: one that was open while the module went tells nothing any more.
func (g *gauge) read() (int, error) {
	if g.fd < 0 {
		fd, err := unix.Open(sysctls+g.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, fmt.Errorf("kernel: read sysctl %s (is the module nf_conntrack loaded?): %w", g.name, err)
		}
		g.fd = fd
	}
	n, err := rawio.ReadStart(g.fd, g.buf)
	if err != nil {
		g.close()
		return 0, fmt.Errorf("kernel: read sysctl %s: %w", g.name, err)
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(g.buf[:n])))
	if err != nil {
		return 0, fmt.Errorf("kernel: read sysctl %s: %w", g.name, err)
	}
	return value, nil
}

func (g *gauge) close() {
	if g.fd >= 0 {
		unix.Close(g.fd)
		g.fd = -1
	}
}
