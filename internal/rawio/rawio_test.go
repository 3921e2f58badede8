package rawio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type end struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	addr netip.AddrPort
}

func open(t testing.TB, network, address string) end {
	t.Helper()
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	c := pc.(*net.UDPConn)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return end{c, raw, c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// TestThereAndBack: what is sent arrives whole, in order, and from whom it was sent; what is too long is told as cut.
func TestThereAndBack(t *testing.T) {
	for _, c := range []struct{ network, address string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(c.network, func(t *testing.T) {
			a, b := open(t, c.network, c.address), open(t, c.network, c.address)
			out, to := NewSender(a.raw), NewDestination(b.addr, 1)
			for _, text := range []string{"one", "two", "three", "far too long"} {
				if err := out.Send([]byte(text), &to); err != nil {
					t.Fatal(err)
				}
			}
			in := NewBatch(3, 8)
			var got []string
			for len(got) < 4 {
				n, err := in.Receive(b.raw, 3, 0)
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					data, whole := in.Datagram(i)
					if in.From(i) != a.addr {
						t.Errorf("from %v, want %v", in.From(i), a.addr)
					}
					if want := len(got) < 3; whole != want {
						t.Errorf("%q is whole: %v", data, whole)
					}
					got = append(got, string(data))
				}
			}
			if want := []string{"one", "two", "three", "far too "}; !equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if _, err := in.Try(b.raw, 3); err != unix.EAGAIN {
				t.Errorf("with nothing there: %v", err)
			}
		})
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestGatherWaitsForMore: what comes a little later is in the same batch.
func TestGatherWaitsForMore(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0"), open(t, "udp4", "127.0.0.1:0")
	out, to := NewSender(a.raw), NewDestination(b.addr, 0)
	go func() {
		for range 3 {
			_ = out.Send([]byte("x"), &to)
		}
	}()
	if n, err := NewBatch(8, 8).Receive(b.raw, 8, 200*time.Millisecond); n != 3 || err != nil {
		t.Errorf("%d datagrams, %v", n, err)
	}
}

// TestReceiveEnds: at the deadline, and when the socket is closed.
func TestReceiveEnds(t *testing.T) {
	for _, gather := range []time.Duration{0, time.Millisecond} {
		b := open(t, "udp4", "127.0.0.1:0")
		in := NewBatch(1, 8)
		if err := b.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Receive(b.raw, 1, gather); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
		_ = b.conn.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Millisecond, func() { b.conn.Close() })
		if _, err := in.Receive(b.raw, 1, gather); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
}

// TestNoGarbage: the hot paths allocate nothing.
func TestNoGarbage(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0"), open(t, "udp4", "127.0.0.1:0")
	out, to, in, payload := NewSender(a.raw), NewDestination(b.addr, 0), NewBatch(4, 8), []byte("x")
	if n := testing.AllocsPerRun(100, func() {
		if err := out.Send(payload, &to); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Receive(b.raw, 4, time.Microsecond); err != nil {
			t.Fatal(err)
		}
		_, _ = in.Try(b.raw, 4)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBoottime(t *testing.T) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	if d := Boottime().Sub(time.Unix(ts.Unix())); d < 0 || d > time.Minute {
		t.Errorf("%v apart", d)
	}
}
