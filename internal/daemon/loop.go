package daemon

import (
	"context"
	"sync"
	"time"

	"ctsync/engine"
	"ctsync/engine/flow"
	"ctsync/internal/rawio"
	"ctsync/vrrp"
)

// loop owns the engine: whoever has an input takes the lock, steps, and carries out what came of it. It is
// safe for concurrent use.
type loop struct {
	mu     sync.Mutex
	engine *engine.Engine
	out    outlets

	timer *rawio.Timer // of run
	fires time.Time    // when it does; zero: it has

	routine func() // of run, about every so often; nil: none
	every   time.Duration
	due     time.Time // from then on it is done at the next wake-up, at the latest every/2 later

	replies map[uint64]chan engine.Reply
	lastID  uint64
	over    bool // no more steps

	allEvents bool // the engine needs all of them
}

// outlets carry out an Output. The lock is held: only post may wait, and no longer than a stuck link makes it.
type outlets struct {
	allEvents func()
	operate   func(ops []flow.Op, soon bool) // soon: who steps carries them out afterwards
	dump      func(uint64)
	post      func([]engine.Datagram)
	ready     func(r engine.Readiness, role engine.Role, followed bool)
	note      func(engine.Note)
}

func newLoop(e *engine.Engine) (*loop, error) {
	t, err := rawio.NewTimer()
	if err != nil {
		return nil, err
	}
	t.Set(time.Time{})
	return &loop{engine: e, timer: t, replies: map[uint64]chan engine.Reply{}}, nil
}

// step gives the engine one input.
func (l *loop) step(in engine.Input) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stepLocked(in)
}

func (l *loop) stepLocked(in engine.Input) {
	if l.over {
		return
	}
	out := l.engine.Step(rawio.Boottime(), in)
	if out.AllEvents && !l.allEvents {
		l.allEvents = true
		l.out.allEvents()
	}
	if len(out.Ops) > 0 {
		_, heard := in.(*engine.Datagrams)
		l.out.operate(out.Ops, heard)
	}
	if out.Dump != 0 {
		l.out.dump(out.Dump)
	}
	if len(out.Datagrams) > 0 {
		l.out.post(out.Datagrams)
	}
	l.out.ready(out.Ready, l.engine.Role(), l.engine.Followed())
	for _, r := range out.Replies {
		if c := l.replies[r.ID]; c != nil {
			delete(l.replies, r.ID)
			c <- r
		}
	}
	for _, n := range out.Notes {
		l.out.note(n)
	}
	l.arm()
}

// arm sets the timer to the deadline, or to when the routine is due. One that fires soon before it stays: to move it would cost more
// than to look once too often, since the deadline moves with every change and every datagram.
func (l *loop) arm() {
	d := l.engine.Deadline()
	if l.routine != nil {
		d = earlier(d, l.due.Add(l.every/2))
	}
	if later := d.Sub(l.fires); !l.fires.IsZero() && later >= 0 && later < worthMoving {
		return
	}
	l.fires = d
	l.timer.Set(d)
}

// worthMoving is more than there is between two deadlines of a node that is not idle.
const worthMoving = 200 * time.Millisecond

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// run steps at every deadline until ctx ends, and does the routine meanwhile.
func (l *loop) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.timer.Close)
	defer stop()
	for l.timer.Wait() {
		if l.fired() {
			l.routine()
		}
	}
}

// fired says whether it is time for the routine. It waits for a heartbeat: a wake-up of its own would cost more than what it does.
func (l *loop) fired() (routine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fires = time.Time{}
	now := rawio.Boottime()
	if l.routine != nil && !now.Before(l.due) {
		routine, l.due = true, now.Add(l.every*3/4)
	}
	if l.engine.Deadline().After(now) {
		l.arm()
		return routine
	}
	l.stepLocked(&engine.Tick{})
	return routine
}

// status is the engine's, with its times moved to the wall clock.
func (l *loop) status() engine.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.engine.Status()
	shift := time.Since(rawio.Boottime()).Round(time.Millisecond)
	for _, t := range []*time.Time{&s.Now, &s.Started, &s.RoleSince, &s.VRRPSince, &s.Activity.LastTakeover} {
		if !t.IsZero() {
			*t = t.Add(shift)
		}
	}
	return s
}

// untold is Engine.Untold.
func (l *loop) untold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.Untold()
}

// heardOfGroup says whether anybody has told the group's state.
func (l *loop) heardOfGroup() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.Status().VRRP != vrrp.Unknown
}

// command runs one of the engine's verbs and waits for its answer.
func (l *loop) command(ctx context.Context, v engine.Verb) (engine.Reply, error) {
	c := make(chan engine.Reply, 1)
	l.mu.Lock()
	l.lastID++
	id := l.lastID
	l.replies[id] = c
	l.stepLocked(&engine.Command{ID: id, Verb: v})
	l.mu.Unlock()
	select {
	case r := <-c:
		return r, nil
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.replies, id)
		l.mu.Unlock()
		return engine.Reply{}, ctx.Err()
	}
}

// list gives every flow of a cache to each, a piece at a time so that the engine goes on between them.
func (l *loop) list(page func(at uint32, into []flow.Flow) (int, uint32), each func([]flow.Flow) error) error {
	buf := make([]flow.Flow, 1024)
	for at := uint32(1); at != 0; {
		l.mu.Lock()
		var n int
		n, at = page(at, buf)
		l.mu.Unlock()
		if n == 0 {
			continue
		}
		if err := each(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}
