package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/exchange"
)

// valueCounts has the series of a counter of exchanges by API and value: as many as there is room for.
type valueCounts struct {
	desc    *prometheus.Desc
	read    func() []exchange.ValueCount
	series  map[valueKey]*valueSeries
	seats   seats
	removed uint64 // of removed series that were counted as other
}

type valueKey struct{ api, value string }

type valueSeries struct {
	count uint64
	seat  seat
}

func newValueCounts(settings Settings, desc *prometheus.Desc, read func() []exchange.ValueCount) *valueCounts {
	return &valueCounts{desc: desc, read: read, series: map[valueKey]*valueSeries{}, seats: seatsFor(settings, 1)}
}

// add adds the series that have room, and the sum of the others.
func (c *valueCounts) add(add addFunc) {
	present := map[valueKey]bool{}
	for _, count := range c.read() {
		key := valueKey{count.API, count.Value}
		series := c.series[key]
		if series == nil {
			series = &valueSeries{}
			c.series[key] = series
		}
		present[key], series.count = true, count.Exchanges
	}
	others := uint64(0)
	for key, series := range c.series {
		switch {
		case !present[key]:
			if !c.seats.release(series.seat) {
				c.removed += series.count // counted as other, where it stays
			}
			delete(c.series, key)
		case c.seats.acquire(&series.seat):
			add(c.desc, series.count, key.api, key.value)
		default:
			others += series.count
		}
	}
	add(c.desc, others+c.removed, Other, Other)
}
