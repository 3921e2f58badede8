package load

import (
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wire is where the packets of a router's two sides are put: an interface of the calling thread's network
// namespace and the router's hardware address at the other end.
type Wire struct {
	Interface string
	Router    net.HardwareAddr
}

// PacketPlan is TCP connections of real packets through a router that translates the source to Public and keeps
// the port. Nobody answers: both sides are ours, and say what they would say.
type PacketPlan struct {
	Client, Server Wire
	First, Count   int
	Rate           int // connections/s, 0: as fast as it goes
}

// PacketsPerConnection are SYN, SYN-ACK, ACK, FIN, FIN and ACK: six events.
const PacketsPerConnection = 6

// together is how many connections go side by side. The packets of one follow one another in the order in which
// they are put on the wires, since a virtual cable carries a packet to its end before the call returns.
const together = 64

// Packets carries out p. Report counts packets as events: each but data would be one.
func Packets(p PacketPlan) (Report, error) {
	client, err := openWire(p.Client)
	if err != nil {
		return Report{}, err
	}
	defer client.close()
	server, err := openWire(p.Server)
	if err != nil {
		return Report{}, err
	}
	defer server.close()
	m := begin(p.Rate * PacketsPerConnection)
	var r Report
	for at := 0; at < p.Count; at += together {
		n := min(together, p.Count-at)
		for k := range talk {
			w := client
			if talk[k].server {
				w = server
			}
			sent, err := w.send(p.First+at, n, &talk[k])
			if err != nil {
				return r, err
			}
			r.Events += sent
		}
		m.pace(r.Events)
	}
	m.end(&r)
	r.Failed = p.Count*PacketsPerConnection - r.Events
	return r, nil
}

// said is one packet of a connection.
type said struct {
	server   bool
	flags    byte
	seq, ack uint32
}

const (
	fin = 0x01
	syn = 0x02
	ack = 0x10
)

// talk is a whole connection without data.
var talk = []said{
	{false, syn, 100, 0},
	{true, syn | ack, 500, 101},
	{false, ack, 101, 501},
	{false, fin | ack, 101, 501},
	{true, fin | ack, 501, 102},
	{false, ack, 102, 502},
}

// wire is one socket that puts frames on an interface, and the memory for them.
type wire struct {
	fd      int
	frames  [together]frame
	iovecs  [together]unix.Iovec
	headers [together]mmsghdr
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr    unix.Msghdr
	length uint32
}

func openWire(w Wire) (*wire, error) {
	ifi, err := net.InterfaceByName(w.Interface)
	if err != nil {
		return nil, fmt.Errorf("load: interface %s: %w", w.Interface, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: it receives nothing
	if err != nil {
		return nil, fmt.Errorf("load: packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("load: packet socket on %s: %w", w.Interface, err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1) // faster where there is no queue
	out := &wire{fd: fd}
	for i := range out.frames {
		f := &out.frames[i]
		copy(f[0:6], w.Router)
		copy(f[6:12], ifi.HardwareAddr)
		out.iovecs[i].Base = &f[0]
		out.iovecs[i].SetLen(len(f))
		out.headers[i].hdr.Iov = &out.iovecs[i]
		out.headers[i].hdr.SetIovlen(1)
	}
	return out, nil
}

func (w *wire) close() { unix.Close(w.fd) }

// send puts the same packet of n connections on the wire.
func (w *wire) send(first, n int, s *said) (sent int, err error) {
	for i := range n {
		w.frames[i].fill(first+i, s)
	}
	for sent < n {
		got, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&w.headers[sent])),
			uintptr(n-sent), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return sent, fmt.Errorf("load: send packets: %w", errno)
		}
		sent += int(got)
	}
	return sent, nil
}
