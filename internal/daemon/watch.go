package daemon

import (
	"os"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"ctsync/engine"
	native "ctsync/internal/journal"
	"ctsync/internal/kernel"
)

// watch is what is looked at about once a second, in the loop's own goroutine and together with a heartbeat: an idle daemon's cost
// is its wake-ups. It must not wait for anything.
type watch struct {
	d       *Daemon
	period  time.Duration
	dog     bool          // systemd's watchdog wants to be told
	systemd chan struct{} // a token: there may be something to tell; nil: there is no systemd

	looks   int
	payload int // as the engine knows it
	muted   bool
}

// timeoutsEvery is how many looks apart the kernel's timeouts are read again.
const timeoutsEvery = 60

func newWatch(d *Daemon) *watch {
	w := &watch{d: d, period: time.Second, payload: d.links.PayloadLimit()}
	if os.Getenv("NOTIFY_SOCKET") != "" {
		w.systemd = make(chan struct{}, 1)
	}
	if limit, err := sd.SdWatchdogEnabled(false); err == nil && limit > 0 {
		w.dog, w.period = true, min(w.period, limit/3)
	}
	return w
}

// look tells the engine the size of the kernel's table and of the links' datagrams, and now and then how long the kernel keeps
// flows. That it is called is what systemd is told of.
func (w *watch) look() {
	l := w.d.loop
	if w.looks%timeoutsEvery == 0 {
		l.step(&engine.KernelTimeouts{Timeouts: kernel.Timeouts()})
	}
	w.looks++
	if max, count, err := w.d.kernel.tableMax(); err == nil {
		l.step(&engine.KernelLimits{Max: max, Count: count, Mute: w.mute()})
	}
	if now := w.d.links.PayloadLimit(); now != w.payload {
		w.payload = now
		l.step(&engine.PayloadLimit{Bytes: now})
	}
	select {
	case w.systemd <- struct{}{}:
	default:
	}
}

// mute says that somebody has switched the kernel's events off since the start, and tells the operator once.
func (w *watch) mute() bool {
	mute := w.d.kernel.gauges.Mute()
	if mute && !w.muted {
		w.d.log.Warn("the kernel makes connections that emit no events: they are found every 5 minutes only", native.Key, native.HostFault,
			"remedy", "sysctl -w net.netfilter.nf_conntrack_events=1")
	}
	w.muted = mute
	return mute
}
