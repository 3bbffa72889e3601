package exchange

import (
	"iter"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// Meter makes what durations of executions and exchanges are told to. It is asked once for each policy, phase and
// operation, when the first of them ends. Executions, and Close of what it returns, are called by one goroutine at a time;
// so are Exchanges and Close of what that returns.
type Meter interface {
	Executions(labels chain.Labels, phase string) ExecutionMeter
	Exchanges(labels chain.Labels) OperationMeter
}

// ExecutionMeter is told of the executions of one policy in one phase of one operation.
type ExecutionMeter interface {
	// Observe is told how long an execution took, and how long the policy's function ran in that. remote: in another process.
	Observe(duration, work time.Duration, remote bool)
	// Close comes when the counts, which were read with it, are dropped.
	Close(counts ExecutionCounts)
}

// OperationMeter is told of the exchanges of one operation.
type OperationMeter interface {
	Observe(duration time.Duration)
	// Close comes when the counts, which were read with it, are dropped.
	Close(counts OperationCounts)
}

// ExecutionCounts are how often executions in one phase have ended how.
type ExecutionCounts struct {
	Outcomes  [len(Outcomes)]uint64 // as Outcomes; of shadow attachments as chain.ShadowOutcomes
	Continued uint64
	Skipped   uint64 // exchanges to which the policy did not apply, in the request phase
}

// OperationCounts are how often exchanges of one operation have ended how, and the bytes that the chain has read of bodies.
type OperationCounts struct {
	Results [3]uint64 // as chain.Result
	Bytes   [2]uint64 // as chain.Direction
}

// SetMeter has durations told to meter from now on; nil: to nobody.
func (c *Counters) SetMeter(meter Meter) {
	if meter == nil {
		c.meter.Store(nil)
		return
	}
	c.meter.Store(&metering{meter})
}

// metering makes a Meter one word, and another one of each SetMeter.
type metering struct{ Meter }

// Metered gives read all counts that the meter of now has been asked about. Until it returns, the meter is asked about no
// others, and none of these is closed.
func (c *Counters) Metered(read func(iter.Seq2[ExecutionMeter, ExecutionCounts], iter.Seq2[OperationMeter, OperationCounts])) {
	c.executions.mutex.Lock()
	defer c.executions.mutex.Unlock()
	c.operations.mutex.Lock()
	defer c.operations.mutex.Unlock()
	current := c.meter.Load()
	read(func(yield func(ExecutionMeter, ExecutionCounts) bool) {
		for one := range c.executions.all {
			for n := range one.phases {
				phase := one.phases[n].Load()
				if told := phase.meteredBy(current); told != nil && !yield(told, phase.counts()) {
					return
				}
			}
		}
	}, func(yield func(OperationMeter, OperationCounts) bool) {
		for one := range c.operations.all {
			if told := one.told.Load(); told != nil && told.of == current && !yield(told.OperationMeter, one.counts()) {
				return
			}
		}
	})
}
