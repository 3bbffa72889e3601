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

// Outcomes are the ways in which an execution ends: successfully, cancelled, or with a failure of a class.
var Outcomes = [...]string{
	"ok", "cancelled", string(v1alpha.ClassTimeout), string(v1alpha.ClassOverloaded), string(v1alpha.ClassUnavailable),
	string(v1alpha.ClassCrashed), string(v1alpha.ClassException), string(v1alpha.ClassBadAction),
	string(v1alpha.ClassBodyTooLarge), string(v1alpha.ClassBadBody), string(chain.ClassCondition),
}

const (
	outcomeOK = iota
	outcomeCancelled
	outcomeFailed // the first failure class
)

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

// phaseCounter counts the ended executions of one phase.
type phaseCounter struct {
	outcomes    [len(Outcomes)]atomic.Uint64 // by Outcomes; of shadow attachments by chain.ShadowOutcomes
	continued   atomic.Uint64
	skipped     atomic.Uint64
	nanoseconds atomic.Int64
	meter       atomic.Pointer[executionMetering]
}

// executionMetering is a phase's meter, and the Meter that made it.
type executionMetering struct {
	ExecutionMeter
	maker *metering
}

// Executions returns the counter with these labels, which continues its counts.
func (c *Counters) Executions(labels chain.Labels) chain.ExecutionObserver {
	return c.executions.open(labels, func() *executionCounter { return &executionCounter{counters: c} })
}

func (e *executionCounter) hasCounts() bool {
	phase := e.phases[0].Load()
	return e.began.Load() > 0 || phase != nil && phase.skipped.Load() > 0
}

// onDrop closes the meters, which keep the counts if they sum several policies.
func (e *executionCounter) onDrop() {
	current := e.counters.meter.Load()
	for n := range e.phases {
		phase := e.phases[n].Load()
		if meter := phase.meteredBy(current); meter != nil {
			meter.Close(phase.counts())
		}
	}
}

// meteredBy returns the phase's meter if meter has made it; nil: it has not.
func (p *phaseCounter) meteredBy(meter *metering) ExecutionMeter {
	if p == nil {
		return nil
	}
	if existing := p.meter.Load(); existing != nil && existing.maker == meter {
		return existing.ExecutionMeter
	}
	return nil
}

func (p *phaseCounter) counts() ExecutionCounts {
	counts := ExecutionCounts{Continued: p.continued.Load(), Skipped: p.skipped.Load()}
	for n := range p.outcomes {
		counts.Outcomes[n] = p.outcomes[n].Load()
	}
	return counts
}

func (e *executionCounter) stats() ExecutionStats {
	stats := ExecutionStats{
		Policy: e.labels.Policy, API: e.labels.API, Operation: e.labels.Operation, Failures: map[v1alpha.FailureClass]uint64{},
	}
	ended := uint64(0)
	for n := range e.phases {
		phase := e.phases[n].Load()
		if phase == nil {
			continue
		}
		counts := phase.counts()
		for outcome, count := range counts.Outcomes {
			if ended += count; outcome >= outcomeFailed && count > 0 {
				stats.Failures[v1alpha.FailureClass(Outcomes[outcome])] += count
			}
		}
		stats.Continued += counts.Continued
		stats.Skipped += counts.Skipped
		stats.Cancelled += counts.Outcomes[outcomeCancelled]
		stats.Seconds += time.Duration(phase.nanoseconds.Load()).Seconds()
	}
	stats.Executions = e.began.Load() // read last, so that every ended execution is included
	stats.Active = int64(stats.Executions - ended)
	return stats
}

func (e *executionCounter) shadowStats() ShadowStats {
	stats := ShadowStats{Policy: e.labels.Policy, API: e.labels.API, Operation: e.labels.Operation, Outcomes: map[string]uint64{}}
	for n := range e.phases {
		phase := e.phases[n].Load()
		if phase == nil {
			continue
		}
		counts := phase.counts()
		for outcome, name := range chain.ShadowOutcomes {
			if count := counts.Outcomes[outcome]; count > 0 {
				stats.Outcomes[name] += count
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
	phase.outcomes[outcomeOf(&execution)].Add(1)
	if execution.Continued {
		phase.continued.Add(1)
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
func (e *executionCounter) phaseMeter(phase *phaseCounter, name string) *executionMetering {
	meter := e.counters.meter.Load()
	if meter == nil {
		return nil
	}
	if existing := phase.meter.Load(); existing != nil && existing.maker == meter {
		return existing
	}
	return e.newMeter(phase, meter, name)
}

// Skipped counts an exchange, in the request phase.
func (e *executionCounter) Skipped() {
	phase := e.phase(chain.PhaseRequest)
	phase.skipped.Add(1)
	e.phaseMeter(phase, chain.PhaseRequest)
}

// Close ends a chain's use of the counter.
func (e *executionCounter) Close() { e.counters.executions.close(e) }

// outcomeOf is the index of an execution's outcome in Outcomes, or chain.ShadowOutcomes.
func outcomeOf(execution *chain.Execution) int {
	switch {
	case execution.Shadow != chain.NotShadow:
		return int(execution.Shadow - chain.ShadowSame)
	case execution.Cancelled:
		return outcomeCancelled
	case execution.Failure == nil:
		return outcomeOK
	}
	if n := slices.Index(Outcomes[:], string(execution.Failure.Class)); n >= outcomeFailed {
		return n
	}
	return slices.Index(Outcomes[:], string(v1alpha.ClassException))
}

// phase returns the counter of a phase, which is made when the first execution has ended there.
func (e *executionCounter) phase(name string) *phaseCounter {
	at := &e.phases[max(slices.Index(Phases[:], name), 0)]
	if phase := at.Load(); phase != nil {
		return phase
	}
	at.CompareAndSwap(nil, &phaseCounter{})
	return at.Load()
}

// newMeter creates the meter of a phase.
func (e *executionCounter) newMeter(phase *phaseCounter, meter *metering, name string) *executionMetering {
	e.counters.executions.mutex.Lock()
	defer e.counters.executions.mutex.Unlock()
	if existing := phase.meter.Load(); existing != nil && existing.maker == meter {
		return existing
	}
	created := &executionMetering{meter.Executions(e.labels, name), meter}
	phase.meter.Store(created)
	return created
}
