package main

import (
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
	"ctsync/tests/load"
)

// Lag is measured under a load of the same shape. To the standby's kernel: marker flows are made one after another
// in the active node's kernel, and asked for in the standby's until they are there. To a cache, which cannot be
// asked for one flow cheaply: the number of flows in it is compared with the times at which the generator made
// as many.

const (
	markersFrom = 12_000_000 // numbers of connections that no load has
	markerPause = 2 * time.Millisecond
	markerLimit = 2 * time.Second
	look        = 30 * time.Microsecond
)

// lagToKernel is the lags of marker flows while w goes on.
func (l *lab) lagToKernel(w work) ([]time.Duration, error) {
	var lags []time.Duration
	err := l.during(w, nil, func(over func() bool) error {
		source, err := l.writerIn(l.a)
		if err != nil {
			return err
		}
		defer source.Close()
		goal, err := l.writerIn(l.b)
		if err != nil {
			return err
		}
		defer goal.Close()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		for i := markersFrom; !over(); i++ {
			lags = append(lags, mark(source, goal, i))
			nap(markerPause)
		}
		return nil
	})
	return lags, err
}

// writerIn opens a writer whose socket belongs to a namespace, for any thread to use.
func (l *lab) writerIn(ns string) (w *kernel.Writer, err error) {
	err = inside(ns, func() error { w, err = kernel.OpenWriter(); return err })
	return w, err
}

// mark is the time from the event of one marker to its entry in the other kernel, at most markerLimit.
func mark(source, goal *kernel.Writer, i int) time.Duration {
	f := load.Established.Flow(i)
	f.Status, f.State, f.Timeout = flow.Confirmed|flow.SeenReply|flow.Assured, flow.TCPEstablished, 432000
	source.Do([]flow.Op{{Kind: flow.OpCreate, Flow: f}}, nil)
	began := time.Now()
	for {
		r := goal.Do([]flow.Op{{Kind: flow.OpGet, Flow: f}}, nil)
		if d := time.Since(began); r[0].Errno == 0 || d > markerLimit {
			return d
		}
		nap(look)
	}
}

func nap(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil)
}

// lagToCache samples how many flows held tells, and how old the newest of them is.
func (l *lab) lagToCache(w work, held func() (int, error)) ([]time.Duration, error) {
	type point struct {
		at     time.Time
		events int
	}
	var mu sync.Mutex
	var made []point
	var lags []time.Duration
	progress := func(events int) {
		mu.Lock()
		made = append(made, point{time.Now(), events})
		mu.Unlock()
	}
	err := l.during(w, progress, func(over func() bool) error {
		for !over() {
			n, err := held()
			if err != nil {
				return err
			}
			now := time.Now()
			mu.Lock()
			if i := sort.Search(len(made), func(i int) bool { return made[i].events >= n }); n > 0 && i < len(made) {
				lags = append(lags, max(0, now.Sub(made[i].at)))
			}
			mu.Unlock()
			nap(2 * markerPause)
		}
		return nil
	})
	return lags, err
}

// during runs w in this process, and f beside it from soon after the beginning.
func (l *lab) during(w work, progress func(int), f func(over func() bool) error) error {
	shape, err := load.ShapeOf(w.shape)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		failed <- inside(l.a, func() error {
			_, err := load.Run(load.Plan{Shape: shape, Count: w.n, Rate: w.rate, Batch: 16, Progress: progress})
			return err
		})
		close(ended)
	}()
	time.Sleep(200 * time.Millisecond)
	err = f(func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	<-ended
	if bad := <-failed; err == nil {
		err = bad
	}
	return err
}

// quantile of durations, in microseconds.
func quantile(ds []time.Duration, q float64) float64 {
	if len(ds) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(ds))
	return float64(s[int(q*float64(len(s)-1)+0.5)].Nanoseconds()) / 1000
}
