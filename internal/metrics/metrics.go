// Package metrics tells Prometheus what the operator's commands tell people. Every scrape reads one status of the
// engine; nothing is counted twice.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ctsync/engine"
)

// Link is one sync link as the transport counts it.
type Link struct {
	Interface                    string
	Up                           bool
	BytesSent, BytesReceived     uint64
	PacketsSent, PacketsReceived uint64
	SendErrors, ReceiveErrors    uint64
}

// Source gives what is scraped. It must be safe for concurrent use.
type Source func() (engine.Status, []Link)

type collector struct{ source Source }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ctsync_"+name, help, labels, nil)
}

var (
	role        = desc("role", "1 for the role that the node has.", "role")
	roleSince   = desc("role_since_seconds", "When the node took its role, as Unix time.")
	verdict     = desc("verdict", "Exit code of ctsync status: 0 in sync, 1 degraded, 3 syncing, 4 alone.")
	ready       = desc("ready", "1 if the node may take over, as in the track file.")
	complete    = desc("complete", "1 if the internal cache describes the whole kernel table.")
	flows       = desc("flows", "Connections in a cache.", "cache")
	young       = desc("flows_young", "Connections that sync-after holds back: nobody else has them.")
	changes     = desc("flow_changes_total", "Changes of a cache.", "cache", "change")
	events      = desc("kernel_events_total", "Events of the kernel.")
	overruns    = desc("kernel_overruns_total", "Times the kernel dropped events; raise event-listen-queue-size.")
	dumps       = desc("kernel_dumps_total", "Readings of the kernel's whole table.")
	operations  = desc("kernel_operations_total", "Operations on the kernel's table that succeeded.", "operation")
	retried     = desc("kernel_operations_retried_total", "Operations whose acknowledgement was lost.")
	pending     = desc("kernel_operations_pending", "Entries that wait for an operation.")
	suspects    = desc("kernel_flows_suspect", "Entries of a standby's kernel that the active node has not got: they are purged unless packets meet them.")
	failed      = desc("kernel_flows_failed", "Connections that the kernel refused and that are not in it.", "reason")
	tableMax    = desc("kernel_table_limit", "nf_conntrack_max.")
	tableCount  = desc("kernel_table_entries", "Entries in the kernel's table.")
	sent        = desc("datagrams_sent_total", "Datagrams sent.")
	received    = desc("datagrams_received_total", "Datagrams received, refused ones among them.")
	lost        = desc("lost_total", "Sequence numbers that had to be asked for.")
	refused     = desc("datagrams_refused_total", "Datagrams that were refused.", "reason")
	takeovers   = desc("takeovers_total", "Times the node became active.")
	takeover    = desc("last_takeover_duration_seconds", "How long the last takeover took, notice to active.")
	forwarding  = desc("last_takeover_forwarding_seconds", "How long until the last flow that the kernel lacked was in it; 0 if it lacked none.")
	takeoverBad = desc("last_takeover_flows_failed", "Connections that the last takeover could not write.")
	evicted     = desc("evicted_total", "Connections kept that the kernel dropped with an address.")
	purged      = desc("purged_total", "Connections deleted because the active node has not got them.")
	peerLive    = desc("peer_live", "1 if the peer is heard.", "peer")
	peerProven  = desc("peer_in_sync", "1 if all of the peer's connections are here, by digest.", "peer")
	peerSealed  = desc("peer_sealed", "1 if what the peer sends is sealed.", "peer")
	peerFlows   = desc("peer_flows", "Connections of the peer that are here.", "peer")
	peerBehind  = desc("peer_behind", "Changes of the peer that are not here yet.", "peer")
	peerLacks   = desc("peer_lacks", "Changes of this node that the peer has not got yet.", "peer")
	linkUp      = desc("link_up", "1 if the sync link is up.", "interface")
	linkBytes   = desc("link_bytes_total", "Bytes of datagrams.", "interface", "direction")
	linkPackets = desc("link_datagrams_total", "Datagrams.", "interface", "direction")
	linkErrors  = desc("link_errors_total", "Datagrams that could not be sent or taken.", "interface", "direction")
)

func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect reads one status.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	st, links := c.source()
	s := sink{ch}
	s.node(&st)
	s.kernel(&st.Kernel)
	s.messages(&st.Messages)
	for i := range st.Peers {
		s.peer(&st.Peers[i])
	}
	for _, l := range byInterface(links) {
		s.link(&l)
	}
}

// byInterface sums the links of one interface: one for each unicast peer.
func byInterface(links []Link) (sums []Link) {
next:
	for _, l := range links {
		for i := range sums {
			if s := &sums[i]; s.Interface == l.Interface {
				s.Up = s.Up || l.Up
				s.BytesSent, s.BytesReceived = s.BytesSent+l.BytesSent, s.BytesReceived+l.BytesReceived
				s.PacketsSent, s.PacketsReceived = s.PacketsSent+l.PacketsSent, s.PacketsReceived+l.PacketsReceived
				s.SendErrors, s.ReceiveErrors = s.SendErrors+l.SendErrors, s.ReceiveErrors+l.ReceiveErrors
				continue next
			}
		}
		sums = append(sums, l)
	}
	return sums
}

// sink turns figures into metrics.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s sink) node(st *engine.Status) {
	for r := engine.Standby; r <= engine.Active; r++ {
		s.gauge(role, one(st.Role == r), r.String())
	}
	s.gauge(roleSince, float64(st.RoleSince.UnixMilli())/1000)
	s.gauge(verdict, float64(st.Verdict))
	s.gauge(ready, one(st.Ready == engine.Ready))
	s.gauge(complete, one(st.Complete))
	s.cache("internal", &st.Internal)
	s.cache("external", &st.External)
	s.gauge(young, float64(st.Young))
	a := &st.Activity
	s.counter(takeovers, a.Takeovers)
	s.gauge(takeover, a.TakeoverDuration.Seconds())
	s.gauge(forwarding, a.TakeoverForwarding.Seconds())
	s.gauge(takeoverBad, float64(a.TakeoverFailed))
	s.counter(evicted, a.Evicted)
	s.counter(purged, a.Purged)
}

func (s sink) cache(name string, c *engine.CacheStats) {
	s.gauge(flows, float64(c.Active), name)
	s.counter(changes, c.Created, name, "created")
	s.counter(changes, c.Updated, name, "updated")
	s.counter(changes, c.Destroyed, name, "destroyed")
}

func (s sink) kernel(k *engine.KernelStats) {
	s.counter(events, k.Events)
	s.counter(overruns, k.Overruns)
	s.counter(dumps, k.Dumps)
	s.counter(operations, k.Created, "create")
	s.counter(operations, k.Updated, "update")
	s.counter(operations, k.Deleted, "delete")
	s.counter(retried, k.Retried)
	s.gauge(pending, float64(k.Pending))
	s.gauge(suspects, float64(k.Suspects))
	s.gauge(tableMax, float64(k.TableMax))
	s.gauge(tableCount, float64(k.TableCount))
	for reason, n := range k.Failed {
		s.gauge(failed, float64(n), reason)
	}
}

func (s sink) messages(m *engine.MessageStats) {
	s.counter(sent, m.Sent)
	s.counter(received, m.Received)
	s.counter(lost, m.Lost)
	for reason, n := range m.Refused {
		s.counter(refused, n, reason)
	}
}

// peer labels by name and epoch: after a restart of a peer both of its runs are known for a while.
func (s sink) peer(p *engine.PeerStatus) {
	name := p.Name + "/" + p.Epoch
	s.gauge(peerLive, one(p.Live), name)
	s.gauge(peerProven, one(p.Proven), name)
	s.gauge(peerSealed, one(p.Sealed), name)
	s.gauge(peerFlows, float64(p.Flows), name)
	s.gauge(peerBehind, float64(p.Last-min(p.Have, p.Last)), name)
	s.gauge(peerLacks, float64(p.OwnLast-min(p.TheyHave, p.OwnLast)), name)
}

func (s sink) link(l *Link) {
	s.gauge(linkUp, one(l.Up), l.Interface)
	s.counter(linkBytes, l.BytesSent, l.Interface, "sent")
	s.counter(linkBytes, l.BytesReceived, l.Interface, "received")
	s.counter(linkPackets, l.PacketsSent, l.Interface, "sent")
	s.counter(linkPackets, l.PacketsReceived, l.Interface, "received")
	s.counter(linkErrors, l.SendErrors, l.Interface, "sent")
	s.counter(linkErrors, l.ReceiveErrors, l.Interface, "received")
}

// Handler answers scrapes.
func Handler(source Source) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{source}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Serve answers at addr until ctx ends.
func Serve(ctx context.Context, addr netip.AddrPort, source Source) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", Handler(source))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return fmt.Errorf("metrics: %w: choose another address with `metrics ADDRESS:PORT`", err)
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
