package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Rough is what a bad link does to frames: shares of 100 by throws of dice that Seed decides, for each direction its own.
type Rough struct {
	Seed      uint64
	Lose      int
	Duplicate int           // come twice, the second one late
	Late      int           // come up to Delay late, so that others overtake them
	Delay     time.Duration // at most
}

// Carried is what became of the frames on a rough link, both ways.
type Carried struct{ Frames, Lost, Doubled, Late uint64 }

// relay carries frames between the two ends of a sync link in place of its switch.
type relay struct {
	ends                            [2]*os.File
	reading                         sync.WaitGroup
	late                            sync.WaitGroup // frames under way
	carried, lost, doubled, delayed atomic.Uint64
}

// RoughSync has every frame on the sync cable of that number go through a program, which loses, doubles and delays as told,
// until SmoothSync.
func (l *Lab) RoughSync(number int, how Rough) error {
	link := l.R1.Syncs()[number]
	v := &relay{}
	for i, r := range l.Routers() {
		if _, err := l.Switches.Run("ip", "link", "set", r.port(link), "nomaster"); err != nil {
			return err
		}
		err := l.Switches.Do(func() (err error) {
			v.ends[i], err = openPort(r.port(link))
			return err
		})
		if err != nil {
			return err
		}
	}
	for i := range v.ends {
		v.reading.Go(func() { v.carry(v.ends[i], v.ends[1-i], how, rand.New(rand.NewPCG(how.Seed, uint64(i)))) })
	}
	l.relays[number] = v
	return nil
}

// SmoothSync ends RoughSync once what is late has come, and says what became of how many frames.
func (l *Lab) SmoothSync(number int) (Carried, error) {
	v := l.relays[number]
	if v == nil {
		return Carried{}, fmt.Errorf("lab: sync link %d is not rough", number)
	}
	delete(l.relays, number)
	var errs []error
	for _, end := range v.ends {
		errs = append(errs, end.SetReadDeadline(time.Now()))
	}
	v.reading.Wait()
	v.late.Wait()
	link := l.R1.Syncs()[number]
	for i, r := range l.Routers() {
		_, err := l.Switches.Run("ip", "link", "set", r.port(link), "master", "br-"+link)
		errs = append(errs, v.ends[i].Close(), err)
	}
	c := Carried{Frames: v.carried.Load(), Lost: v.lost.Load(), Doubled: v.doubled.Load(), Late: v.delayed.Load()}
	return c, errors.Join(errs...)
}

// openPort opens an interface for whole frames, each after ten bytes that say which of its checksums the kernel has yet to
// fill in (virtio_net_hdr; packet(7)). What is sent by it is not received by it.
func openPort(name string) (*os.File, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("lab: %s: %w", name, err)
	}
	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("lab: packet socket: %w", err)
	}
	for option, value := range map[int]int{unix.PACKET_VNET_HDR: 1, unix.PACKET_IGNORE_OUTGOING: 1} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, value); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("lab: packet socket: %w", err)
		}
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: link.Index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("lab: bind to %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carry brings frames from one end to the other until the time to read is over.
func (v *relay) carry(from, to *os.File, how Rough, dice *rand.Rand) {
	frame := make([]byte, 70000)
	for {
		n, err := from.Read(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // the link went down for a moment
		}
		v.carried.Add(1)
		if dice.IntN(100) < how.Lose {
			v.lost.Add(1)
			continue
		}
		late := dice.IntN(100) < how.Late
		if dice.IntN(100) < how.Duplicate {
			v.doubled.Add(1)
			v.later(to, frame[:n], time.Duration(dice.Int64N(int64(how.Delay))))
		}
		if late {
			v.delayed.Add(1)
			v.later(to, frame[:n], time.Duration(dice.Int64N(int64(how.Delay))))
			continue
		}
		_, _ = to.Write(frame[:n])
	}
}

// later writes a copy of the frame after that time.
func (v *relay) later(to *os.File, frame []byte, after time.Duration) {
	frame = bytes.Clone(frame)
	v.late.Add(1)
	time.AfterFunc(after, func() {
		defer v.late.Done()
		_, _ = to.Write(frame)
	})
}
