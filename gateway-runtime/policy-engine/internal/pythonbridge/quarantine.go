package pythonbridge

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// A policy that ends its process (os._exit, a segmentation fault, memory without end) ends what all other policies have
// under way there. So the executions that were under way when a process died are held against their instances, and one
// that goes on like that is answered for a while without being sent.
//
// Under way with the culprit are the innocent too. What tells them apart is what they answer between the deaths: an
// innocent instance answers many executions, the culprit few or none. So of all the suspects of a death one at most is
// put under quarantine, the one that answered least. Should it be the wrong one, processes go on dying without it, the
// next death finds the next suspect, and its own probe frees it.
const (
	answeredPerDeath  = 10               // an instance that answers more executions than this between two deaths is none to blame
	abandonedMemory   = 10 * time.Second // so long an execution that nobody waits for any more may still bring its process down
	quarantineForgets = 20               // times the window without a death, after which the first quarantine is a short one again
)

// suspect is an instance that had executions under way in a process when that died.
type suspect struct {
	instance *instance
	alone    bool // nothing of any other instance was
}

// death is one that an instance is suspected of.
type death struct {
	when     time.Time
	answered uint64 // executions of the instance until then
	alone    bool
}

// record is what is held against one instance. Guarded by the mutex of its ledger.
type record struct {
	deaths  []death // within the window, the latest last
	total   int
	last    time.Duration // of the last quarantine
	lastEnd time.Time
}

// quarantine is one of an instance. From `until` on, one execution is let through; it decides.
type quarantine struct {
	until  time.Time
	deaths int
	probe  atomic.Pointer[execution]
}

// ledger is a group's account of deaths.
type ledger struct {
	options Options
	log     *slog.Logger

	mu      sync.Mutex
	records map[*instance]*record
}

func newLedger(options Options, log *slog.Logger) *ledger {
	return &ledger{options: options, log: log, records: map[*instance]*record{}}
}

// blame takes in the death of a process.
func (l *ledger) blame(suspects []suspect, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range suspects {
		l.recordOf(s.instance).add(death{now, s.instance.answered.Load(), s.alone}, now.Add(-l.options.QuarantineWindow))
	}
	if worst := l.worst(suspects, now); worst != nil {
		l.confine(worst, now)
	}
}

func (l *ledger) recordOf(i *instance) *record {
	if l.records[i] == nil {
		l.records[i] = &record{}
	}
	return l.records[i]
}

func (r *record) add(d death, since time.Time) {
	r.total++
	r.deaths = append(slices.DeleteFunc(r.deaths, func(old death) bool { return old.when.Before(since) }), d)
}

// worst is the suspect to be confined, or nil.
func (l *ledger) worst(suspects []suspect, now time.Time) *instance {
	guilty := slices.DeleteFunc(slices.Clone(suspects), func(s suspect) bool { return !l.guilty(s.instance, now) })
	if len(guilty) == 0 {
		return nil
	}
	return slices.MinFunc(guilty, func(a, b suspect) int { return l.records[a.instance].compare(l.records[b.instance]) }).instance
}

// guilty reports whether an instance was in enough deaths, and answered next to nothing between them. One whose probe
// it was needs no second proof.
func (l *ledger) guilty(i *instance, now time.Time) bool {
	if q := i.confined.Load(); q != nil {
		return !now.Before(q.until)
	}
	r := l.records[i]
	return len(r.deaths) >= l.options.QuarantineDeaths && r.answeredBetween() <= answeredPerDeath
}

// answeredBetween is how many executions the instance answered from one death to the next, on average.
func (r *record) answeredBetween() uint64 {
	first, last := r.deaths[0], r.deaths[len(r.deaths)-1]
	return (last.answered - first.answered) / uint64(max(len(r.deaths)-1, 1))
}

// compare puts the more suspicious record first.
func (r *record) compare(other *record) int {
	return cmp.Or(cmp.Compare(r.answeredBetween(), other.answeredBetween()), cmp.Compare(other.alone(), r.alone()),
		cmp.Compare(len(other.deaths), len(r.deaths)))
}

func (r *record) alone() (count int) {
	for _, d := range r.deaths {
		if d.alone {
			count++
		}
	}
	return count
}

// confine puts an instance under quarantine: twice as long as the last time, if that was not long ago.
func (l *ledger) confine(i *instance, now time.Time) {
	r := l.recordOf(i)
	forgotten := now.Sub(r.lastEnd) > quarantineForgets*l.options.QuarantineWindow
	r.last = min(2*r.last, l.options.QuarantineMax)
	if r.last == 0 || forgotten {
		r.last = l.options.QuarantineMin
	}
	r.lastEnd = now.Add(r.last)
	i.confined.Store(&quarantine{until: r.lastEnd, deaths: r.total})
	c := i.configure
	l.log.Error("policy under quarantine: executor processes die while it runs", "policy", c.GetPolicyName()+":"+c.GetPolicyVersion(),
		"api", c.GetApiName(), "instance", c.GetInstanceId(), "deaths", r.total, "for", r.last.String())
}

// admits reports whether an execution may be sent. The first one after the time is up is the probe.
func (q *quarantine) admits(e *execution, now time.Time) bool {
	return q.probe.Load() == e || (!now.Before(q.until) && q.probe.CompareAndSwap(nil, e))
}

func (q *quarantine) failure(i *instance, now time.Time) *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassCrashed, "%s is under quarantine: %d executor processes died while it ran; it is tried again in %s",
		i, q.deaths, max(q.until.Sub(now), 0).Round(time.Second))
}

// conclude takes in that an execution has ended. An answer of the probe frees the instance; if the process died of it,
// blame has seen to that; if there was neither, the next one is the probe.
func (l *ledger) conclude(e *execution, answered bool) {
	q := e.instance.confined.Load()
	if q == nil || q.probe.Load() != e {
		return
	}
	if !answered {
		q.probe.CompareAndSwap(e, nil)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(e.instance, "it has answered")
}

func (l *ledger) release(i *instance, why string) {
	if i.confined.Swap(nil) == nil {
		return
	}
	l.recordOf(i).deaths = nil
	l.log.Info("policy out of quarantine: "+why, "policy", i.String(), "instance", i.configure.GetInstanceId())
}

// pardon frees all: the code that they were confined for is replaced.
func (l *ledger) pardon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.records {
		l.release(i, "its code is replaced")
	}
	clear(l.records)
}

func (l *ledger) forget(i *instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.records, i)
}

// QuarantineStats is one policy instance that is not executed.
type QuarantineStats struct {
	Group    string `json:"group"`
	Policy   string `json:"policy"` // name:version
	API      string `json:"api"`
	Instance string `json:"instance"`
	Deaths   int    `json:"deaths"` // of processes, while it ran
	LeftMs   int64  `json:"leftMs"` // until it is tried again
}

func (l *ledger) stats(group string, now time.Time) (all []QuarantineStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.records {
		if q := i.confined.Load(); q != nil {
			c := i.configure
			all = append(all, QuarantineStats{Group: group, Policy: c.GetPolicyName() + ":" + c.GetPolicyVersion(), API: c.GetApiName(),
				Instance: c.GetInstanceId(), Deaths: q.deaths, LeftMs: max((q.until.Sub(now) + time.Millisecond - 1).Milliseconds(), 0)})
		}
	}
	slices.SortFunc(all, func(a, b QuarantineStats) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Instance, b.Instance))
	})
	return all
}

// Quarantined are the policy instances that are not executed now, because processes die while they run.
func (g *Groups) Quarantined() []QuarantineStats {
	all := []QuarantineStats{}
	for _, name := range g.names() {
		all = append(all, g.group(name).ledger.stats(name, time.Now())...)
	}
	return all
}
