package exchange

import (
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// exchangeCounter counts the ended exchanges of one operation, or, without labels, those without a chain.
type exchangeCounter struct {
	place
	tally
	counters *Counters
}

// Exchanges returns the counter with these labels, which continues its counts.
func (c *Counters) Exchanges(labels chain.Labels) chain.ExchangeObserver {
	return c.operations.open(labels, func() *exchangeCounter {
		return &exchangeCounter{tally: newTally(&chain.ExchangeCounters), counters: c}
	})
}

// Add adds to a counter.
func (e *exchangeCounter) Add(count chain.ExchangeCount, n uint64) { e.totals[count].Add(n) }

// Identified counts the identity's method.
func (e *exchangeCounter) Identified(method string) { e.counters.identities.add(e.labels.API, method) }

// Planned counts the plan.
func (e *exchangeCounter) Planned(plan string) { e.counters.plans.add(e.labels.API, plan) }

// Ended counts the exchange, and passes its duration to the meter.
func (e *exchangeCounter) Ended(result chain.Result, duration time.Duration) {
	e.Add(chain.ExchangesEnded[result], 1)
	maker := e.counters.meter.Load()
	if maker == nil {
		return
	}
	meter := e.madeBy(maker)
	if meter == nil {
		meter = e.newMeter(maker)
	}
	meter.Observe(duration, duration, false)
}

// newMeter creates the meter of the operation.
func (e *exchangeCounter) newMeter(maker *metering) DurationMeter {
	e.counters.operations.mutex.Lock()
	defer e.counters.operations.mutex.Unlock()
	return e.makeMeter(maker, func() DurationMeter { return maker.Exchanges(e.labels) })
}

// Close ends a chain's use of the counter.
func (e *exchangeCounter) Close() { e.counters.operations.close(e) }

func (e *exchangeCounter) hasCounts() bool { return e.totals.any() }

// onDrop adds the totals to those of dropped counters, and closes the meter.
func (e *exchangeCounter) onDrop() {
	if e.removed {
		e.counters.identities.remove(e.labels.API)
		e.counters.plans.remove(e.labels.API)
	}
	e.totals.AddTo(e.counters.dropped)
	e.closeMeter(e.counters.meter.Load())
}
