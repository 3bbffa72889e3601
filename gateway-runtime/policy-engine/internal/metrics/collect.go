package metrics

import (
	"iter"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

var (
	results    = [...]string{chain.Completed: "completed", chain.Cancelled: "cancelled", chain.Failed: "failed"}
	directions = [...]string{chain.Request: "request", chain.Response: "response"}

	exchangesTotal  = desc("exchanges_total", "HTTP exchanges on routes with policies that have ended.", "api", "operation", "result")
	bodyBytesTotal  = desc("body_bytes_total", "Bytes of bodies that policies wanted, as received.", "api", "operation", "direction")
	executionTotal  = desc("executions_total", "Turns of policies that have ended.", "api", "operation", "policy", "phase", "outcome")
	shadowTotal     = desc("shadow_executions_total", "Executions of policies in shadow attachments that have ended, or were skipped.", "api", "operation", "policy", "phase", "outcome")
	continuedTotal  = desc("executions_continued_total", "Failed executions that onError: continue ignored.", "api", "operation", "policy", "phase")
	identifiedTotal = desc("identified_exchanges_total", "Exchanges for which a policy has identified the client.", "api", "method")
	skippedTotal    = desc("executions_skipped_total", "Exchanges to which a policy did not apply, by its condition.", "api", "operation", "policy")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// Describe sends the descriptions of the counters.
func (m *meter) Describe(to chan<- *prometheus.Desc) {
	m.duration.Describe(to)
	for _, executions := range []*executionMeter{m.applied, m.shadows} {
		executions.work.Describe(to)
		executions.waiting.Describe(to)
	}
	for _, desc := range []*prometheus.Desc{exchangesTotal, bodyBytesTotal, identifiedTotal, executionTotal, continuedTotal, skippedTotal, shadowTotal} {
		to <- desc
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
	m.counters.Metered(func(executions executionCounts, exchanges exchangeCounts) {
		m.applied.add(executions, add)
		m.shadows.add(executions, add)
		m.addExchangeCounts(exchanges, add)
	})
	m.addIdentities(add)
	for _, metric := range metrics { // outside of the counters' lock
		to <- metric
	}
	m.duration.Collect(to)
	for _, executions := range []*executionMeter{m.applied, m.shadows} {
		executions.work.Collect(to)
		executions.waiting.Collect(to)
	}
}

// addIdentities adds the series of as many APIs and methods as there is room for, and the sum of the others.
func (m *meter) addIdentities(add addFunc) {
	present := map[identityKey]bool{}
	for _, count := range m.counters.Identities() {
		key := identityKey{count.API, count.Method}
		series := m.identities[key]
		if series == nil {
			series = &identitySeries{}
			m.identities[key] = series
		}
		present[key], series.count = true, count.Exchanges
	}
	others := uint64(0)
	for key, series := range m.identities {
		switch {
		case !present[key]:
			if !m.identitySeats.release(series.seat) {
				m.removedIdentities += series.count // counted as other, where it stays
			}
			delete(m.identities, key)
		case m.identitySeats.acquire(&series.seat):
			add(identifiedTotal, series.count, key.api, key.method)
		default:
			others += series.count
		}
	}
	add(identifiedTotal, others+m.removedIdentities, Other, Other)
}

// addFunc adds the value of one series of a counter. A zero value is left out.
type addFunc func(of *prometheus.Desc, value uint64, labels ...string)

type (
	executionCounts = iter.Seq2[exchange.ExecutionMeter, exchange.ExecutionCounts]
	exchangeCounts  = iter.Seq2[exchange.OperationMeter, exchange.OperationCounts]
)

func (m *executionMeter) add(counts executionCounts, add addFunc) {
	sums := map[*executionSeries]exchange.ExecutionCounts{}
	for meter, count := range counts {
		if series, ok := meter.(*executionSeries); ok && series.meter == m {
			sum := sums[series]
			addExecutions(&sum, count)
			sums[series] = sum
		}
	}
	others := map[string]*exchange.ExecutionCounts{} // by phase
	for phase, removed := range m.removed {
		others[phase] = &exchange.ExecutionCounts{}
		addExecutions(others[phase], *removed)
		if series := m.others[phase]; series != nil {
			addExecutions(others[phase], series.carried)
			addExecutions(others[phase], sums[series])
		}
	}
	for _, series := range m.series {
		sum := sums[series]
		addExecutions(&sum, series.carried)
		series.add(sum, others[series.key.phase], add)
	}
	for phase, count := range others {
		labels := []string{Other, Other, Other, phase}
		for n, outcome := range m.outcomes {
			add(m.total, count.Outcomes[n], append(labels, outcome)...)
		}
		add(m.continued, count.Continued, labels...)
		add(skippedTotal, count.Skipped, labels[:3]...)
	}
}

// add adds the counts as a series of their own, or to others if there is no room for one.
func (s *executionSeries) add(count exchange.ExecutionCounts, others *exchange.ExecutionCounts, add addFunc) {
	labels := []string{s.key.labels.API, s.key.labels.Operation, s.key.labels.Policy, s.key.phase}
	for n, outcome := range s.meter.outcomes {
		if value := count.Outcomes[n]; value > 0 && s.meter.seats.acquire(&s.seats[n]) {
			add(s.meter.total, value, append(labels, outcome)...)
		} else {
			others.Outcomes[n] += value
		}
	}
	if count.Continued > 0 && s.meter.continuedSeats.acquire(&s.seat) {
		add(s.meter.continued, count.Continued, labels...)
	} else {
		others.Continued += count.Continued
	}
	if count.Skipped > 0 && s.meter.skippedSeats.acquire(&s.skippedSeat) {
		add(skippedTotal, count.Skipped, labels[:3]...)
	} else {
		others.Skipped += count.Skipped
	}
}

func (m *meter) addExchangeCounts(counts exchangeCounts, add addFunc) {
	sums := map[*exchangeSeries]exchange.OperationCounts{}
	for meter, count := range counts {
		if series, ok := meter.(*exchangeSeries); ok && series.meter == m {
			sum := sums[series]
			addExchanges(&sum, count)
			sums[series] = sum
		}
	}
	others := m.removedExchanges
	if m.otherExchange != nil {
		addExchanges(&others, m.otherExchange.carried)
		addExchanges(&others, sums[m.otherExchange])
	}
	for _, series := range m.exchanges {
		sum := sums[series]
		addExchanges(&sum, series.carried)
		series.add(sum, &others, add)
	}
	for n, value := range others.Results {
		add(exchangesTotal, value, Other, Other, results[n])
	}
	for n, value := range others.Bytes {
		add(bodyBytesTotal, value, Other, Other, directions[n])
	}
}

// add adds the counts as a series of their own, or to others if there is no room for one.
func (s *exchangeSeries) add(count exchange.OperationCounts, others *exchange.OperationCounts, add addFunc) {
	for n, value := range count.Results {
		if value > 0 && s.meter.exchangeSeats.acquire(&s.seats[n]) {
			add(exchangesTotal, value, s.labels.API, s.labels.Operation, results[n])
		} else {
			others.Results[n] += value
		}
	}
	for n, value := range count.Bytes {
		if value > 0 && s.meter.byteSeats.acquire(&s.byteSeats[n]) {
			add(bodyBytesTotal, value, s.labels.API, s.labels.Operation, directions[n])
		} else {
			others.Bytes[n] += value
		}
	}
}
