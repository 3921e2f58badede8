package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"ctsync/vrrp"
)

// keepalived's words on the bus.
const (
	// BusName is the name that keepalived owns, unless dbus_service_name says another.
	BusName = "org.keepalived.Vrrp1"

	rootPath          = dbus.ObjectPath("/org/keepalived/Vrrp1")
	instanceInterface = "org.keepalived.Vrrp1.Instance"
	vrrpInterface     = "org.keepalived.Vrrp1.Vrrp"
)

// Times of the D-Bus driver; they are ours.
const (
	// readTimeout bounds one call: keepalived answers from its VRRP thread, in 1 ms or, when that is
	// stopped, never.
	readTimeout = 500 * time.Millisecond
	// readInterval is how often all states are read although nothing was signalled.
	readInterval = 5 * time.Second
	backoffMin   = 100 * time.Millisecond
	backoffMax   = 5 * time.Second
)

// DBus hears keepalived on the system bus (enable_dbus). It knows instances, not groups.
//
// A signal is only a reason to read the State property: signals can be sent by anybody, and those of
// keepalived's start come before it owns its name. Every state is also read when the name's owner changes,
// and every 5 s. keepalived never comes back to a bus that was restarted, so that this cannot be the only
// driver; the driver itself does.
//
// Its notices: INSTANCE states; Daemon/Gone when keepalived left the bus, Daemon/Unknown when it came;
// Daemon/RELOADED; Daemon/BUS_LOST.
type DBus struct {
	Address string // of the bus; empty: DBUS_SYSTEM_BUS_ADDRESS, or else the system's
	Name    string // the name that keepalived owns; empty: BusName
	// OnError, when set before Run, is told what failed; the same failure in a row only once.
	OnError func(error)

	told                   string
	signals, forged, reads atomic.Uint64
}

// DBusStats are counters since the start.
type DBusStats struct {
	Signals uint64 // from keepalived
	Forged  uint64 // from somebody else
	Reads   uint64 // of an instance's state
}

// Stats returns the counters; it is safe for concurrent use.
func (d *DBus) Stats() DBusStats {
	return DBusStats{Signals: d.signals.Load(), Forged: d.forged.Load(), Reads: d.reads.Load()}
}

// Run listens until ctx ends, through restarts of the bus.
func (d *DBus) Run(ctx context.Context, deliver func(vrrp.Notice)) error {
	wait := backoffMin
	for {
		s, err := d.connect(ctx)
		if err == nil {
			wait = backoffMin
			d.told = ""
			s.deliver = deliver
			err = s.run(ctx)
			s.conn.Close()
		}
		if ctx.Err() != nil {
			return nil
		}
		d.report(err)
		if s != nil && s.owner != "" {
			deliver(vrrp.Notice{Source: vrrp.SourceDBus, Kind: vrrp.Daemon, Event: vrrp.EventBusLost})
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, backoffMax)
	}
}

func (d *DBus) report(err error) {
	if d.OnError == nil || err == nil || err.Error() == d.told {
		return
	}
	d.told = err.Error()
	d.OnError(err)
}

// busSession is one connection to the bus. One goroutine owns it.
type busSession struct {
	*DBus
	conn    *dbus.Conn
	signalC chan *dbus.Signal
	name    string
	owner   string                     // unique name of keepalived's connection; empty: it is not there
	names   map[dbus.ObjectPath]string // of instances
	deliver func(vrrp.Notice)
}

func (d *DBus) connect(ctx context.Context) (*busSession, error) {
	s := &busSession{DBus: d, name: d.Name, signalC: make(chan *dbus.Signal, 64)}
	if s.name == "" {
		s.name = BusName
	}
	dial := func(o ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Dial(d.Address, o...) }
	if d.Address == "" {
		dial = dbus.SystemBusPrivate
	}
	conn, err := dial(dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err == nil {
		if err = conn.Auth(nil); err == nil {
			err = conn.Hello()
		}
		if err != nil {
			conn.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("notify: connect to the D-Bus: %w", err)
	}
	s.conn = conn
	conn.Signal(s.signalC)
	return s, nil
}

func (s *busSession) run(ctx context.Context) error {
	err := errors.Join(
		s.conn.AddMatchSignalContext(ctx, dbus.WithMatchPathNamespace(rootPath)),
		s.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender("org.freedesktop.DBus"),
			dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, s.name)))
	if err != nil {
		return fmt.Errorf("notify: listen on the D-Bus: %w", err)
	}
	var owner string
	if err := s.call(ctx, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.GetNameOwner", s.name).Store(&owner); err == nil {
		s.came(ctx, owner)
	}
	tick := time.NewTicker(readInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.readAll(ctx)
		case sig, ok := <-s.signalC:
			if !ok {
				return errors.New("notify: the D-Bus has gone")
			}
			s.signal(ctx, sig)
		}
	}
}

func (s *busSession) signal(ctx context.Context, sig *dbus.Signal) {
	if sig.Name == "org.freedesktop.DBus.NameOwnerChanged" {
		if owner, ok := newOwner(sig, s.name); ok {
			s.ownerChanged(ctx, owner)
		}
		return
	}
	if !strings.HasPrefix(sig.Name, instanceInterface+".") && !strings.HasPrefix(sig.Name, vrrpInterface+".") {
		return
	}
	if s.owner == "" {
		return // of a start: all is read when the name is owned
	}
	if sig.Sender != s.owner {
		s.forged.Add(1)
		s.report(fmt.Errorf("notify: a signal %s on the D-Bus is from %s, not from keepalived (%s): not believed", sig.Name, sig.Sender, s.owner))
		return
	}
	s.signals.Add(1)
	switch sig.Name {
	case instanceInterface + ".VrrpStatusChange":
		s.changed(ctx, sig)
	case vrrpInterface + ".VrrpReloaded":
		s.deliver(vrrp.Notice{Source: vrrp.SourceDBus, Kind: vrrp.Daemon, Event: vrrp.EventReloaded})
		s.reloaded(ctx)
	}
}

func newOwner(sig *dbus.Signal, name string) (owner string, ok bool) {
	if sig.Sender != "org.freedesktop.DBus" || len(sig.Body) != 3 || sig.Body[0] != name {
		return "", false
	}
	owner, ok = sig.Body[2].(string)
	return owner, ok
}

func (s *busSession) ownerChanged(ctx context.Context, owner string) {
	if owner == s.owner {
		return
	}
	if s.owner != "" {
		s.owner, s.names = "", nil
		s.deliver(vrrp.Notice{Source: vrrp.SourceDBus, Kind: vrrp.Daemon, State: vrrp.Gone})
	}
	if owner != "" {
		s.came(ctx, owner)
	}
}

func (s *busSession) came(ctx context.Context, owner string) {
	s.owner, s.names = owner, nil
	s.deliver(vrrp.Notice{Source: vrrp.SourceDBus, Kind: vrrp.Daemon})
	s.readAll(ctx)
}

// reloaded reads all anew. An instance that is no longer there has perhaps not said so.
func (s *busSession) reloaded(ctx context.Context) {
	before := s.names
	s.names = nil
	s.readAll(ctx)
	if s.names == nil {
		return // it does not answer
	}
	for p, name := range before {
		if _, still := s.names[p]; !still && name != "" && !s.knows(name) {
			s.tell(name, vrrp.Deleted)
		}
	}
}

func (s *busSession) knows(name string) bool {
	for _, n := range s.names {
		if n == name {
			return true
		}
	}
	return false
}

// changed reads the state that a signal has announced. The signal's own word counts where reading is of no
// use: of an instance that ends, or when keepalived does not answer.
func (s *busSession) changed(ctx context.Context, sig *dbus.Signal) {
	if len(sig.Body) != 1 {
		return
	}
	number, ok := sig.Body[0].(uint32)
	if !ok {
		return
	}
	said, ok := busStates[number]
	if !ok {
		s.report(fmt.Errorf("notify: keepalived signals a state %d, which is not known", number))
		return
	}
	if name, known := s.names[sig.Path]; known && (said == vrrp.Stop || said == vrrp.Deleted) {
		s.tell(name, said)
		return
	}
	name, state, err := s.read(ctx, sig.Path)
	if err != nil {
		s.report(err)
		name, state = s.names[sig.Path], said
	}
	if name != "" {
		s.tell(name, state)
	}
}

func (s *busSession) tell(name string, state vrrp.State) {
	s.deliver(vrrp.Notice{Source: vrrp.SourceDBus, Kind: vrrp.Instance, Name: name, State: state})
}
