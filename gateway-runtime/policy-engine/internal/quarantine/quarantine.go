// Package quarantine decides which policy instances are not executed for a while, because processes crash while they
// run. It knows instances by their ids, and knows no processes, streams or executions.
//
// A policy that ends its process (os._exit, a segmentation fault, unbounded memory) also ends all executions of other
// policies there. So every instance with executions under way when a process crashed is a candidate for quarantine: its
// executions are then answered without being sent.
//
// Most candidates are innocent. They are distinguished by their answers between the crashes: an innocent instance
// answers many executions, the culprit few or none. So of all candidates of a crash at most one is put under
// quarantine, the one with the fewest answers. If it is the wrong one, processes crash on without it, the next crash
// yields the next candidate, and the probe of the innocent one ends its quarantine.
//
// A policy that holds the interpreter of its process (a regular expression that never ends) needs no such guess: the
// line where the process stands identifies it, and the first time puts it under quarantine.
package quarantine

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/backoff"
)

const (
	answeredPerCrash     = 10 // an instance that answers more executions than this between two crashes did not cause them
	windowsToStartAfresh = 20 // times the window without a crash, after which the next quarantine is as short as the first
)

// Options are the limits of a CrashTracker. All must be above zero.
type Options struct {
	Crashes int           // crashed processes, within Window, that put an instance under quarantine
	Window  time.Duration // the time in which crashes count
	Min     time.Duration // how long the first quarantine lasts; each one after it lasts twice as long
	Max     time.Duration // how long the longest one lasts
}

// ID identifies an instance in a CrashTracker; ids are unique among those that it tracks.
type ID uint64

// Instance describes an instance in log lines and Status.
type Instance struct {
	ID     ID
	Policy string // name:version
	API    string
	Name   string // the instance's id in metrics and logs; an edit may leave two live instances of one name
}

// Candidate is an instance that had executions under way in a process when it crashed.
type Candidate struct {
	ID       ID
	Answered uint64 // executions of the instance answered so far, by any process
	Alone    bool   // no other instance had executions under way there
}

// Refusal is the reason that an execution must not be sent.
type Refusal struct {
	Crashes int           // crashed processes, while the instance ran
	Left    time.Duration // until an execution is sent again; zero while the probe is on its way
	HeldAt  string        // FILE:LINE at which the instance held the interpreter of a process; "": it did not
}

// Status is one instance that is under quarantine.
type Status struct {
	Instance
	Refusal
}

// Probe is the one execution that is sent when a quarantine's time is up. The caller that receives it must call
// Conclude.
type Probe struct {
	tracker *CrashTracker
	of      *quarantine
}

// CrashTracker counts the crashes of a set of processes against the instances that run there. Its methods may be called
// from any goroutine.
type CrashTracker struct {
	options Options
	log     *slog.Logger
	now     func() time.Time
	current atomic.Pointer[map[ID]*quarantine] // replaced as a whole; nil if there are none

	mu      sync.Mutex
	records map[ID]*record
}

// record is the history of one instance. The tracker's mutex guards it.
type record struct {
	instance Instance
	crashes  []crash // within the window, the latest last
	total    int
	repeats  int         // earlier quarantines that were followed too soon by the next
	end      time.Time   // of the last quarantine
	current  *quarantine // nil: executions are sent
}

type crash struct {
	when     time.Time
	answered uint64 // executions of the instance until then
	alone    bool
}

// quarantine is one quarantine of an instance. After `until`, one execution is sent, which decides.
type quarantine struct {
	id      ID
	until   time.Time
	crashes int
	heldAt  string
	probe   atomic.Pointer[Probe]
}

// NewCrashTracker returns a tracker without instances. It logs when a quarantine begins and ends.
func NewCrashTracker(options Options, log *slog.Logger) *CrashTracker {
	return &CrashTracker{options: options, log: log, now: time.Now, records: map[ID]*record{}}
}

// Track starts counting crashes against an instance, until Forget.
func (t *CrashTracker) Track(instance Instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records[instance.ID] = &record{instance: instance}
}

// Forget removes an instance's history.
func (t *CrashTracker) Forget(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.records[id]; r != nil && r.current != nil {
		defer t.publish()
	}
	delete(t.records, id)
}

// publish updates the quarantines that are read without the mutex.
func (t *CrashTracker) publish() {
	current := map[ID]*quarantine{}
	for id, r := range t.records {
		if r.current != nil {
			current[id] = r.current
		}
	}
	if len(current) == 0 {
		t.current.Store(nil)
		return
	}
	t.current.Store(&current)
}

// ---------------------------------------------------------------- executions

func (t *CrashTracker) find(id ID) *quarantine {
	if current := t.current.Load(); current != nil {
		return (*current)[id]
	}
	return nil
}

// Admit decides whether an execution of the instance may be sent. The first one after a quarantine's time is up is its
// probe. Without a quarantine both results are nil, at the cost of one atomic load.
func (t *CrashTracker) Admit(id ID) (*Probe, *Refusal) {
	q := t.find(id)
	if q == nil {
		return nil, nil
	}
	now := t.now()
	if !now.Before(q.until) && q.probe.Load() == nil {
		if probe := (&Probe{t, q}); q.probe.CompareAndSwap(nil, probe) {
			return probe, nil
		}
	}
	return nil, q.refusal(now)
}

// Check returns the reason that an admitted execution must not be sent any more, nil if it may: no quarantine has begun
// since, or it is the probe of the present one. Unlike Admit it makes no probe. probe is Admit's result for the
// execution.
func (t *CrashTracker) Check(id ID, probe *Probe) *Refusal {
	q := t.find(id)
	if q == nil || (probe != nil && q.probe.Load() == probe) {
		return nil
	}
	return q.refusal(t.now())
}

func (q *quarantine) refusal(now time.Time) *Refusal {
	return &Refusal{q.crashes, max(q.until.Sub(now), 0), q.heldAt}
}

// Conclude records the probe's result. An answer ends the quarantine. If its process has crashed, RecordCrash must have
// been called before. After neither, the next execution is the probe. On nil it does nothing.
func (p *Probe) Conclude(answered bool) {
	switch {
	case p == nil:
	case answered:
		p.tracker.end(p.of)
	default:
		p.of.probe.CompareAndSwap(p, nil)
	}
}

func (t *CrashTracker) end(q *quarantine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.records[q.id]; r != nil && r.current == q {
		t.release(r, "it has answered")
		t.publish()
	}
}

func (t *CrashTracker) release(r *record, why string) {
	r.current, r.crashes = nil, nil
	t.log.Info("policy out of quarantine: "+why, "policy", r.instance.Policy, "api", r.instance.API, "instance", r.instance.Name)
}

// Reset ends all quarantines and forgets all crashes, since the code that caused them has been replaced.
func (t *CrashTracker) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range t.records {
		if r.current != nil {
			t.release(r, "its code is replaced")
		}
		t.records[id] = &record{instance: r.instance}
	}
	t.publish()
}

// Quarantined are the instances under quarantine, by API and name.
func (t *CrashTracker) Quarantined() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Status
	now := t.now()
	for _, r := range t.records {
		if r.current != nil {
			all = append(all, Status{r.instance, *r.current.refusal(now)})
		}
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// ---------------------------------------------------------------- crashes

// RecordCrash counts the crash of a process against its candidates, and puts at most one of them under quarantine.
// Candidates that are not tracked (any more) are ignored.
func (t *CrashTracker) RecordCrash(candidates []Candidate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if r := t.mostLikely(t.count(candidates, now), now); r != nil {
		t.quarantine(r, now, "")
	}
}

// RecordHold counts the loss of a process whose interpreter an instance holds at a line, FILE:LINE, against the
// candidates: the instances of that line's policy that have executions under way there. The likeliest is put under
// quarantine at once, unless it is already. It returns the name of that instance, "" for none.
func (t *CrashTracker) RecordHold(candidates []Candidate, at string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	free := slices.DeleteFunc(t.count(candidates, now), func(r *record) bool {
		return r.current != nil && now.Before(r.current.until)
	})
	if len(free) == 0 {
		return ""
	}
	r := slices.MinFunc(free, (*record).compare)
	t.quarantine(r, now, at)
	return r.instance.Name
}

// count adds a crash to the records of its candidates, and returns these records.
func (t *CrashTracker) count(candidates []Candidate, now time.Time) []*record {
	records := map[ID]*record{}
	for _, c := range candidates {
		if r := t.records[c.ID]; r != nil {
			r.add(crash{now, c.Answered, c.Alone}, now.Add(-t.options.Window))
			records[c.ID] = r
		}
	}
	return slices.Collect(maps.Values(records))
}

func (r *record) add(c crash, since time.Time) {
	r.total++
	if last := len(r.crashes) - 1; last >= 0 { // processes that crash together may be recorded in another order
		c.answered = max(c.answered, r.crashes[last].answered)
	}
	r.crashes = append(slices.DeleteFunc(r.crashes, func(old crash) bool { return old.when.Before(since) }), c)
}

// mostLikely returns the candidate to put under quarantine, or nil.
func (t *CrashTracker) mostLikely(candidates []*record, now time.Time) *record {
	likely := slices.DeleteFunc(candidates, func(r *record) bool { return !t.isLikely(r, now) })
	if len(likely) == 0 {
		return nil
	}
	return slices.MinFunc(likely, (*record).compare)
}

// isLikely reports whether an instance was in enough crashes, and answered next to nothing between them. An instance
// whose probe crashed needs no further proof.
func (t *CrashTracker) isLikely(r *record, now time.Time) bool {
	if r.current != nil {
		return !now.Before(r.current.until)
	}
	return len(r.crashes) >= t.options.Crashes && r.answeredBetween() <= answeredPerCrash
}

// answeredBetween is the average number of executions that the instance answered between two crashes.
func (r *record) answeredBetween() uint64 {
	first, last := r.crashes[0], r.crashes[len(r.crashes)-1]
	return (last.answered - first.answered) / uint64(max(len(r.crashes)-1, 1))
}

// compare orders the likelier cause first.
func (r *record) compare(other *record) int {
	return cmp.Or(cmp.Compare(r.answeredBetween(), other.answeredBetween()), cmp.Compare(other.countAlone(), r.countAlone()),
		cmp.Compare(len(other.crashes), len(r.crashes)), cmp.Compare(r.instance.ID, other.instance.ID))
}

func (r *record) countAlone() (count int) {
	for _, c := range r.crashes {
		if c.alone {
			count++
		}
	}
	return count
}

// quarantine begins a quarantine: twice as long as the last one, if that was recent.
func (t *CrashTracker) quarantine(r *record, now time.Time, heldAt string) {
	afresh := now.Sub(r.end) > windowsToStartAfresh*t.options.Window
	if r.repeats++; r.end.IsZero() || afresh {
		r.repeats = 0
	}
	duration := backoff.Doubling{First: t.options.Min, Longest: t.options.Max}.Wait(r.repeats)
	r.end = now.Add(duration)
	r.current = &quarantine{id: r.instance.ID, until: r.end, crashes: r.total, heldAt: heldAt}
	t.publish()
	log := t.log.With("policy", r.instance.Policy, "api", r.instance.API, "instance", r.instance.Name, "deaths", r.total,
		"for", duration.String())
	if heldAt != "" {
		log.Error("policy under quarantine: it holds the interpreter of an executor process, so that nothing else runs there", "at", heldAt)
		return
	}
	log.Error("policy under quarantine: executor processes die while it runs")
}
