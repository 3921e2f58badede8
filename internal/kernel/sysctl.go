package kernel

import (
	"fmt"
	"os"
	"strconv"
)

// sysctls are those of the calling thread's network namespace.
const sysctls = "/proc/sys/net/netfilter/"

// Limits is the size of the kernel's table and how many entries this network namespace has. max 0 is no
// limit.
func Limits() (max, count int, err error) {
	g := NewGauges()
	defer g.Close()
	return g.Limits()
}

// SetEvents sets nf_conntrack_events: 0 none, 1 always, 2 only for flows that began while somebody listened
// (the default since Linux 5.19; such a flow that began before is silent for ever). A value that is right already
// needs no right to write it: a service that is not root has it from sysctl.d.
func SetEvents(mode int) error {
	if is, err := readSysctl("nf_conntrack_events"); err == nil && is == mode {
		return nil
	}
	err := os.WriteFile(sysctls+"nf_conntrack_events", []byte(strconv.Itoa(mode)), 0)
	if err != nil {
		return fmt.Errorf("kernel: set nf_conntrack_events (`sysctl -w net.netfilter.nf_conntrack_events=%d` as root): %w", mode, err)
	}
	return nil
}

func readSysctl(name string) (int, error) {
	g := newGauge(name)
	defer g.close()
	return g.read()
}
