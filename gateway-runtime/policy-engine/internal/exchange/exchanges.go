package exchange

import (
	"sync/atomic"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// exchangeCounter counts the exchanges of one operation that have ended, or, with no labels, those without a chain.
type exchangeCounter struct {
	place
	counters *Counters

	results [3]atomic.Uint64 // as chain.Result
	bytes   [2]atomic.Uint64 // as chain.Direction
	told    atomic.Pointer[exchangeMetering]
}

// exchangeMetering is what a meter has made.
type exchangeMetering struct {
	OperationMeter
	of *metering
}

// Exchanges returns the counter of these labels, which goes on from where it stands.
func (c *Counters) Exchanges(labels chain.Labels) chain.ExchangeObserver {
	return c.operations.open(labels, func() *exchangeCounter { return &exchangeCounter{counters: c} })
}

// BodyRead counts.
func (e *exchangeCounter) BodyRead(direction chain.Direction, bytes int) {
	e.bytes[direction].Add(uint64(bytes))
}

// Identified counts.
func (e *exchangeCounter) Identified(method string) { e.counters.identities.add(e.labels.API, method) }

// Ended counts, and tells the meter.
func (e *exchangeCounter) Ended(result chain.Result, duration time.Duration) {
	e.results[result].Add(1)
	if meter := e.counters.meter.Load(); meter != nil {
		told := e.told.Load()
		if told == nil || told.of != meter {
			told = e.introduce(meter)
		}
		told.Observe(duration)
	}
}

// Close says that one chain less uses the counter.
func (e *exchangeCounter) Close() { e.counters.operations.close(e) }

func (e *exchangeCounter) counted() bool { return e.counts() != OperationCounts{} }

// dropped has the totals keep what was counted, and tells the meter.
func (e *exchangeCounter) dropped() {
	if e.removed {
		e.counters.identities.remove(e.labels.API)
	}
	counts := e.counts()
	for n, count := range counts.Results {
		e.counters.gone[n] += count
	}
	if told := e.told.Load(); told != nil && told.of == e.counters.meter.Load() {
		told.Close(counts)
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

// introduce asks the meter for what is told of the operation.
func (e *exchangeCounter) introduce(meter *metering) *exchangeMetering {
	e.counters.operations.mutex.Lock()
	defer e.counters.operations.mutex.Unlock()
	if told := e.told.Load(); told != nil && told.of == meter {
		return told
	}
	told := &exchangeMetering{meter.Exchanges(e.labels), meter}
	e.told.Store(told)
	return told
}
