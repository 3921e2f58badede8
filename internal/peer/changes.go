package peer

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// changeGroups are the rtnetlink groups of what a sync link depends on, and of the addresses of the host.
const changeGroups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1)

// changes tells that something about the host's interfaces or addresses changed. What it is, the reader asks
// the kernel: so a notice that the kernel had to drop (ENOBUFS) loses nothing, because it is a notice too.
type changes struct {
	file *os.File
	C    chan struct{} // one token however many changes; closed never
}

// openChanges subscribes in the network namespace of the calling thread.
func openChanges() (*changes, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("peer: rtnetlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: changeGroups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("peer: rtnetlink: subscribe: %w", err)
	}
	return &changes{file: os.NewFile(uintptr(fd), "rtnetlink"), C: make(chan struct{}, 1)}, nil
}

// run reads until ctx ends, and closes the subscription.
func (c *changes) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { c.file.Close() })
	defer stop()
	defer c.file.Close()
	var drop [4096]byte // a longer message is cut, which is as good
	for {
		_, err := c.file.Read(drop[:])
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			// Nothing else is known to happen; the periodic look of the readers covers it.
			return
		}
		token(c.C)
	}
}
