package rawio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type end struct {
	*Socket
	addr netip.AddrPort
}

func open(t testing.TB, network, address string) end {
	t.Helper()
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	at := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	s, err := NewSocket(pc.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return end{s, at}
}

// TestThereAndBack: what is sent arrives whole, in order, and from whom it was sent; what is too long is told as cut.
func TestThereAndBack(t *testing.T) {
	for _, c := range []struct{ network, address string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(c.network, func(t *testing.T) {
			a, b := open(t, c.network, c.address), open(t, c.network, c.address)
			to := NewDestination(b.addr, 1)
			for _, text := range []string{"one", "two", "three", "far too long"} {
				if err := a.Send([]byte(text), &to, 0); err != nil {
					t.Fatal(err)
				}
			}
			in := NewNamedBatch(3, 8)
			var got []string
			for len(got) < 4 {
				n, err := b.Receive(in, 3)
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
			if _, err := b.Try(in, 3); err != unix.EAGAIN {
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

// TestReceiveEndsAtTheDeadline, and a wait for whatever else is watched.
func TestReceiveEndsAtTheDeadline(t *testing.T) {
	a := open(t, "udp4", "127.0.0.1:0")
	if err := a.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Receive(NewBatch(1, 8), 1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("receive: %v", err)
	}
	if err := a.Wait(func(uintptr) bool { return a.Readable() }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
}

// TestWaitWatchesTheOthers: what comes to another file ends a wait, too.
func TestWaitWatchesTheOthers(t *testing.T) {
	other := open(t, "udp4", "127.0.0.1:0")
	var pair [2]int
	if err := unix.Pipe2(pair[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	s, err := OwnSocket(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Watch(other.fd); err != nil {
		t.Fatal(err)
	}
	to := NewDestination(other.addr, 0)
	time.AfterFunc(5*time.Millisecond, func() { _ = other.Send([]byte("x"), &to, 0) })
	asked := 0
	if err := s.Wait(func(uintptr) bool { asked++; return other.Readable() }); err != nil || asked < 2 || s.Readable() {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

// TestCloseEndsEverything: a Receive under way, and what comes later.
func TestCloseEndsEverything(t *testing.T) {
	a := open(t, "udp4", "127.0.0.1:0")
	time.AfterFunc(5*time.Millisecond, a.Close)
	in, to := NewBatch(1, 8), NewDestination(a.addr, 0)
	for range 2 {
		if _, err := a.Receive(in, 1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("receive: %v", err)
		}
	}
	if err := a.Send([]byte("x"), &to, 0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if _, err := a.Conn(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("conn: %v", err)
	}
}

// TestReceiveIsWokenEachTime: the poller's edges are not lost, whoever else sends meanwhile.
func TestReceiveIsWokenEachTime(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0"), open(t, "udp4", "127.0.0.1:0")
	there, back := NewDestination(b.addr, 0), NewDestination(a.addr, 0)
	go func() {
		in := NewBatch(4, 8)
		for {
			if _, err := b.Receive(in, 4); err != nil {
				return
			}
			_ = b.Send([]byte("y"), &back, 0)
		}
	}()
	in := NewBatch(4, 8)
	for i := range 2000 {
		if err := a.Send([]byte("x"), &there, 0); err != nil {
			t.Fatal(err)
		}
		if n, err := a.Receive(in, 4); n != 1 || err != nil {
			t.Fatalf("round %d: %d, %v", i, n, err)
		}
	}
}

// TestNoGarbage: the hot paths allocate nothing.
func TestNoGarbage(t *testing.T) {
	a, b := open(t, "udp4", "127.0.0.1:0"), open(t, "udp4", "127.0.0.1:0")
	to, in, payload := NewDestination(b.addr, 0), NewBatch(4, 8), []byte("x")
	if n := testing.AllocsPerRun(100, func() {
		if err := a.Send(payload, &to, 0); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Receive(in, 4); n != 1 || err != nil {
			t.Fatal(n, err)
		}
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

// TestTimer: it fires when it is to, however often it is set, and ends.
func TestTimer(t *testing.T) {
	timer, err := NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	began := Boottime()
	timer.Set(began.Add(time.Hour))
	timer.Set(began.Add(5 * time.Millisecond))
	if !timer.Wait() || Boottime().Sub(began) < 5*time.Millisecond {
		t.Error("too early")
	}
	timer.Set(began)
	if !timer.Wait() {
		t.Error("a time that is over")
	}
	timer.Set(time.Unix(0, 0))
	if !timer.Wait() {
		t.Error("the beginning of time")
	}
	time.AfterFunc(5*time.Millisecond, timer.Close)
	for range 2 {
		if timer.Wait() {
			t.Error("it fires though it is closed")
		}
	}
	timer.Set(began)
}

// TestReadNow does not wait.
func TestReadNow(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	into := make([]byte, 16)
	if n, err := ReadNow(fds[0], into); err != unix.EAGAIN {
		t.Errorf("%d, %v of nothing", n, err)
	}
	if err := Write(fds[1], []byte("there")); err != nil {
		t.Error(err)
	}
	if n, err := ReadNow(fds[0], into); err != nil || string(into[:n]) != "there" {
		t.Errorf("%q, %v", into[:max(n, 0)], err)
	}
	if err := Write(-1, into); err != unix.EBADF {
		t.Errorf("%v of no file", err)
	}
}
