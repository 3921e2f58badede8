package live

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
	"ctsync/tests/lab"
)

// A standby's kernel that lost its copies has them again within 2 s for every 100,000, and the active node never
// hears of it.
func TestFlushedStandby(t *testing.T) {
	t.Parallel()
	flows := pick(20000, 100000)
	l := run(t, patient)
	coming := &churn{router: l.R1}
	if err := coming.turn(flows, 0, 0); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	for range pick(1, 5) {
		began := time.Now()
		inside(t, l.R2, "conntrack -F")
		flushed := time.Since(began)
		await(t, "the copies", 20*time.Second, func() bool { return count(t, l.R2) >= flows })
		awaitState(t, l.R2, "in sync", 20*time.Second, func(s status) bool {
			return s.Code == 0 && s.Kernel.Pending == 0 && s.Kernel.Outstanding == 0
		})
		took := time.Since(began)
		t.Logf("%d flows flushed in %s, all there again %s after that", flows, flushed.Round(time.Millisecond), (took - flushed).Round(time.Millisecond))
		if long && took-flushed > 2*time.Second*time.Duration(flows)/100000 {
			t.Errorf("the standby was whole again only after %s", took-flushed)
		}
		coming.left(t, "the flush of the standby")
		same(t, l, "the flush of the standby")
	}
}

// Whatever ends a copy on the standby (its time, an administrator, a flush): the active node keeps its flow, and the
// standby gets another copy.
func TestCopiesEnd(t *testing.T) {
	t.Parallel()
	l := run(t, patient)
	coming := &churn{router: l.R1}
	if err := coming.turn(500, 0, 0); err != nil {
		t.Fatal(err)
	}
	settled(t, l)
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"time", func() { expire(t, l.R2, 500) }},
		{"deletion", func() { inside(t, l.R2, "conntrack -D -p tcp --dport 443") }},
		{"flush", func() { inside(t, l.R2, "conntrack -F") }},
	} {
		c.do()
		await(t, "the copies to be there after "+c.name, 10*time.Second, func() bool { return lists(t, l.R2, "src=10.11.") == 500 })
		settled(t, l)
		coming.left(t, c.name)
		same(t, l, c.name)
	}
	if s := state(t, l.R1); s.Internal.Destroyed != 0 || s.Internal.Active != 500 {
		t.Errorf("the active node's cache: %+v", s.Internal)
	}
}

// expire lets the router's entries of the first connections run out.
func expire(t *testing.T, r *lab.Router, connections int) {
	t.Helper()
	err := r.Write(func(w *kernel.Writer) error {
		var ops []flow.Op
		for i := range connections {
			ops = append(ops, flow.Op{Kind: flow.OpUpdate, Flow: lab.FurtherFlow(i)})
			ops[i].Flow.Timeout = 1
		}
		for _, result := range w.Do(ops, nil) {
			if result.Errno != 0 {
				return result.Errno
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
}

// What says little for long is on the standby when it is needed: UDP with a packet a second and a timeout of three,
// which its packets renew without an event, and TCP that says nothing.
func TestQuietFlows(t *testing.T) {
	t.Parallel()
	l := run(t, patient)
	for _, r := range l.Routers() {
		for _, key := range []string{"udp_timeout=3", "udp_timeout_stream=3", "tcp_timeout_established=30"} {
			inside(t, r, "sysctl -qw net.netfilter.nf_conntrack_"+key)
		}
	}
	talk, idle := quietUDP(t, l), quietTCP(t, l)
	idle(t, "at start")
	source := talk(t)
	both := func() bool { return lists(t, l.R2, "dport=9001") == 1 && lists(t, l.R2, "dport=9002") == 1 }
	await(t, "both flows on the standby", 5*time.Second, both)
	for end := time.Now().Add(time.Duration(pick(8, 25)) * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		source = talk(t)
		if !both() {
			t.Fatalf("the standby has not both flows:\n%s", inside(t, l.R2, "conntrack -L"))
		}
	}
	if err := errors.Join(l.PowerCut(l.R1), l.WaitMaster(l.R2, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	idle(t, "after the takeover")
	if now := talk(t); now != source {
		t.Errorf("the server sees %s where it saw %s", now, source)
	}
}

// quietUDP gives a function that sends one datagram to the server and says where it came from.
func quietUDP(t *testing.T, l *lab.Lab) func(t *testing.T) netip.AddrPort {
	t.Helper()
	var server, client *net.UDPConn
	err := errors.Join(l.Server.Do(func() (err error) {
		server, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 9001})
		return err
	}), l.Client.Do(func() (err error) {
		client, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: lab.ServerAddress.AsSlice(), Port: 9001})
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return func(t *testing.T) netip.AddrPort {
		t.Helper()
		b := make([]byte, 10)
		for range 5 { // a first packet after a takeover may wait for a neighbour
			if _, err := client.Write([]byte("quiet")); err != nil {
				t.Fatal(err)
			}
			_ = server.SetReadDeadline(time.Now().Add(time.Second))
			if _, from, err := server.ReadFromUDPAddrPort(b); err == nil {
				_, _ = server.WriteToUDPAddrPort(b, from)
				_ = client.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = client.Read(b)
				return from
			}
		}
		t.Fatal("the server hears nothing")
		return netip.AddrPort{}
	}
}

// quietTCP gives a function that has the server echo a byte; nothing else is said.
func quietTCP(t *testing.T, l *lab.Lab) func(t *testing.T, when string) {
	t.Helper()
	var listener net.Listener
	var client net.Conn
	quiet := net.ListenConfig{KeepAlive: -1}
	dialer := net.Dialer{KeepAlive: -1, Timeout: 3 * time.Second}
	err := l.Server.Do(func() (err error) {
		listener, err = quiet.Listen(t.Context(), "tcp4", ":9002")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for b := make([]byte, 1); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
			_, _ = c.Write(b)
		}
	}()
	err = l.Client.Do(func() (err error) {
		client, err = dialer.Dial("tcp4", netip.AddrPortFrom(lab.ServerAddress, 9002).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return func(t *testing.T, when string) {
		t.Helper()
		_ = client.SetDeadline(time.Now().Add(5 * time.Second))
		b := []byte{7}
		_, err := client.Write(b)
		if err == nil {
			_, err = client.Read(b)
		}
		if err != nil {
			t.Errorf("the idle connection %s: %v", when, err)
		}
	}
}
