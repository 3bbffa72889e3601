package exchange

import (
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// exchangeCounter counts the ended exchanges of one operation, or, without labels, those without a chain.
type exchangeCounter struct {
	place
	counters *Counters

	results [3]atomic.Uint64 // by chain.Result
	bytes   [2]atomic.Uint64 // by chain.Direction
	meter   atomic.Pointer[exchangeMetering]
}

// exchangeMetering is an operation's meter, and the Meter that made it.
type exchangeMetering struct {
	OperationMeter
	maker *metering
}

// Exchanges returns the counter with these labels, which continues its counts.
func (c *Counters) Exchanges(labels chain.Labels) chain.ExchangeObserver {
	return c.operations.open(labels, func() *exchangeCounter { return &exchangeCounter{counters: c} })
}

// BodyRead counts the bytes.
func (e *exchangeCounter) BodyRead(direction chain.Direction, bytes int) {
	e.bytes[direction].Add(uint64(bytes))
}

// Identified counts the identity's method.
func (e *exchangeCounter) Identified(method string) { e.counters.identities.add(e.labels.API, method) }

// Ended counts the exchange, and passes its duration to the meter.
func (e *exchangeCounter) Ended(result chain.Result, duration time.Duration) {
	e.results[result].Add(1)
	if meter := e.counters.meter.Load(); meter != nil {
		operationMeter := e.meter.Load()
		if operationMeter == nil || operationMeter.maker != meter {
			operationMeter = e.newMeter(meter)
		}
		operationMeter.Observe(duration)
	}
}

// Close ends a chain's use of the counter.
func (e *exchangeCounter) Close() { e.counters.operations.close(e) }

func (e *exchangeCounter) hasCounts() bool { return e.counts() != OperationCounts{} }

// onDrop adds the counts to the totals, and closes the meter.
func (e *exchangeCounter) onDrop() {
	if e.removed {
		e.counters.identities.remove(e.labels.API)
	}
	counts := e.counts()
	for n, count := range counts.Results {
		e.counters.dropped[n] += count
	}
	if meter := e.meter.Load(); meter != nil && meter.maker == e.counters.meter.Load() {
		meter.Close(counts)
	}
}

func (e *exchangeCounter) counts() (counts OperationCounts) {
	for n := range e.results {
		counts.Results[n] = e.results[n].Load()
	}
	for n := range e.bytes {
		counts.Bytes[n] = e.bytes[n].Load()
	}
	return counts
}

// newMeter creates the meter of the operation.
func (e *exchangeCounter) newMeter(meter *metering) *exchangeMetering {
	e.counters.operations.mutex.Lock()
	defer e.counters.operations.mutex.Unlock()
	if existing := e.meter.Load(); existing != nil && existing.maker == meter {
		return existing
	}
	created := &exchangeMetering{meter.Exchanges(e.labels), meter}
	e.meter.Store(created)
	return created
}
