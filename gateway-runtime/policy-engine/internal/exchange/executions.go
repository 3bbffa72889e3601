package exchange

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// ExecutionStats are the counters of one policy in one operation of an API, since it first ran there.
type ExecutionStats struct {
	Policy     string                          `json:"policy"` // name:version
	API        string                          `json:"api"`
	Operation  string                          `json:"operation"` // "GET /{id}"
	Executions uint64                          `json:"executions"`
	Failures   map[v1alpha.FailureClass]uint64 `json:"failures"`  // by class; classes without failures are left out
	Continued  uint64                          `json:"continued"` // failures after which onError: continue let the exchange go on
	Cancelled  uint64                          `json:"cancelled"` // executions whose exchange ended before their action took effect
	Skipped    uint64                          `json:"skipped"`   // exchanges to which the policy did not apply; not included in executions
	Active     int64                           `json:"active"`    // executions under way
	Seconds    float64                         `json:"seconds"`   // total duration of ended executions
}

// Phases are the phases whose executions are counted separately.
var Phases = [...]string{chain.PhaseRequest, chain.PhaseResponse, chain.PhaseRequestStream, chain.PhaseResponseStream}

// ShadowStats are the counters of one policy's shadow attachments in one operation of an API, since it first ran there.
type ShadowStats struct {
	Policy    string            `json:"policy"` // name:version
	API       string            `json:"api"`
	Operation string            `json:"operation"` // "GET /{id}"
	Outcomes  map[string]uint64 `json:"outcomes"`  // executions by chain.ShadowOutcomes; outcomes without executions are left out
	Seconds   float64           `json:"seconds"`   // their total duration
}

// ShadowStats reads the counters of shadow attachments, by policy, API and operation.
func (c *Counters) ShadowStats() []ShadowStats {
	all := []ShadowStats{}
	c.executions.mutex.Lock()
	for counter := range c.executions.all {
		if counter.labels.Shadow {
			all = append(all, counter.shadowStats())
		}
	}
	c.executions.mutex.Unlock()
	slices.SortFunc(all, func(a, b ShadowStats) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation))
	})
	return all
}

// ExecutionStats reads the counters, by policy, API and operation, without those of shadow attachments.
func (c *Counters) ExecutionStats() []ExecutionStats {
	all := []ExecutionStats{}
	c.executions.mutex.Lock()
	for counter := range c.executions.all {
		if !counter.labels.Shadow {
			all = append(all, counter.stats())
		}
	}
	c.executions.mutex.Unlock()
	slices.SortFunc(all, func(a, b ExecutionStats) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation))
	})
	return all
}

// executionCounter counts the executions of one policy in one operation.
type executionCounter struct {
	place
	counters *Counters

	began  atomic.Uint64
	phases [len(Phases)]atomic.Pointer[phaseCounter] // by Phases; nil: no execution has ended there
}

// phaseCounter counts the executions of one phase. What a policy counts for all phases is in that of the request.
type phaseCounter struct {
	tally
	nanoseconds atomic.Int64
}

// Executions returns the counter with these labels, which continues its counts.
func (c *Counters) Executions(labels chain.Labels) chain.ExecutionObserver {
	return c.executions.open(labels, func() *executionCounter { return &executionCounter{counters: c} })
}

func (e *executionCounter) hasCounts() bool {
	return e.began.Load() > 0 || e.phases[0].Load() != nil // of an exchange that skipped the policy
}

// allPhases yields the phases that have counts.
func (e *executionCounter) allPhases(yield func(*phaseCounter) bool) {
	for n := range e.phases {
		if phase := e.phases[n].Load(); phase != nil && !yield(phase) {
			return
		}
	}
}

// onDrop closes the meters.
func (e *executionCounter) onDrop() {
	maker := e.counters.meter.Load()
	for phase := range e.allPhases {
		phase.closeMeter(maker)
	}
}

func (e *executionCounter) stats() ExecutionStats {
	stats := ExecutionStats{
		Policy: e.labels.Policy, API: e.labels.API, Operation: e.labels.Operation, Failures: map[v1alpha.FailureClass]uint64{},
	}
	ended := uint64(0)
	for phase := range e.allPhases {
		totals := phase.totals.values()
		for outcome, count := range chain.ExecutionsEnded {
			if ended += totals[count]; outcome >= chain.OutcomeFailed && totals[count] > 0 {
				stats.Failures[v1alpha.FailureClass(chain.Outcomes[outcome])] += totals[count]
			}
		}
		stats.Continued += totals[chain.ExecutionsContinued]
		stats.Skipped += totals[chain.ExecutionsSkipped]
		stats.Cancelled += totals[chain.ExecutionsEnded[chain.OutcomeCancelled]]
		stats.Seconds += time.Duration(phase.nanoseconds.Load()).Seconds()
	}
	stats.Executions = e.began.Load() // read last, so that every ended execution is included
	stats.Active = int64(stats.Executions - ended)
	return stats
}

func (e *executionCounter) shadowStats() ShadowStats {
	stats := ShadowStats{Policy: e.labels.Policy, API: e.labels.API, Operation: e.labels.Operation, Outcomes: map[string]uint64{}}
	for phase := range e.allPhases {
		for outcome, count := range chain.ShadowsEnded {
			if value := phase.totals[count].Load(); value > 0 {
				stats.Outcomes[chain.ShadowOutcomes[outcome]] += value
			}
		}
		stats.Seconds += time.Duration(phase.nanoseconds.Load()).Seconds()
	}
	return stats
}

// ---------------------------------------------------------------- chain.ExecutionObserver

// Began counts an execution.
func (e *executionCounter) Began() { e.began.Add(1) }

// Ended counts the execution, passes its duration to the meter, and logs a failure.
func (e *executionCounter) Ended(execution chain.Execution) {
	phase := e.phase(execution.Phase)
	phase.nanoseconds.Add(int64(execution.Duration))
	phase.totals[countOf(&execution)].Add(1)
	if execution.Continued {
		phase.totals[chain.ExecutionsContinued].Add(1)
	}
	if execution.Shadow == chain.ShadowSkipped {
		return
	}
	if meter := e.phaseMeter(phase, execution.Phase); meter != nil {
		meter.Observe(execution.Duration, execution.Work, execution.Remote)
	}
	if execution.Failure != nil {
		logFailure(e.counters.log, e.labels, execution)
	}
}

// phaseMeter returns the phase's meter, made by the present Meter; nil: there is none.
func (e *executionCounter) phaseMeter(phase *phaseCounter, name string) DurationMeter {
	maker := e.counters.meter.Load()
	if maker == nil {
		return nil
	}
	if meter := phase.madeBy(maker); meter != nil {
		return meter
	}
	return e.newMeter(phase, maker, name)
}

// Add adds to a counter, in the request phase.
func (e *executionCounter) Add(count chain.PolicyCount, n uint64) {
	phase := e.phase(chain.PhaseRequest)
	phase.totals[count].Add(n)
	e.phaseMeter(phase, chain.PhaseRequest)
}

// Close ends a chain's use of the counter.
func (e *executionCounter) Close() { e.counters.executions.close(e) }

// countOf returns the count of an execution's outcome.
func countOf(execution *chain.Execution) chain.ExecutionCount {
	switch {
	case execution.Shadow != chain.NotShadow:
		return chain.ShadowsEnded[execution.Shadow-chain.ShadowSame]
	case execution.Cancelled:
		return chain.ExecutionsEnded[chain.OutcomeCancelled]
	case execution.Failure == nil:
		return chain.ExecutionsEnded[chain.OutcomeOK]
	}
	if n := slices.Index(chain.Outcomes[:], string(execution.Failure.Class)); n >= chain.OutcomeFailed {
		return chain.ExecutionsEnded[n]
	}
	return chain.ExecutionsEnded[slices.Index(chain.Outcomes[:], string(v1alpha.ClassException))]
}

// phase returns the counter of a phase, which is made when the first execution has ended there.
func (e *executionCounter) phase(name string) *phaseCounter {
	at := &e.phases[max(slices.Index(Phases[:], name), 0)]
	if phase := at.Load(); phase != nil {
		return phase
	}
	at.CompareAndSwap(nil, &phaseCounter{tally: newTally(&chain.ExecutionCounters)})
	return at.Load()
}

// newMeter creates the meter of a phase.
func (e *executionCounter) newMeter(phase *phaseCounter, maker *metering, name string) DurationMeter {
	e.counters.executions.mutex.Lock()
	defer e.counters.executions.mutex.Unlock()
	return phase.makeMeter(maker, func() DurationMeter { return maker.Executions(e.labels, name) })
}
