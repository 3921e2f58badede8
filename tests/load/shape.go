package load

import (
	"encoding/binary"
	"fmt"

	"ctsync/engine/flow"
)

// Shape is a kind of traffic: what connection i is, and what happens to it.
type Shape struct {
	Name  string
	Flow  func(i int) flow.Flow // as the last creating or changing step leaves it
	Steps []Step
	// Left is how many entries there are at the end for each connection: 1, or 0 where the last step deletes.
	Left int
}

// Step is one thing that happens to a connection: one operation, one event.
type Step struct {
	Kind    flow.OpKind
	Status  uint32
	State   uint8
	Timeout uint32 // seconds
}

const replied = flow.Confirmed | flow.SeenReply

var create = Step{flow.OpCreate, replied | flow.Assured, flow.TCPEstablished, 432000}

// Shapes of traffic. The steps are the events that the kernel reports for real packets, with its states and its
// default timeouts (nf_conntrack_proto_tcp.c and nf_conntrack_proto_udp.c).
var (
	// Established are TCP connections with source NAT that are there, and stay.
	Established = Shape{Name: "established", Flow: tcp, Steps: []Step{create}, Left: 1}
	// Short are TCP connections with source NAT from the first packet to the end: seven events.
	Short = Shape{Name: "short", Flow: tcp, Steps: []Step{
		{flow.OpCreate, flow.Confirmed, flow.TCPSynSent, 120},
		{flow.OpUpdate, replied, flow.TCPSynRecv, 60},
		{flow.OpUpdate, replied | flow.Assured, flow.TCPEstablished, 432000},
		{flow.OpUpdate, replied | flow.Assured, flow.TCPFinWait, 120},
		{flow.OpUpdate, replied | flow.Assured, flow.TCPLastAck, 30},
		{flow.OpUpdate, replied | flow.Assured, flow.TCPTimeWait, 120},
		{Kind: flow.OpDelete},
	}}
	// UDP are conversations with source NAT: three events, then they stay.
	UDP = Shape{Name: "udp", Flow: udp, Left: 1, Steps: []Step{
		{flow.OpCreate, flow.Confirmed, 0, 30},
		{flow.OpUpdate, replied, 0, 30},
		{flow.OpUpdate, replied | flow.Assured, 0, 120},
	}}
	// Mixed is Established in turns with IPv6 TCP connections without NAT.
	Mixed = Shape{Name: "mixed", Flow: mixed, Steps: []Step{create}, Left: 1}
)

// ShapeOf finds a shape by its name.
func ShapeOf(name string) (Shape, error) {
	for _, s := range []Shape{Established, Short, UDP, Mixed} {
		if s.Name == name {
			return s, nil
		}
	}
	return Shape{}, fmt.Errorf("load: shape %q: one of established, short, udp, mixed", name)
}

// Public is the address that the source is translated to (RFC 5737).
var Public = [4]byte{198, 51, 100, 1}

// Primes, so that clients, servers and ports do not go in step.
const (
	clients     = 50021
	servers     = 251
	clientPorts = 28232 // 32768 to 60999, Linux's own choice
	publicPorts = 64512
)

// tcp is connection i: original tuple and translation are those of no other up to 16,000,000.
func tcp(i int) flow.Flow {
	f := flow.Flow{Key: flow.Key{L3: flow.IPv4, L4: flow.TCP, Tuple: tuple(i)}}
	f.Reply = f.Inverse()
	copy(f.Reply.Dst[:], Public[:])
	f.Reply.DstL4 = uint16(1024 + i/servers%publicPorts)
	f.WScale = [2]uint8{7, 7}
	f.TCPFlags = [2]uint8{3, 3}
	return f
}

func tuple(i int) flow.Tuple {
	client, server := i%clients, i%servers
	return flow.Tuple{
		Src:   flow.Addr{10, 1, byte(client >> 8), byte(client)},
		Dst:   flow.Addr{203, 0, 113, byte(server + 1)},
		SrcL4: uint16(32768 + (i/clients*977+client*31)%clientPorts),
		DstL4: 443,
	}
}

func udp(i int) flow.Flow {
	f := tcp(i)
	f.L4, f.WScale, f.TCPFlags = flow.UDP, [2]uint8{}, [2]uint8{}
	return f
}

func mixed(i int) flow.Flow {
	if i%2 == 0 {
		return tcp(i)
	}
	f := tcp(i)
	f.L3 = flow.IPv6
	f.Src, f.Dst = v6(0xfd00_0010, f.Src), v6(0x2001_0db8, f.Dst)
	f.Reply = f.Inverse()
	return f
}

// v6 is an IPv6 address that begins with prefix and ends with an IPv4 one.
func v6(prefix uint32, v4 flow.Addr) (a flow.Addr) {
	binary.BigEndian.PutUint32(a[:], prefix)
	copy(a[12:], v4[:4])
	return a
}

// op is step k of connection i.
func (s *Shape) op(i, k int) flow.Op {
	step := &s.Steps[k]
	f := s.Flow(i)
	f.Status, f.State, f.Timeout = step.Status, step.State, step.Timeout
	return flow.Op{Kind: step.Kind, Tag: uint64(i), Flow: f}
}
