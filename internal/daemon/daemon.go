package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/internal/config"
	"ctsync/internal/control"
	native "ctsync/internal/journal"
	"ctsync/internal/kernel"
	"ctsync/internal/metrics"
	"ctsync/internal/peer"
)

// Daemon is a running ctsync. Run owns it.
type Daemon struct {
	path string        // of the configuration
	cfg  config.Config // a reload changes what only it reads

	log   *slog.Logger
	level *slog.LevelVar

	loop    *loop
	kernel  *kernelEdge
	links   *peer.Transport
	drivers *drivers
	ready   *readyFile
	control *control.Server
	heard   []engine.Datagram // of hear
	scripts seldom            // notify scripts that were not understood
	watch   *watch            // what is looked at again and again
	refused refusal           // of watchConfig
	reloads chan chan error   // who asks for the configuration to be read again, and is told whether it was taken
}

// Run is the daemon: it returns when ctx ends, or with the reason why it cannot go on. configPath is the
// configuration, controlPath the control socket if it is not the configured one.
func Run(ctx context.Context, configPath, controlPath string) error {
	out := newOutbox(os.Stderr)
	defer out.close()
	level := &slog.LevelVar{}
	log := slog.New(native.New(out, level))
	cfg, err := load(configPath)
	if err != nil {
		refused(log, "the configuration is refused, nothing is started", err)
		return &Misconfigured{Path: configPath}
	}
	if controlPath != "" {
		cfg.Control = controlPath
	}
	level.Set(cfg.LogLevel)
	log = log.With("group", native.Field(cfg.Failover.Group), "node", native.Field(cfg.NodeName))
	for _, w := range cfg.Warnings() {
		log.Warn("configuration", "warning", w)
	}
	d := &Daemon{path: configPath, cfg: cfg, log: log, level: level, reloads: make(chan chan error)}
	if err := d.open(); err != nil {
		d.close()
		return d.notStarted(err)
	}
	return d.serve(ctx)
}

// NotStarted is the error of a daemon that could not begin, and that the journal has.
type NotStarted struct{ error }

// notStarted has the journal explain why. A person at a terminal sees the error itself.
func (d *Daemon) notStarted(err error) error {
	var told *Misconfigured
	if errors.As(err, &told) || !native.Here() {
		return err
	}
	d.log.Error("nothing is started", native.Key, native.NotStarted, "error", err)
	return NotStarted{err}
}

// Misconfigured is the error of a daemon that cannot begin before an operator has changed its configuration. What is wrong is in
// the journal.
type Misconfigured struct{ Path string }

func (m *Misconfigured) Error() string {
	return fmt.Sprintf("daemon: nothing is started: correct %s (`ctsync config check` tells every fault), then `systemctl restart ctsync`", m.Path)
}

// refused tells each fault in a line of its own.
func refused(log *slog.Logger, what string, err error) {
	for line := range strings.Lines(err.Error()) {
		log.Error(what, native.Key, native.ConfigurationRefused, "error", strings.TrimSpace(line))
	}
}

// load reads the configuration; its faults are one error of many lines.
func load(path string) (config.Config, error) {
	cfg, faults, err := config.Load(path)
	if err != nil {
		return cfg, err
	}
	var all []error
	for _, f := range faults {
		all = append(all, f)
	}
	return cfg, errors.Join(all...)
}

// open opens the edges in the order in which one may be refused: the control socket first, so that a second
// daemon touches nothing. What was opened before an error close closes.
func (d *Daemon) open() (err error) {
	if err := refuseRival(); err != nil {
		return err
	}
	if d.control, err = control.Listen(d.cfg.Control, d.cfg.ControlGroup); err != nil {
		return err
	}
	if d.drivers, err = openDrivers(&d.cfg, d.log); err != nil {
		return err
	}
	if d.kernel, err = openKernel(d.cfg.EventQueue, d.early(), d.log); err != nil {
		return err
	}
	if d.links, err = peer.Open(d.linkConfig()); err != nil {
		return err
	}
	d.ready = newReadyFile(d.cfg.TrackFile, forwardingPath(d.cfg.Control), d.log)
	eng, err := d.newEngine()
	if err != nil {
		return err
	}
	if d.loop, err = newLoop(eng); err != nil {
		return err
	}
	d.loop.out = outlets{
		allEvents: d.kernel.allEvents,
		operate:   d.kernel.operate,
		dump:      func(id uint64) { d.kernel.dump(d.loop, id) },
		post: func(out []engine.Datagram) {
			for i := range out {
				d.links.Send(out[i].Payload, out[i].To)
			}
		},
		ready: d.ready.put,
		note:  journal{d.log}.note,
	}
	return nil
}

// close gives up what open opened, where serve will not.
func (d *Daemon) close() {
	if d.links != nil {
		d.links.Close()
	}
	if d.kernel != nil {
		d.kernel.close()
		d.kernel.writer.Close()
	}
	if d.drivers != nil {
		d.drivers.close()
	}
	if d.control != nil {
		d.control.Close()
	}
}

func (d *Daemon) linkConfig() peer.Config {
	c := peer.Config{
		Group: d.cfg.MulticastGroup, Listen: d.cfg.ListenAddress,
		SendBuffer: d.cfg.SyncQueue, ReceiveBuffer: d.cfg.SyncQueue,
		Log: func(format string, args ...any) { d.log.Info(fmt.Sprintf(format, args...)) },
	}
	for _, l := range d.cfg.Links {
		if len(l.Peers) == 0 {
			c.Links = append(c.Links, peer.Link{Interface: l.Interface, Port: l.Port})
		}
		for _, p := range l.Peers {
			c.Links = append(c.Links, peer.Link{Interface: l.Interface, Peer: p, Port: l.Port})
		}
	}
	return c
}

func (d *Daemon) newEngine() (*engine.Engine, error) {
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	max, _, err := d.kernel.tableMax()
	if err != nil {
		return nil, err
	}
	keys, err := d.keys()
	if err != nil {
		refused(d.log, "the keys are refused, nothing is started", err)
		return nil, &Misconfigured{Path: d.cfg.KeyFile}
	}
	cfg := engine.Config{
		Node: d.cfg.NodeName, Epoch: wire.Epoch(random[:16]), Cluster: d.cfg.ClusterID,
		Group: d.cfg.Failover.Group, Members: d.drivers.firstMembers(), Hot: d.cfg.Standby == config.Hot,
		PurgeTimeout: d.cfg.PurgeTimeout, CommitTimeout: d.cfg.CommitTimeout,
		PayloadLimit: d.links.PayloadLimit(), TableMax: max,
		Seed: binary.LittleEndian.Uint64(random[16:]), Filter: d.filter(&d.cfg),
		Keys: keys, Permissive: d.cfg.Permissive, Random: rand.Reader,
	}
	return engine.New(cfg, mathrand.New(mathrand.NewSource(int64(binary.LittleEndian.Uint64(random[24:]))))), nil
}

// early are the protocols of flows whose events are wanted, as long as the engine can do without the others.
func (d *Daemon) early() []uint8 {
	f := flow.Filter{}
	f.Some, f.Protocols = d.accepted(&d.cfg)
	return engine.Early(&f)
}

// accepted are the protocols that are replicated, if not all are.
func (d *Daemon) accepted(cfg *config.Config) (some bool, protocols [256]bool) {
	for _, p := range cfg.AcceptProtocol {
		protocols[p] = true
	}
	return len(cfg.AcceptProtocol) > 0, protocols
}

// neverReplicated are flows that are of this node or this link by their nature.
var neverReplicated = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("224.0.0.0/24"), // local network control, VRRP among it (RFC 5771)
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff02::/16"),
}

// filter is what the configuration and the sync links leave to be replicated. Own addresses are added by the
// engine as they come and go.
func (d *Daemon) filter(cfg *config.Config) flow.Filter {
	f := flow.Filter{Ignore: append(append([]netip.Prefix(nil), neverReplicated...), cfg.IgnoreAddress...)}
	for _, a := range d.links.Addresses() {
		f.Ignore = append(f.Ignore, netip.PrefixFrom(a, a.BitLen()))
	}
	f.Helpers, f.AllHelpers = cfg.ExpectHelpers()
	f.States, f.SomeStates = cfg.TCPStates()
	f.After, f.Packets = cfg.SyncAfter, cfg.SyncAfterPackets
	f.Some, f.Protocols = d.accepted(cfg)
	return f
}

// serve runs every part until ctx ends or one cannot go on. What brings inputs ends first; then the peers are told,
// and then what carries out outputs ends.
func (d *Daemon) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var inputs, outputs parts
	inputs.failed, outputs.failed = cancel, cancel
	carry, stopCarrying := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCarrying()

	d.check()
	outputs.start(carry, func(context.Context) error { d.ready.run(); return nil })
	outputs.start(carry, func(context.Context) error { d.kernel.writeOps(d.loop); return nil })
	outputs.start(carry, func(ctx context.Context) error { return d.links.Run(ctx, d.hear) })
	d.startInputs(ctx, &inputs)
	d.log.Info(fmt.Sprintf("started: node %s, group %s, standby %s", d.cfg.NodeName, d.cfg.Failover.Group, d.cfg.Standby), native.Key, native.Started)
	if d.cfg.KeyFile == "" {
		d.log.Warn("the sync link is not authenticated: set key-file, or keep it on a network of its own", native.Key, native.Unauthenticated)
	}

	<-ctx.Done()
	d.sayStopping()
	notifyStopping()
	d.kernel.events.Close()
	inputs.Wait()
	d.goodbye()
	stopCarrying()
	d.kernel.close()
	close(d.ready.next)
	outputs.Wait()
	d.drivers.close()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// parts are goroutines with one end: all have returned.
type parts struct {
	sync.WaitGroup
	failed context.CancelCauseFunc
}

// start runs a part; its error ends the daemon, unless ctx has ended.
func (p *parts) start(ctx context.Context, part func(context.Context) error) {
	p.Go(func() {
		if err := part(ctx); err != nil && ctx.Err() == nil {
			p.failed(err)
		}
	})
}

func (d *Daemon) startInputs(ctx context.Context, inputs *parts) {
	start := func(part func(context.Context) error) { inputs.start(ctx, part) }
	reload := d.awaitReloads()
	d.watch = newWatch(d)
	d.loop.routine, d.loop.every = d.watch.look, d.watch.period
	start(func(ctx context.Context) error { d.loop.run(ctx); return nil })
	start(func(ctx context.Context) error { return d.kernel.readEvents(ctx, d.loop) })
	start(func(ctx context.Context) error {
		return peer.WatchAddresses(ctx, func(a []netip.Addr) { d.loop.step(&engine.Addresses{Addrs: a}) })
	})
	d.drivers.run(d.loop, start)
	start(func(ctx context.Context) error { return d.watchConfig(ctx, reload) })
	start(func(ctx context.Context) error { return d.control.Serve(ctx, d.answer) })
	if d.cfg.Metrics.IsValid() {
		start(func(ctx context.Context) error {
			if err := metrics.Serve(ctx, d.cfg.Metrics, d.scrape); err != nil {
				d.log.Error("metrics are not served: choose another address and restart", "error", err) // connections matter more
			}
			return nil
		})
	}
	start(d.supervise)
}

// check tells the operator what is wrong with the host.
func (d *Daemon) check() {
	for _, f := range kernel.Check(kernel.Needs{ReceiveBuffer: d.cfg.EventQueue, Counters: d.cfg.SyncAfterPackets > 0}) {
		d.log.Warn(f.Text, native.Key, native.HostFault, "remedy", f.Remedy)
	}
}

// hear is called for one batch at a time.
func (d *Daemon) hear(in []peer.Datagram) {
	d.heard = d.heard[:0]
	for i := range in {
		d.heard = append(d.heard, engine.Datagram{Payload: in[i].Payload, From: in[i].Addr})
	}
	d.loop.step(&engine.Datagrams{Datagrams: d.heard})
	d.kernel.writeSoon(d.loop)
}

// sayStopping warns of what a stop of the node that forwards means, which a restart's is as well, for as long as it takes.
func (d *Daemon) sayStopping() {
	if d.loop.status().Role == engine.Standby {
		d.log.Info("stopping", native.Key, native.Stopping)
		return
	}
	d.log.Warn("stopping, and this node goes on forwarding: connections that begin before ctsync runs again are lost if the addresses move meanwhile",
		native.Key, native.Stopping)
}

// tellFor is the most that a stop waits for the peers to have what is here: a million connections that sync-after held back
// take half of it.
const tellFor = 2 * time.Second

// goodbye tells the peers, and keepalived by the readiness file: that stays as it is if this node forwards, since its
// addresses stay with it. After it the engine does not step again.
func (d *Daemon) goodbye() {
	d.loop.step(&engine.Closing{})
	for end := time.Now().Add(tellFor); d.loop.untold() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		d.loop.step(&engine.Tick{})
	}
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	d.loop.stepLocked(&engine.Shutdown{})
	if d.loop.engine.Role() == engine.Standby {
		d.ready.put(engine.NotReady, engine.Standby, false)
	}
	d.loop.over = true
}
