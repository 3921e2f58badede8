package kernel

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openBuckets gives what reads the size of the kernel's hash table, the same in every network namespace, and what
// closes it. The file stays open: a dump looks after each of its datagrams. 0 is a size that cannot be read.
var openBuckets = func() (size func() int, done func()) {
	fd, err := unix.Open(sysctls+"nf_conntrack_buckets", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() int { return 0 }, func() {}
	}
	buf := make([]byte, 32)
	size = func() int {
		n, _ := unix.Pread(fd, buf, 0)
		size, _ := strconv.Atoi(strings.TrimSpace(string(buf[:max(n, 0)])))
		return size
	}
	return size, func() { unix.Close(fd) }
}
