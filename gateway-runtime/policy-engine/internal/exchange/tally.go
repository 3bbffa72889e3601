package exchange

import (
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/chain"
)

// Totals are what has been added to the counts of one table: by chain.ExchangeCount, or another of its types.
type Totals []atomic.Uint64

// AddTo adds the totals to sums, which are of the same table.
func (t Totals) AddTo(sums []uint64) {
	for n := range t {
		sums[n] += t[n].Load()
	}
}

// any reports whether anything has been added.
func (t Totals) any() bool {
	for n := range t {
		if t[n].Load() > 0 {
			return true
		}
	}
	return false
}

func (t Totals) values() []uint64 {
	values := make([]uint64, len(t))
	t.AddTo(values)
	return values
}

// tally has the totals of one operation's exchanges, or of a policy's executions in one phase there, and the meter of
// their durations.
type tally struct {
	totals Totals
	meter  atomic.Pointer[madeMeter]
}

// madeMeter is a DurationMeter, and the Meter that made it.
type madeMeter struct {
	DurationMeter
	maker *metering
}

func newTally(table *chain.CounterTable) tally { return tally{totals: make(Totals, table.Size)} }

// madeBy returns the tally's meter if maker has made it; nil: it has not.
func (t *tally) madeBy(maker *metering) DurationMeter {
	if meter := t.meter.Load(); meter != nil && meter.maker == maker {
		return meter.DurationMeter
	}
	return nil
}

// makeMeter sets the tally's meter unless maker has made it already. The caller holds the mutex of the tally's table.
func (t *tally) makeMeter(maker *metering, newMeter func() DurationMeter) DurationMeter {
	if meter := t.madeBy(maker); meter != nil {
		return meter
	}
	meter := newMeter()
	t.meter.Store(&madeMeter{meter, maker})
	return meter
}

// closeMeter closes the meter if maker has made it. It keeps the totals if it sums several tallies.
func (t *tally) closeMeter(maker *metering) {
	if meter := t.madeBy(maker); meter != nil {
		meter.Close(t.totals)
	}
}
