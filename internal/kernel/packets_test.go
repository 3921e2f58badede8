package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"ctsync/engine/flow"
)

// router is the test's own network namespace between a client and a server:
//
//	client 10.77.1.2, fd77:1::2 --- c0 router s0 --- 192.0.2.2, fd77:2::2 server
//
// IPv4 is masqueraded behind 192.0.2.1; IPv6 to fd77:1::1 port 80 goes to the server's port 7000.
func router(t testing.TB) (client, server host) {
	t.Helper()
	newNetns(t)
	client, server = newHost(t, "client"), newHost(t, "server")
	sysctl := func(name, value string) error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }
	noWait := func() error { return sysctl("ipv6/conf/default/accept_dad", "0") } // link-local addresses at once
	if err := noWait(); err != nil {
		t.Fatal(err)
	}
	client.do(t, noWait)
	server.do(t, noWait)
	ip(t, "link set lo up")
	link(t, client, "c0", "10.77.1.1/24", "fd77:1::1/64", "10.77.1.2/24", "fd77:1::2/64")
	link(t, server, "s0", "192.0.2.1/24", "fd77:2::1/64", "192.0.2.2/24", "fd77:2::2/64")
	client.ip(t, "route add default via 10.77.1.1")
	client.ip(t, "-6 route add default via fd77:1::1")
	server.ip(t, "-6 route add default via fd77:2::1")
	for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := sysctl(f, "1"); err != nil {
			t.Fatal(err)
		}
	}
	nft(t, `
table inet nat {
	chain post {
		type nat hook postrouting priority 100
		oifname "s0" ip protocol { tcp, udp } masquerade to :30000-30999
		oifname "s0" ip protocol icmp masquerade
	}
	chain pre { type nat hook prerouting priority -100; ip6 daddr fd77:1::1 tcp dport 80 dnat ip6 to [fd77:2::2]:7000; }
}`)
	return client, server
}

func link(t testing.TB, h host, name, here4, here6, there4, there6 string) {
	t.Helper()
	ip(t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", name, h.name))
	ip(t, "addr add "+here4+" dev "+name)
	ip(t, "addr add "+here6+" dev "+name+" nodad")
	ip(t, "link set "+name+" up")
	h.ip(t, "addr add "+there4+" dev eth0")
	h.ip(t, "addr add "+there6+" dev eth0 nodad")
	h.ip(t, "link set eth0 up")
}

// serve answers one line per TCP connection and every UDP datagram on port 7000.
func serve(t testing.TB, server host) {
	t.Helper()
	server.do(t, func() error {
		l, err := net.Listen("tcp", ":7000")
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp4", ":7000")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				echo(c)
				c.Close()
			}
		}()
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				u.WriteTo(b[:n], from)
			}
		}()
		return nil
	})
}

func echo(c net.Conn) {
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err == nil {
		c.Write(b[:n])
	}
}

// exchange sends something and awaits the answer.
func exchange(network, from, to string) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	switch network {
	case "tcp":
		d.LocalAddr, _ = net.ResolveTCPAddr(network, from)
	case "udp":
		d.LocalAddr, _ = net.ResolveUDPAddr(network, from)
	}
	c, err := d.Dial(network, to)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 100))
	return err
}

// ping sends one echo request with the given id and awaits the answer.
func ping(to string, id uint16) error {
	c, err := net.Dial("ip4:icmp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	b := []byte{8, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 100))
	return err
}

func talk(t testing.TB, client host) {
	t.Helper()
	client.do(t, func() error {
		if err := exchange("tcp", "10.77.1.2:4001", "192.0.2.2:7000"); err != nil {
			return err
		}
		if err := exchange("udp", "10.77.1.2:4002", "192.0.2.2:7000"); err != nil {
			return err
		}
		if err := exchange("tcp", "[fd77:1::2]:4003", "[fd77:1::1]:80"); err != nil {
			return err
		}
		return ping("192.0.2.2", 4004)
	})
}

// key of a flow whose ports, or id and type, are given.
func key(l4 uint8, src string, sport uint16, dst string, dport uint16) flow.Key {
	f := newFlow(l4, src, sport, dst, dport)
	return f.Key
}

func TestEventsOfPackets(t *testing.T) {
	client, server := router(t)
	e := openEvents(t, EventsConfig{ReceiveBuffer: 1 << 20})
	raw := openEvents(t, EventsConfig{ReceiveBuffer: 1 << 20})
	serve(t, server)
	talk(t, client)
	events, lost := drain(t, e)
	if lost {
		t.Fatal("events lost")
	}
	of := map[flow.Key][]flow.Event{}
	for _, ev := range events {
		of[ev.Flow.Key] = append(of[ev.Flow.Key], ev)
	}
	outside, inside := addr("192.0.2.1"), addr("fd77:2::2")

	tcp := of[key(flow.TCP, "10.77.1.2", 4001, "192.0.2.2", 7000)]
	checkHistory(t, "tcp", tcp, flow.SrcNAT, []uint8{flow.TCPSynSent, flow.TCPSynRecv, flow.TCPEstablished})
	udp := of[key(flow.UDP, "10.77.1.2", 4002, "192.0.2.2", 7000)]
	checkHistory(t, "udp", udp, flow.SrcNAT, []uint8{0, 0})
	icmp := of[key(flow.ICMP, "10.77.1.2", 4004, "192.0.2.2", 8<<8)]
	checkHistory(t, "icmp", icmp, flow.SrcNAT, []uint8{0, 0})
	for _, ev := range append(append(tcp, udp...), icmp...) {
		a, l4, ok := ev.Flow.SourceNAT()
		if !ok || a != outside || ev.Flow.L4 != flow.ICMP && (l4 < 30000 || l4 > 30999) {
			t.Errorf("%v: translated to %v port %d", ev.Flow.Key, a, l4)
		}
	}
	tcp6 := of[key(flow.TCP, "fd77:1::2", 4003, "fd77:1::1", 80)]
	checkHistory(t, "tcp6", tcp6, flow.DstNAT, []uint8{flow.TCPSynSent, flow.TCPSynRecv, flow.TCPEstablished})
	for _, ev := range tcp6 {
		if a, l4, ok := ev.Flow.DestNAT(); !ok || a != inside || l4 != 7000 {
			t.Errorf("%v: translated to %v port %d", ev.Flow.Key, a, l4)
		}
	}
	established := tcp[2].Flow
	if established.WScale[0] == 0 || established.WScale[1] == 0 || established.TCPFlags[0]&flow.TCPFlagWindowScale == 0 {
		t.Errorf("scales %v, flags %v", established.WScale, established.TCPFlags)
	}
	checkDestroys(t, e, established)
	if *capture {
		captureEvents(t, raw)
	}
}

// checkHistory: the flow begins with a NEW, goes through the states and has the status bits.
func checkHistory(t *testing.T, name string, events []flow.Event, nat uint32, states []uint8) {
	t.Helper()
	if len(events) < len(states) {
		t.Fatalf("%s: %d events", name, len(events))
	}
	for i, state := range states {
		ev, kind := &events[i], flow.EventUpdate
		if i == 0 {
			kind = flow.EventNew
		}
		if ev.Kind != kind || ev.Flow.State != state || ev.Flow.Status&nat == 0 || ev.Flow.Timeout == 0 || ev.Flow.ID == 0 ||
			ev.Has&flow.HasRare != 0 {
			t.Errorf("%s: event %d is %+v", name, i, ev)
		}
		if seen := ev.Flow.Status&flow.SeenReply != 0; seen != (i > 0) {
			t.Errorf("%s: event %d has status %#x", name, i, ev.Flow.Status)
		}
	}
}

// checkDestroys: an entry that packets made is deleted by what an event said of it, and says so.
func checkDestroys(t *testing.T, e *Events, f flow.Flow) {
	t.Helper()
	mustDo(t, openWriter(t), ops(flow.OpDelete, f))
	events, _ := drain(t, e)
	if len(events) != 1 || events[0].Kind != flow.EventDestroy || events[0].Flow.Key != f.Key || events[0].Flow.ID != f.ID {
		t.Errorf("after the delete: %+v", events)
	}
}
