package metrics

import (
	"iter"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/exchange"
)

// Counters of exchanges by a value that policies say.
var (
	identifiedTotal = desc("identified_exchanges_total", "Exchanges for which a policy has identified the client.", "api", "method")
	plannedTotal    = desc("plan_exchanges_total", "Exchanges of consumers that have a plan.", "api", "plan")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// Describe sends the descriptions of the counters and the histograms.
func (m *meter) Describe(to chan<- *prometheus.Desc) {
	to <- identifiedTotal
	to <- plannedTotal
	for _, set := range m.sets() {
		for _, counter := range set.counters {
			to <- counter.desc
		}
		for _, histogram := range set.histograms() {
			histogram.Describe(to)
		}
	}
}

// Collect sends the counters and the histograms.
func (m *meter) Collect(to chan<- prometheus.Metric) {
	var metrics []prometheus.Metric
	add := func(of *prometheus.Desc, value uint64, labels ...string) {
		if value == 0 {
			return
		}
		metrics = append(metrics, prometheus.MustNewConstMetric(of, prometheus.CounterValue, float64(value), labels...))
	}
	m.counters.Metered(func(totals iter.Seq2[exchange.DurationMeter, exchange.Totals]) {
		sums := sumBySeries(totals)
		for _, set := range m.sets() {
			set.add(sums, add)
		}
	})
	m.identities.add(add)
	m.plans.add(add)
	for _, metric := range metrics { // outside of the counters' lock
		to <- metric
	}
	for _, set := range m.sets() {
		for _, histogram := range set.histograms() {
			histogram.Collect(to)
		}
	}
}

// addFunc adds the value of one series of a counter. A zero value is left out.
type addFunc func(of *prometheus.Desc, value uint64, labels ...string)

// sumBySeries adds up the totals of the present users of each series.
func sumBySeries(totals iter.Seq2[exchange.DurationMeter, exchange.Totals]) map[*labelSeries][]uint64 {
	sums := map[*labelSeries][]uint64{}
	for meter, values := range totals {
		if series, ok := meter.(*labelSeries); ok {
			if sums[series] == nil {
				sums[series] = make([]uint64, len(values))
			}
			values.AddTo(sums[series])
		}
	}
	return sums
}

// add adds all series of the set, whose present users' totals are in sums.
func (s *seriesSet) add(sums map[*labelSeries][]uint64, add addFunc) {
	others := map[string][]uint64{} // by phase
	for phase, removed := range s.removed {
		others[phase] = slices.Clone(removed)
		if other := s.others[phase]; other != nil {
			addTotals(others[phase], other.carried)
			addTotals(others[phase], sums[other])
		}
	}
	for key, series := range s.series {
		totals := slices.Clone(series.carried)
		addTotals(totals, sums[series])
		series.add(totals, others[key.phase], add)
	}
	for phase, totals := range others {
		labels := []string{Other, Other, Other, phase}
		for _, counter := range s.counters {
			for value := range counter.Values {
				add(counter.desc, totals[counter.First+value], counter.LabelValues(labels, value)...)
			}
		}
	}
}

// add adds the totals as series of their own, or to others if there is no room for one.
func (s *labelSeries) add(totals, others []uint64, add addFunc) {
	for _, counter := range s.set.counters {
		for value := range counter.Values {
			count := counter.First + value
			if totals[count] > 0 && counter.seats.acquire(&s.seats[count]) {
				add(counter.desc, totals[count], counter.LabelValues(s.values, value)...)
			} else {
				others[count] += totals[count]
			}
		}
	}
}
