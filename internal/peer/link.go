package peer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/internal/rawio"
)

// How long a datagram may wait for room in the send buffer of a link, and how long once the link is found
// stuck: the other links must not suffer with it.
const (
	patience      = 5 * time.Millisecond
	stuckPatience = 100 * time.Microsecond
)

// Bytes of the headers before a payload.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
)

// maxPayload is what fits an Ethernet frame with either family.
const maxPayload = 1500 - headers6

// link is one configured way to the peers. Send uses it from any goroutine; what the host makes of it is
// published by its port.
type link struct {
	Link
	index int // in Config.Links
	dest  netip.AddrPort
	log   func(string, ...any)
	now   atomic.Pointer[linkState]
	stuck atomic.Bool
	fault atomic.Pointer[string] // why the last datagram could not be sent; nil: it could

	bytesSent, bytesReceived     atomic.Uint64
	packetsSent, packetsReceived atomic.Uint64
	sendErrors, receiveErrors    atomic.Uint64
}

// linkState is a snapshot: never changed, only replaced.
type linkState struct {
	out   *socket // nil: nothing to send on
	to    rawio.Destination
	drops *socket // whose drops this link counts; nil: none's
	up    bool
	mtu   int // of the interface or the path, 0 unknown
	text  string
	addrs []netip.Addr // of the interface
}

// LinkStats are the counters of one link since Open.
type LinkStats struct {
	Interface                    string
	Mode                         string // "multicast" or "UDP"
	Up                           bool
	BytesSent, BytesReceived     uint64 // of payload
	PacketsSent, PacketsReceived uint64
	SendErrors, ReceiveErrors    uint64 // datagrams; received ones are those cut, or dropped for want of buffer
	MTU                          int    // bytes, 0 while there is no interface
	State                        string // "running", or what is awaited or wrong
}

// mode is the word of conntrackd's statistics for the kind of link.
func (l *link) mode() string {
	if l.Peer.IsValid() {
		return "UDP"
	}
	return "multicast"
}

func (l *link) stats() LinkStats {
	now := l.now.Load()
	l.countDrops(now.drops)
	s := LinkStats{
		Interface: l.Interface, Mode: l.mode(), Up: now.up, MTU: now.mtu, State: now.text,
		BytesSent: l.bytesSent.Load(), BytesReceived: l.bytesReceived.Load(),
		PacketsSent: l.packetsSent.Load(), PacketsReceived: l.packetsReceived.Load(),
		SendErrors: l.sendErrors.Load(), ReceiveErrors: l.receiveErrors.Load(),
	}
	if fault := l.fault.Load(); fault != nil && now.up {
		s.State = "sending fails: " + *fault
	}
	return s
}

func (l *link) countDrops(s *socket) {
	if s != nil {
		l.receiveErrors.Add(s.newDrops())
	}
}

// payloadLimit is the largest payload of this link, maxPayload while its MTU is unknown.
func (l *link) payloadLimit() int {
	now := l.now.Load()
	if now.mtu == 0 {
		return maxPayload
	}
	headers := headers6
	if l.dest.Addr().Is4() {
		headers = headers4
	}
	return max(0, min(maxPayload, now.mtu-headers))
}

// send puts payload on the link or counts why not. It reports EMSGSIZE as tooBig: the MTU is not what it was.
func (l *link) send(payload []byte) (tooBig bool) {
	now := l.now.Load()
	if now.out == nil || !now.up {
		l.sendErrors.Add(1)
		return false
	}
	wait := patience
	if l.stuck.Load() {
		wait = stuckPatience
	}
	if err := now.out.Send(payload, &now.to, wait); err != nil {
		return l.failed(err)
	}
	l.bytesSent.Add(uint64(len(payload)))
	l.packetsSent.Add(1)
	if l.stuck.Load() {
		l.stuck.Store(false)
	}
	if l.fault.Load() != nil && l.fault.Swap(nil) != nil {
		l.log("sync link %s: sending again", l.Interface)
	}
	return false
}

// failed counts a datagram that was not sent. A new reason is said once; a full buffer is load, not a fault,
// and a closed socket is told by the state of the link.
func (l *link) failed(err error) (tooBig bool) {
	l.sendErrors.Add(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.stuck.Store(true)
		return false
	}
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	text := faultText(err)
	if old := l.fault.Swap(&text); old == nil || *old != text {
		l.log("sync link %s: sending to %s fails: %s", l.Interface, l.dest, text)
	}
	return errors.Is(err, unix.EMSGSIZE)
}

// faultText is the reason of a failed send, with the remedy where there is one.
func faultText(err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	switch errno {
	case unix.EPERM:
		return "refused by this host's packet filter: allow UDP to the sync port in its output chain"
	case unix.ENETUNREACH, unix.EHOSTUNREACH:
		return fmt.Sprintf("%s: no route over this interface", errno)
	case unix.EMSGSIZE:
		return "larger than the path carries"
	}
	return errno.Error()
}
