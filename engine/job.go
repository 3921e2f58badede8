package engine

// job is work over the whole table that is done in slices, so that no Step takes long. step is called until
// it says that the job is done; it gets the number of entries that it may look at and says how many it did.
type job struct {
	step func(budget int) (used int, done bool)
	name string // adoption jobs hold up the takeover
	// afterWriter has the job wait while much is to be written already: what changes meanwhile is written after that,
	// and not after all that the job finds.
	afterWriter bool
}

const jobAdopt = "adopt"

// sliceEntries is how many entries one Step looks at for jobs: some milliseconds at most.
const sliceEntries = 8192

func (e *Engine) addJob(j job) { e.jobs = append(e.jobs, j) }

func (e *Engine) runJobs() {
	budget := sliceEntries
	for len(e.jobs) > 0 && budget > 0 && !e.jobWaits() {
		b := budget
		if e.jobs[0].afterWriter {
			b = min(b, max(fillAhead-e.writer.pending(), 1))
		}
		used, done := e.jobs[0].step(b)
		budget -= max(used, 1)
		if done {
			e.jobs = append(e.jobs[:0], e.jobs[1:]...)
		}
	}
}

// fillAhead is how many entries wait for the writer at most because of a job that has time: some milliseconds' work.
const fillAhead = 2 * maxOutstanding

// jobWaits says that the next job leaves the writer time. A takeover does not.
func (e *Engine) jobWaits() bool {
	return len(e.jobs) > 0 && e.jobs[0].afterWriter && e.role.is == Standby && e.writer.pending() >= fillAhead
}

func (e *Engine) hasJob(name string) bool {
	for i := range e.jobs {
		if e.jobs[i].name == name {
			return true
		}
	}
	return false
}

// dropJobs forgets the jobs of that name.
func (e *Engine) dropJobs(name string) {
	kept := e.jobs[:0]
	for _, j := range e.jobs {
		if j.name != name {
			kept = append(kept, j)
		}
	}
	clear(e.jobs[len(kept):])
	e.jobs = kept
}

// scanEntries is a job that visits every entry that is in use when it gets there.
func (e *Engine) scanEntries(visit func(ref)) job {
	next := ref(1)
	return job{step: func(budget int) (int, bool) {
		n := 0
		for ; next <= e.tbl.Top() && n < budget; next++ {
			n++
			if e.tbl.Used(next) {
				visit(next)
				e.release(next)
			}
		}
		return n, next > e.tbl.Top()
	}}
}

// finish is a job that calls f once, after the jobs before it.
func finish(f func()) job {
	return job{step: func(int) (int, bool) { f(); return 0, true }}
}

// release frees entry r if nothing needs it any more.
func (e *Engine) release(r ref) {
	if r == 0 || !e.tbl.Used(r) || e.dump.running && e.tbl.Entry(r).Stamp == e.dump.generation {
		return
	}
	e.tbl.Release(r)
}
