package load

import "encoding/binary"

const (
	etherSize = 14
	ipSize    = 20
	tcpSize   = 24 // with one option of four bytes
	frameSize = etherSize + ipSize + tcpSize
)

// frame is an Ethernet frame with one TCP segment over IPv4, without data.
type frame [frameSize]byte

// fill makes it the packet s of connection i; the hardware addresses are there already. The server sees the
// translated source, with the client's port.
func (f *frame) fill(i int, s *said) {
	t := packetTuple(i)
	src, dst, sport, dport := t.Src[:4], t.Dst[:4], t.SrcL4, t.DstL4
	if s.server {
		src, dst, sport, dport = dst, Public[:], dport, sport
	}
	be := binary.BigEndian
	be.PutUint16(f[12:], 0x0800)
	ip := f[etherSize : etherSize+ipSize]
	copy(ip, []byte{0x45, 0, 0, ipSize + tcpSize, 0, 0, 0x40, 0, 64, 6, 0, 0})
	copy(ip[12:], src)
	copy(ip[16:], dst)
	be.PutUint16(ip[10:], checksum(ip, 0))
	seg := f[etherSize+ipSize:]
	be.PutUint16(seg[0:], sport)
	be.PutUint16(seg[2:], dport)
	be.PutUint32(seg[4:], s.seq)
	be.PutUint32(seg[8:], s.ack)
	seg[12], seg[13] = tcpSize/4<<4, s.flags
	be.PutUint16(seg[14:], 65535)
	be.PutUint32(seg[16:], 0)
	option := []byte{1, 1, 1, 1} // no operation
	if s.flags&syn != 0 {
		option = []byte{3, 3, 7, 0} // window scale 7 (RFC 7323), end of options
	}
	copy(seg[20:], option)
	be.PutUint16(seg[16:], checksum(seg, sum(ip[12:20])+6+tcpSize)) // with the pseudo header (RFC 9293, 3.1)
}

// packetPorts: Public:port to one server and port is unique for this many connections.
const packetPorts = 60000

// packetTuple is the original direction of connection i. Since the router keeps the port, the ports go round
// per server, unlike those of tuple.
func packetTuple(i int) (t struct {
	Src, Dst     [4]byte
	SrcL4, DstL4 uint16
}) {
	client := i % clients
	t.Src = [4]byte{10, 1, byte(client >> 8), byte(client)}
	t.Dst = [4]byte{203, 0, 113, byte(i%servers + 1)}
	t.SrcL4 = uint16(2000 + i/servers%packetPorts)
	t.DstL4 = 80
	return t
}

// sum of 16-bit words; len(b) must be even.
func sum(b []byte) (s uint32) {
	for ; len(b) > 0; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	return s
}

// checksum is the internet checksum (RFC 1071) of b, whose own field is zero, and what was summed before.
func checksum(b []byte, before uint32) uint16 {
	s := before + sum(b)
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
