package exchange

import (
	"cmp"
	"container/list"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// maxIdle bounds the counters that no chain uses: of operations and policies that an edit took out of their API. Those
// that have been idle for longest are dropped first.
const maxIdle = 1000

// ExecutionStats are the counters of one policy in one operation of an API, since it first ran there.
type ExecutionStats struct {
	Policy     string                          `json:"policy"` // name:version
	API        string                          `json:"api"`
	Operation  string                          `json:"operation"` // "GET /{id}"
	Executions uint64                          `json:"executions"`
	Failures   map[v1alpha.FailureClass]uint64 `json:"failures"`  // by class; classes without a failure are left out
	Continued  uint64                          `json:"continued"` // failures after which onError: continue let the exchange go on
	Cancelled  uint64                          `json:"cancelled"` // executions whose exchange ended before their action counted
	Active     int64                           `json:"active"`    // executions under way
	Seconds    float64                         `json:"seconds"`   // that executions which have ended took, all together
}

// ExecutionStats reads the counters, by policy, API and operation.
func (c *Counters) ExecutionStats() []ExecutionStats { return c.executions.stats() }

// APIRemoved drops the counters of an API: those that no chain uses at once, the others with their last chain.
func (c *Counters) APIRemoved(api string) { c.executions.removeAPI(api) }

// executionTable holds counters by their labels, so that they outlive the chains that use them.
type executionTable struct {
	mutex sync.Mutex
	apis  map[string]map[chain.Labels]*executionCounter
	idle  list.List // of those that no chain uses, *executionCounter; the longest idle first
}

// executionCounter counts the executions of one policy in one operation.
type executionCounter struct {
	table  *executionTable
	labels chain.Labels
	log    *slog.Logger

	executions, continued, cancelled atomic.Uint64
	failures                         [8]atomic.Uint64 // as v1alpha.FailureClasses
	active                           atomic.Int64
	nanoseconds                      atomic.Int64

	// The table's mutex guards these.
	chains  int           // that use it
	removed bool          // its API was: it goes with its last chain
	idle    *list.Element // in the table's list; nil while a chain uses it
}

// open returns the counter of these labels, for one more chain.
func (t *executionTable) open(labels chain.Labels, log *slog.Logger) *executionCounter {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.apis[labels.API] == nil {
		t.apis[labels.API] = map[chain.Labels]*executionCounter{}
	}
	counter := t.apis[labels.API][labels]
	if counter == nil {
		counter = &executionCounter{table: t, labels: labels, log: log}
		t.apis[labels.API][labels] = counter
	}
	counter.chains++
	counter.removed = false
	if counter.idle != nil {
		t.idle.Remove(counter.idle)
		counter.idle = nil
	}
	return counter
}

// Close says that one chain less uses the counter.
func (e *executionCounter) Close() {
	t := e.table
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if e.chains--; e.chains > 0 {
		return
	}
	if e.removed || e.executions.Load() == 0 {
		t.drop(e)
		return
	}
	e.idle = t.idle.PushBack(e)
	if t.idle.Len() > maxIdle {
		t.drop(t.idle.Front().Value.(*executionCounter))
	}
}

// drop forgets a counter that no chain uses.
func (t *executionTable) drop(counter *executionCounter) {
	if counter.idle != nil {
		t.idle.Remove(counter.idle)
		counter.idle = nil
	}
	counters := t.apis[counter.labels.API]
	if delete(counters, counter.labels); len(counters) == 0 {
		delete(t.apis, counter.labels.API)
	}
}

func (t *executionTable) removeAPI(api string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, counter := range t.apis[api] {
		if counter.chains == 0 {
			t.drop(counter)
		} else {
			counter.removed = true
		}
	}
}

func (t *executionTable) stats() []ExecutionStats {
	t.mutex.Lock()
	all := []ExecutionStats{}
	for _, counters := range t.apis {
		for _, counter := range counters {
			all = append(all, counter.stats())
		}
	}
	t.mutex.Unlock()
	slices.SortFunc(all, func(a, b ExecutionStats) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation))
	})
	return all
}

func (e *executionCounter) stats() ExecutionStats {
	stats := ExecutionStats{
		Policy: e.labels.Policy, API: e.labels.API, Operation: e.labels.Operation,
		Executions: e.executions.Load(), Continued: e.continued.Load(), Cancelled: e.cancelled.Load(), Active: e.active.Load(),
		Seconds: time.Duration(e.nanoseconds.Load()).Seconds(), Failures: map[v1alpha.FailureClass]uint64{},
	}
	for n, class := range v1alpha.FailureClasses {
		if count := e.failures[n].Load(); count > 0 {
			stats.Failures[class] = count
		}
	}
	return stats
}

// ---------------------------------------------------------------- chain.ExecutionObserver

// Began counts.
func (e *executionCounter) Began() {
	e.executions.Add(1)
	e.active.Add(1)
}

// Ended counts, and logs a failure.
func (e *executionCounter) Ended(execution chain.Execution) {
	e.active.Add(-1)
	e.nanoseconds.Add(int64(execution.Duration))
	if execution.Cancelled {
		e.cancelled.Add(1)
	}
	if execution.Failure != nil {
		e.countFailure(execution)
		logFailure(e.log, e.labels, execution)
	}
}

func (e *executionCounter) countFailure(execution chain.Execution) {
	if n := slices.Index(v1alpha.FailureClasses, execution.Failure.Class); n >= 0 {
		e.failures[n].Add(1)
	}
	if execution.Continued {
		e.continued.Add(1)
	}
}
