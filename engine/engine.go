package engine

import (
	"io"
	"math/rand"
	"net/netip"
	"syscall"
	"time"

	"ctsync/engine/cache"
	"ctsync/engine/flow"
	"ctsync/engine/wire"
	"ctsync/vrrp"
)

// Config is what an engine is made of. It does not change; what may change comes in as Input.
type Config struct {
	Node          string
	Epoch         wire.Epoch // fresh from crypto/rand
	Cluster       string     // cluster-id
	Group         string     // failover group
	Members       []string   // its VRRP instances, as far as known
	Hot           bool
	PurgeTimeout  time.Duration
	CommitTimeout time.Duration // 0: the flow's own
	PayloadLimit  int           // bytes of a datagram
	TableMax      int           // nf_conntrack_max
	Seed          uint64        // secret, for the hash table
	Filter        flow.Filter
	Keys          []wire.Key // shared keys; none: the sync link is not authenticated
	Permissive    bool
	Random        io.Reader // of nonces: crypto/rand
}

// record is what a copy holds: the value, and where its extra is.
type record struct {
	flow.Value
	extra extraRef
}

type (
	table   = cache.Table[flow.Key, record]
	copyOf  = cache.Copy[record]
	entry   = cache.Entry[flow.Key]
	replica = cache.Replica[flow.Key, record]
	ref     = cache.Ref
)

// Owners of copies. Peers' epochs have the numbers from firstPeer on.
const (
	ownOwner    uint8 = 0
	kernelOwner uint8 = 1 // what a packet made of a copy in our kernel, or a flow held back with an eviction
	firstPeer   uint8 = 2
)

// Engine decides; see the package's documentation. One goroutine owns it.
type Engine struct {
	cfg      Config
	rng      *rand.Rand
	start    time.Time
	now      time.Time
	deadline time.Time
	out      Output

	tbl    *table
	extras extras
	log    *cache.Log[flow.Key, record]
	filter flow.Filter

	timeouts flow.Timeouts

	allEvents bool // see Early

	tracker *vrrp.Tracker
	role    roleState
	peers   peerSet
	send    sender
	guard   guard
	writer  writer
	dump    dumper
	asked   asked
	orphans orphans
	evict   evictor
	young   nursery
	purge   purger
	jobs    []job
	wait    waiters
	count   counters
}

// New makes an engine. rng is for the jitter of timers only.
func New(cfg Config, rng *rand.Rand) *Engine {
	if cfg.Random == nil {
		panic("engine: Config.Random is nil: nonces and challenges need crypto/rand, or a simulation's source")
	}
	e := &Engine{cfg: cfg, rng: rng, filter: cfg.Filter, timeouts: flow.DefaultTimeouts()}
	if e.cfg.PayloadLimit < minPayload {
		e.cfg.PayloadLimit = minPayload
	}
	e.tbl = cache.New[flow.Key, record](func(k *flow.Key) uint64 { return k.Hash(cfg.Seed) }, e.forgetValue)
	e.log = cache.NewLog(e.tbl, ownOwner, digestOf(cfg.Epoch))
	e.tracker = vrrp.NewTracker(cfg.Group, cfg.Members)
	e.role.reason = "nothing heard of the group yet"
	e.peers.init()
	e.evict.init()
	e.count.init()
	e.setKeys(cfg.Keys, cfg.Permissive)
	e.writer.failures = map[syscall.Errno]int{}
	return e
}

// digestOf gives the share of one key in the digest of epoch's log (PROTOCOL: H64(epoch, key, born, seq)).
// It covers no decoded value: a receiver may know fewer attributes than the origin.
func digestOf(epoch wire.Epoch) func(k *flow.Key, born, seq uint64) uint64 {
	var seed uint64
	for i := range 16 {
		seed = flow.Mix(seed, uint64(epoch[i]))
	}
	return func(k *flow.Key, born, seq uint64) uint64 {
		return flow.Mix(flow.Mix(k.Hash(seed), born), seq)
	}
}

// minPayload holds the largest record with every header.
const minPayload = 576

// asleepAfter is how late a Step may be before the engine takes it that the machine slept.
const asleepAfter = 2 * time.Second

// Step takes one input and says what to do. now is CLOCK_BOOTTIME; a step backwards is taken as no step.
func (e *Engine) Step(now time.Time, in Input) *Output {
	e.begin(now)
	switch in := in.(type) {
	case *KernelEvents:
		e.kernelEvents(in)
	case *KernelResults:
		e.kernelResults(in.Results)
	case *KernelDump:
		e.kernelDump(in)
	case *KernelLimits:
		e.cfg.TableMax = max(in.Max, 1)
		e.writer.tableCount = in.Count
		e.muted(in.Mute)
	case *KernelTimeouts:
		e.timeouts = in.Timeouts
	case *Datagrams:
		for i := range in.Datagrams {
			e.hear(&in.Datagrams[i])
		}
	case *Notice:
		e.notice(in.Notice)
	case *Members:
		e.tracker.SetMembers(in.Names)
	case *Addresses:
		e.addresses(in.Addrs)
	case *PayloadLimit:
		e.cfg.PayloadLimit = max(in.Bytes, minPayload)
	case *Filter:
		e.refilter(in.Filter)
	case *Command:
		e.command(in)
	case *Closing:
		e.allGrowUp()
	case *Shutdown:
		e.leave()
	case *Woke:
		e.woke(in.For)
	case *Keys:
		e.setKeys(in.Keys, in.Permissive)
	case *Tick:
	}
	e.advance()
	return &e.out
}

func (e *Engine) begin(now time.Time) {
	o := &e.out
	*o = Output{Ops: o.Ops[:0], Datagrams: o.Datagrams[:0], Replies: o.Replies[:0], Notes: o.Notes[:0]}
	e.send.used = 0
	if e.start.IsZero() {
		e.start, e.now, e.role.since = now, now, now
		e.startDump()
		return
	}
	if now.Before(e.now) {
		now = e.now
	}
	late := now.Sub(e.deadline)
	e.now = now
	if late > asleepAfter {
		e.woke(late)
	}
}

// advance does what time and the last input made due.
func (e *Engine) advance() {
	if d := e.tracker.Deadline(); !d.IsZero() && !d.After(e.now) {
		e.decided(e.tracker.Tick(e.now))
	}
	e.evictions()
	e.growUp()
	e.peerTimers()
	e.chooseLeader()
	e.yieldAndPurge()
	e.reconcile()
	e.runJobs()
	e.refreshDue()
	e.askFollowed()
	e.askCounts()
	e.writeKernel()
	e.progressTakeover()
	e.answerWaiters()
	e.flush()
	e.out.Ready = e.readiness()
	e.out.AllEvents = e.allEvents
	e.deadline = e.nextDeadline()
}

// Deadline is when the engine wants a Step even if nothing happens.
func (e *Engine) Deadline() time.Time { return e.deadline }

// Role is what Status says of it, for who asks after every Step.
func (e *Engine) Role() Role { return e.role.is }

func (e *Engine) nextDeadline() time.Time {
	if len(e.jobs) > 0 && !e.jobWaits() || e.writer.canFill(e.now) || e.young.due(e) {
		return e.now
	}
	d := e.send.nextBeat
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(d) {
			d = t
		}
	}
	earlier(e.tracker.Deadline())
	earlier(e.flushAt())
	earlier(e.evict.deadline())
	earlier(e.wantDeadline())
	earlier(e.writer.deadline())
	if e.writer.pending() > 0 && e.now.Before(e.writer.reading) {
		earlier(e.writer.reading)
	}
	earlier(e.asked.deadline())
	if d.Before(e.now) {
		return e.now
	}
	return d
}

// seconds since the engine began, for what is kept per flow.
func (e *Engine) seconds() uint32 { return e.secondsAt(e.now) }

func (e *Engine) secondsAt(t time.Time) uint32 { return uint32(t.Sub(e.start) / time.Second) }

func (e *Engine) note(n Note) { e.out.Notes = append(e.out.Notes, n) }

// woke forgets every lease: after a sleep nothing that was heard says anything about now. Nor does what is known of our
// kernel, before the events that waited have been read: an operation would meet what came after.
func (e *Engine) woke(d time.Duration) {
	e.note(Note{Kind: NoteAsleep, Duration: d})
	e.writer.reading = e.now.Add(queueRead)
	e.peers.restartLeases(e.now)
	e.startDump()
}

// addresses of this node as they are now; what left is remembered for evictions, and all are ignored. Flows that
// came before their address was known go.
func (e *Engine) addresses(addrs []netip.Addr) {
	own := make(map[flow.Host]bool, len(addrs))
	came := false
	for _, a := range addrs {
		addr := flow.HostFrom(a)
		own[addr] = true
		came = came || !e.filter.Own()[addr]
	}
	e.evict.addressesNow(own, e.filter.Own(), e.now)
	e.filter.SetOwn(own)
	if came {
		e.addJob(e.dropUnaccepted())
	}
}

// refilter replaces the filter; own addresses stay. What it newly refuses or accepts a dump finds out.
func (e *Engine) refilter(f flow.Filter) {
	f.SetOwn(e.filter.Own())
	e.filter = f
	e.allEvents = true // what the old one accepted is in the caches
	e.addJob(e.dropUnaccepted())
	e.startDump()
}

// dropUnaccepted takes out of the own cache what the filter refuses now.
func (e *Engine) dropUnaccepted() job {
	return e.scanEntries(func(r ref) {
		c := e.log.Lives(r)
		if c == nil {
			return
		}
		if f := e.flowOf(r, c); !e.accepts(&f) {
			e.endOwn(r, cache.Yielded)
		}
	})
}
