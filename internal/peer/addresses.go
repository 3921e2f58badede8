package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// settle is the least time between two looks at the host, so that a burst of changes costs few of them.
const settle = time.Millisecond

// relook is how often the host is looked at without a notice. Nothing is known to need it, and an idle daemon's cost is its
// wake-ups: at each 10 s it was a twelfth of it.
const relook = time.Minute

// WatchAddresses delivers every address on the links that are administratively up, sorted: once at the start
// and then within about 10 ms of each change. It returns when ctx ends, or at once if it cannot subscribe. deliver
// owns the slice.
//
// When an address goes, the kernel drops the flows that it was the NAT source of. Their ends are told from
// real ones by this list, so it must not lag.
func WatchAddresses(ctx context.Context, deliver func([]netip.Addr)) error {
	c, err := openChanges()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); c.run(ctx) }()
	defer func() { cancel(); <-done }()
	var last []netip.Addr
	first := true
	return c.follow(ctx, relook, func() error {
		addrs, err := addresses()
		if err != nil {
			return err
		}
		if first || !slices.Equal(addrs, last) {
			first, last = false, addrs
			deliver(slices.Clone(addrs))
		}
		return nil
	})
}

// follow calls look at once, then after each change and every so often, until ctx ends. Looks are spaced by
// settle or by what the last one took, so that a storm of changes leaves half of a processor at least.
// A look that fails is repeated.
func (c *changes) follow(ctx context.Context, every time.Duration, look func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		began := time.Now()
		err := look()
		pause := max(settle, time.Since(began))
		if err != nil {
			pause = max(5*time.Millisecond, pause)
		}
		if !sleep(ctx, pause) {
			return nil
		}
		if err != nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.C:
		case <-tick.C:
		}
	}
}

// sleep waits for d and says whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// addresses lists the addresses of links that are up. It fails when the table changed under the listing
// (NLM_F_DUMP_INTR), which is repeated.
func addresses() ([]netip.Addr, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("peer: interfaces: %w", err)
	}
	up := make(map[int]bool, len(links))
	for _, l := range links {
		up[l.Index] = l.Flags&net.FlagUp != 0
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("peer: addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && up[a.LinkIndex] {
			addrs = append(addrs, addr.Unmap())
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}
