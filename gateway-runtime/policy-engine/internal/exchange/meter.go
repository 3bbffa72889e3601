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
	Executions(labels chain.Labels, phase string) DurationMeter
	Exchanges(labels chain.Labels) DurationMeter
}

// DurationMeter receives the durations of one operation's exchanges, or of one policy's executions in one phase there.
type DurationMeter interface {
	// Observe receives the duration of an execution, and the time in it that the policy's function ran. remote: in another
	// process. An exchange has the same duration twice.
	Observe(duration, work time.Duration, remote bool)
	// Close comes when the totals, which are read together with the meter, are dropped.
	Close(totals Totals)
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

// Metered calls read with all totals for which the present Meter has made a receiver. Until it returns, no other
// receivers are made, and none of these is closed.
func (c *Counters) Metered(read func(iter.Seq2[DurationMeter, Totals])) {
	c.executions.mutex.Lock()
	defer c.executions.mutex.Unlock()
	c.operations.mutex.Lock()
	defer c.operations.mutex.Unlock()
	current := c.meter.Load()
	read(func(yield func(DurationMeter, Totals) bool) {
		for t := range c.allTallies {
			if meter := t.madeBy(current); meter != nil && !yield(meter, t.totals) {
				return
			}
		}
	})
}

// allTallies yields every tally, in no particular order. The caller holds the mutexes of both tables.
func (c *Counters) allTallies(yield func(*tally) bool) {
	for counter := range c.executions.all {
		for phase := range counter.allPhases {
			if !yield(&phase.tally) {
				return
			}
		}
	}
	for counter := range c.operations.all {
		if !yield(&counter.tally) {
			return
		}
	}
}
