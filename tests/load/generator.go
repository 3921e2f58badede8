package load

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
	"ctsync/internal/kernel"
)

// Plan is what to generate.
type Plan struct {
	Shape Shape
	First int // number of the first connection
	Count int // connections
	Rate  int // events/s, 0: as fast as it goes
	Batch int // operations at a time, 0: one at a fixed rate, as packets come; 128 as fast as it goes
	// Gap is by how many connections the steps of one are apart, 0: 1000. It is the age that a connection
	// reaches: at 8,000 connections/s an eighth of a second lies between two steps.
	Gap int
	// Delete deletes the connections instead.
	Delete bool
	// Progress is told how many events there have been, after each batch; it may be nil.
	Progress func(events int)
}

// Burst is how many operations there are at a time where as many as possible are wanted.
const Burst = 128

// Report tells what was done.
type Report struct {
	Events  int           `json:"events"`
	Failed  int           `json:"failed"`
	Reason  string        `json:"reason,omitempty"` // of the first failure
	Elapsed time.Duration `json:"elapsed_ns"`
	CPU     time.Duration `json:"cpu_ns"` // of this process, its system calls included
}

// PerSecond is the rate that was reached.
func (r *Report) PerSecond() float64 { return float64(r.Events) / r.Elapsed.Seconds() }

// CPUPerEvent is the generator's own cost, the kernel's work included.
func (r *Report) CPUPerEvent() time.Duration { return r.CPU / time.Duration(max(r.Events, 1)) }

// Run carries out p by ctnetlink, in the calling thread's network namespace. Operations that the kernel refuses
// are counted, not an error.
func Run(p Plan) (Report, error) {
	w, err := kernel.OpenWriter()
	if err != nil {
		return Report{}, fmt.Errorf("load: %w", err)
	}
	defer w.Close()
	if p.Delete {
		p.Shape.Steps = []Step{{Kind: flow.OpDelete}}
	}
	if p.Batch == 0 {
		p.Batch = 1
		if p.Rate == 0 {
			p.Batch = Burst
		}
	}
	if p.Gap == 0 {
		p.Gap = 1000
	}
	g := generator{plan: p, do: w.Do}
	m := begin(p.Rate)
	g.run(m)
	m.end(&g.report)
	return g.report, nil
}

// generator goes through the connections in order; each of the steps follows the one before it by Gap.
type generator struct {
	plan    Plan
	do      func([]flow.Op, []flow.Result) []flow.Result
	ops     []flow.Op
	results []flow.Result
	report  Report
}

func (g *generator) run(m *meter) {
	p := &g.plan
	last := p.Count + (len(p.Shape.Steps)-1)*p.Gap
	for at := range last {
		for k := range p.Shape.Steps {
			if i := at - k*p.Gap; i >= 0 && i < p.Count {
				g.add(p.Shape.op(p.First+i, k), m)
			}
		}
	}
	g.flush()
}

// add carries op out, with others as soon as there are enough.
func (g *generator) add(op flow.Op, m *meter) {
	if g.ops = append(g.ops, op); len(g.ops) >= g.plan.Batch {
		g.flush()
		m.pace(g.report.Events)
	}
}

func (g *generator) flush() {
	if len(g.ops) == 0 {
		return
	}
	g.results = g.do(g.ops, g.results[:0])
	for i := range g.results {
		if errno := g.results[i].Errno; errno != 0 {
			if g.report.Failed++; g.report.Failed == 1 {
				g.report.Reason = errno.Error()
			}
		}
	}
	g.report.Events += len(g.ops)
	g.ops = g.ops[:0]
	if g.plan.Progress != nil {
		g.plan.Progress(g.report.Events)
	}
}

// meter keeps a rate, and measures time and CPU.
type meter struct {
	rate  int
	start time.Time
	cpu   time.Duration
}

func begin(rate int) *meter { return &meter{rate, time.Now(), ownCPU()} }

// pace waits until done things are due. The kernel's own sleep is precise to some 60 us; the runtime's timers
// are to a millisecond.
func (m *meter) pace(done int) {
	if m.rate == 0 {
		return
	}
	due := m.start.Add(time.Duration(done) * time.Second / time.Duration(m.rate))
	if wait := time.Until(due); wait > 0 {
		ts := unix.NsecToTimespec(wait.Nanoseconds())
		_ = unix.Nanosleep(&ts, nil) // cut short by a signal: the next one makes up for it
	}
}

func (m *meter) end(r *Report) {
	r.Elapsed, r.CPU = time.Since(m.start), ownCPU()-m.cpu
}

func ownCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic("load: CLOCK_PROCESS_CPUTIME_ID: " + err.Error()) // Linux has had it since 2.6.12
	}
	return time.Duration(syscall.TimespecToNsec(syscall.Timespec(ts)))
}
