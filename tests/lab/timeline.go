package lab

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// addressWatch notes when addresses come and go in a namespace. Safe for concurrent use.
type addressWatch struct {
	stop chan struct{}

	mu    sync.Mutex
	added map[string]time.Time // first arrival by address
}

func (n *Namespace) watchAddresses() (*addressWatch, error) {
	w := &addressWatch{stop: make(chan struct{}), added: map[string]time.Time{}}
	updates := make(chan netlink.AddrUpdate, 64)
	err := netlink.AddrSubscribeWithOptions(updates, w.stop, netlink.AddrSubscribeOptions{Namespace: &n.handle})
	if err != nil {
		return nil, fmt.Errorf("lab: watch addresses in %s: %w", n.Name, err)
	}
	go func() {
		for u := range updates {
			w.note(u)
		}
	}()
	return w, nil
}

func (w *addressWatch) note(u netlink.AddrUpdate) {
	now := time.Now()
	address := u.LinkAddress.IP.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.added[address]; u.NewAddr && !known {
		w.added[address] = now
	}
}

func (w *addressWatch) at(address string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.added[address]
}

// Milestone is one moment of a takeover.
type Milestone struct {
	What string
	At   time.Time
}

// Timeline is a takeover as seen in the router that took over, in the order of time. What was not seen is
// absent.
type Timeline struct {
	Fault  time.Time
	Points []Milestone
}

func (t *Timeline) add(what string, at time.Time) {
	if !at.IsZero() {
		t.Points = append(t.Points, Milestone{what, at})
	}
}

// After is how long after the fault a milestone was reached.
func (t *Timeline) After(what string) (time.Duration, bool) {
	for _, p := range t.Points {
		if p.What == what {
			return p.At.Sub(t.Fault), true
		}
	}
	return 0, false
}

// String is one line per milestone, in milliseconds after the fault.
func (t *Timeline) String() string {
	var b strings.Builder
	for _, p := range t.Points {
		fmt.Fprintf(&b, "%9s  %s\n", milliseconds(p.At.Sub(t.Fault)), p.What)
	}
	return b.String()
}

// Milestones, as a Timeline names them.
const (
	AddressUp      = "address up on the WAN"
	AddressUpLAN   = "address up on the LAN"
	NoticeSeen     = "notice reached the daemon"
	Ready          = "daemon ready"
	FirstForwarded = "first packet forwarded"
	FirstAnswer    = "first answer back at the client"
)

// timeline puts together what the watch, the logs and the probes saw since the fault.
func (r *Router) timeline(fault time.Time, w *addressWatch, probes first) Timeline {
	t := Timeline{Fault: fault}
	t.add(AddressUp, w.at(WANVIP.String()))
	t.add(AddressUpLAN, w.at(LANVIP.String()))
	seen := map[Step]bool{NoStep: true}
	for _, line := range r.Daemon.Process().Lines(fault) {
		step := r.Daemon.Milestone(line)
		if seen[step] {
			continue
		}
		seen[step] = true
		t.add(map[Step]string{Noticed: NoticeSeen, ReadyToForward: Ready}[step], line.At)
	}
	t.add(FirstForwarded, probes.forwarded)
	t.add(FirstAnswer, probes.answered)
	sort.SliceStable(t.Points, func(i, j int) bool { return t.Points[i].At.Before(t.Points[j].At) })
	return t
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
