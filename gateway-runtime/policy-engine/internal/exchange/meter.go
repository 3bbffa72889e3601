package exchange

import (
	"iter"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// Meter makes the receivers of durations of executions and exchanges. It is called once for each policy, phase and
// operation, when the first of them ends. Executions, and Close of its results, are called by one goroutine at a time;
// so are Exchanges and Close of its results.
type Meter interface {
	Executions(labels chain.Labels, phase string) ExecutionMeter
	Exchanges(labels chain.Labels) OperationMeter
}

// ExecutionMeter receives the durations of one policy's executions in one phase of one operation.
type ExecutionMeter interface {
	// Observe receives the duration of an execution, and the time in it that the policy's function ran. remote: in another
	// process.
	Observe(duration, work time.Duration, remote bool)
	// Close comes when the counts, which are read together with the meter, are dropped.
	Close(counts ExecutionCounts)
}

// OperationMeter receives the durations of one operation's exchanges.
type OperationMeter interface {
	Observe(duration time.Duration)
	// Close comes when the counts, which are read together with the meter, are dropped.
	Close(counts OperationCounts)
}

// ExecutionCounts are the numbers of executions in one phase, by outcome.
type ExecutionCounts struct {
	Outcomes  [len(Outcomes)]uint64 // by Outcomes; of shadow attachments by chain.ShadowOutcomes
	Continued uint64
	Skipped   uint64 // exchanges to which the policy did not apply, in the request phase
}

// OperationCounts are the numbers of exchanges of one operation, by result, and the bytes of bodies that the chain has
// read.
type OperationCounts struct {
	Results [3]uint64 // by chain.Result
	Bytes   [2]uint64 // by chain.Direction
}

// SetMeter sends durations to meter from now on; nil: they are dropped.
func (c *Counters) SetMeter(meter Meter) {
	if meter == nil {
		c.meter.Store(nil)
		return
	}
	c.meter.Store(&metering{meter})
}

// metering wraps a Meter so that it fits an atomic pointer, which differs after each SetMeter.
type metering struct{ Meter }

// Metered calls read with all counts for which the present Meter has made a receiver. Until it returns, no other
// receivers are made, and none of these is closed.
func (c *Counters) Metered(read func(iter.Seq2[ExecutionMeter, ExecutionCounts], iter.Seq2[OperationMeter, OperationCounts])) {
	c.executions.mutex.Lock()
	defer c.executions.mutex.Unlock()
	c.operations.mutex.Lock()
	defer c.operations.mutex.Unlock()
	current := c.meter.Load()
	read(func(yield func(ExecutionMeter, ExecutionCounts) bool) {
		for counter := range c.executions.all {
			for n := range counter.phases {
				phase := counter.phases[n].Load()
				if meter := phase.meteredBy(current); meter != nil && !yield(meter, phase.counts()) {
					return
				}
			}
		}
	}, func(yield func(OperationMeter, OperationCounts) bool) {
		for counter := range c.operations.all {
			if meter := counter.meter.Load(); meter != nil && meter.maker == current && !yield(meter.OperationMeter, counter.counts()) {
				return
			}
		}
	})
}
