package peer

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Datagram is one datagram that came in. Payload is valid for the call that delivers it.
type Datagram struct {
	Payload []byte
	Addr    netip.AddrPort // its sender, without a zone
	Link    int            // index in Config.Links
}

// Transport is the sync link. Its methods are safe for concurrent use, Run but once.
type Transport struct {
	cfg   Config
	links []*link
	ports []*port
	again chan struct{} // a token: look at the host again
	one   sync.Mutex    // deliver is called by one reader at a time
}

// Open checks c and opens what can be opened now. Only a configuration that can never work is an error: what
// is not there yet is awaited by Run. It starts no goroutine; Run or Close ends it.
func Open(c Config) (*Transport, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &Transport{cfg: c, again: make(chan struct{}, 1)}
	for i, l := range c.Links {
		t.add(&link{Link: l, index: i, log: c.Log, dest: destination(&c, l)})
	}
	_ = t.look() // Run looks again
	return t, nil
}

func destination(c *Config, l Link) netip.AddrPort {
	if l.Peer.IsValid() {
		return netip.AddrPortFrom(l.Peer, l.Port)
	}
	return netip.AddrPortFrom(c.Group, l.Port)
}

// add gives l a port, shared with the links of the same interface, UDP port and family.
func (t *Transport) add(l *link) {
	l.now.Store(&linkState{text: stateNoInterface})
	t.links = append(t.links, l)
	for _, p := range t.ports {
		if p.name == l.Interface && p.number == l.Port && p.links[0].dest.Addr().Is4() == l.dest.Addr().Is4() {
			p.links = append(p.links, l)
			return
		}
	}
	p := &port{cfg: &t.cfg, name: l.Interface, number: l.Port, links: []*link{l}, read: readIface}
	if !l.Peer.IsValid() {
		p.group = t.cfg.Group
	}
	t.ports = append(t.ports, p)
}

func (t *Transport) look() error {
	var errs []error
	for _, p := range t.ports {
		errs = append(errs, p.look())
	}
	return errors.Join(errs...)
}

// Close closes the sockets of a transport that does not run.
func (t *Transport) Close() {
	for _, p := range t.ports {
		p.close()
		p.publish(&iface{}, false, "closed")
	}
}

// Run receives until ctx ends, then closes the sockets and returns nil. deliver gets batches, never two at a
// time. An error means that the host cannot be followed at all.
func (t *Transport) Run(ctx context.Context, deliver func([]Datagram)) error {
	c, err := openChanges()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers sync.WaitGroup
	readers.Go(func() { c.run(ctx) })
	readers.Go(func() { t.forward(ctx, c.C) })
	reading := map[*port]*socket{}
	err = c.follow(ctx, relook, func() error {
		err := t.look()
		for _, p := range t.ports {
			if p.socket != nil && reading[p] != p.socket {
				r := newReader(p)
				readers.Go(func() { r.run(ctx, t, deliver) })
			}
			reading[p] = p.socket
		}
		return err
	})
	cancel()
	t.Close()
	readers.Wait()
	return err
}

// forward makes what a sender found out a change like any other, a few times a second at most.
func (t *Transport) forward(ctx context.Context, changes chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.again:
			token(changes)
			sleep(ctx, 100*time.Millisecond)
		}
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Send puts payload on the links. It waits at most a few milliseconds, and not for a link that is stuck; what
// could not be sent is counted. Where to is the zero value every peer gets it. Else every link that may lead
// to that peer carries it: all, but for those that share an interface with the link of exactly this address.
// (Multicast goes to the group in any case. A receiver drops what is directed at another.)
func (t *Transport) Send(payload []byte, to netip.AddrPort) {
	direct := t.linkOf(to.Addr())
	for _, l := range t.links {
		if direct != nil && l != direct && l.Interface == direct.Interface {
			continue
		}
		if l.send(payload) {
			token(t.again)
		}
	}
}

// linkOf is the link whose peer has this very address, or nil.
func (t *Transport) linkOf(a netip.Addr) *link {
	if !a.IsValid() {
		return nil
	}
	a = a.Unmap().WithZone("")
	for _, l := range t.links {
		if l.Peer == a {
			return l
		}
	}
	return nil
}

// PayloadLimit is the largest payload in bytes that every link carries. It changes with the MTU of the links.
func (t *Transport) PayloadLimit() int {
	limit := maxPayload
	for _, l := range t.links {
		limit = min(limit, l.payloadLimit())
	}
	return limit
}

// Stats are the counters of each link, in the order of Config.Links.
func (t *Transport) Stats() []LinkStats {
	stats := make([]LinkStats, len(t.links))
	for i, l := range t.links {
		stats[i] = l.stats()
	}
	return stats
}

// Addresses are those of the sync interfaces as of now, of the peers and of the group, sorted: flows to and
// from them are never replicated.
func (t *Transport) Addresses() []netip.Addr {
	var addrs []netip.Addr
	for _, l := range t.links {
		addrs = append(addrs, l.dest.Addr())
		addrs = append(addrs, l.now.Load().addrs...)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
