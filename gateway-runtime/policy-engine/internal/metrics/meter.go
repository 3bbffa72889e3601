package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// Other is the value of the labels api, operation and policy beyond the bound on series.
const Other = "other"

// buckets are the upper bounds, in seconds, of classic histograms.
var buckets = []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 250e-3, 1, 5, 30}

// A native histogram's bucket is a tenth wider than the previous one; beyond 160 buckets their width is doubled.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
	nativeReset   = time.Hour
)

// meter has the histograms and counters of exchanges and executions, one for each Settings. Counts are those of
// exchange.Counters, read at each scrape; it counts nothing itself.
type meter struct {
	settings Settings
	counters *exchange.Counters

	duration *prometheus.HistogramVec

	// Used by one goroutine at a time, as exchange.Meter guarantees.
	applied, shadows *executionMeter

	exchanges        map[chain.Labels]*exchangeSeries
	otherExchange    *exchangeSeries
	removedExchanges exchange.OperationCounts // of removed series that were counted as other
	exchangeSeats    seats                    // of exchanges_total
	byteSeats        seats
	identities       map[identityKey]*identitySeries
	identitySeats    seats

	removedIdentities uint64 // of removed series that were counted as other
}

type identityKey struct{ api, method string }

type identitySeries struct {
	count uint64
	seat  seat
}

// executionMeter has the metrics of executions: of those that are applied, or of shadow attachments'.
type executionMeter struct {
	settings         Settings
	total, continued *prometheus.Desc // nil: none
	outcomes         []string
	work, waiting    *prometheus.HistogramVec

	series         map[executionKey]*executionSeries
	others         map[string]*executionSeries          // by phase
	removed        map[string]*exchange.ExecutionCounts // by phase: of removed series that were counted as other
	seats          seats                                // of total
	continuedSeats seats
	skippedSeats   seats
}

type executionKey struct {
	labels chain.Labels
	phase  string
}

func newMeter(settings Settings, counters *exchange.Counters) *meter {
	m := &meter{
		settings: settings, counters: counters,
		duration: histograms("exchange_duration_seconds", "How long exchanges took, as the policy engine sees them.", "api", "operation"),
		applied: newExecutionMeter(settings, executionTotal, continuedTotal, exchange.Outcomes[:],
			histograms("execution_work_seconds", "How long policies' own functions ran; of a Go policy its whole turn.",
				"api", "operation", "policy", "phase"),
			histograms("execution_waiting_seconds", "What executions of Python policies took beside the policy's own function: queues, transport.",
				"api", "operation", "policy", "phase")),
		shadows: newExecutionMeter(settings, shadowTotal, nil, chain.ShadowOutcomes[:],
			histograms("shadow_execution_work_seconds", "How long the own functions of policies in shadow attachments ran.",
				"api", "operation", "policy", "phase"),
			histograms("shadow_execution_waiting_seconds", "What executions of Python policies in shadow attachments took beside the policy's own function.",
				"api", "operation", "policy", "phase")),
		exchanges: map[chain.Labels]*exchangeSeries{}, identities: map[identityKey]*identitySeries{}, identitySeats: seatsFor(settings, 1), exchangeSeats: seatsFor(settings, len(results)), byteSeats: seatsFor(settings, len(directions)),
	}
	return m
}

func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: nativeFactor,
		NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: nativeReset,
	}, labels)
}

// seatsFor returns the seats that remain beside the series for all others.
func seatsFor(settings Settings, others int) seats {
	return seats{limit: max(settings.MaxSeries-others, 0)}
}

func newExecutionMeter(settings Settings, total, continued *prometheus.Desc, outcomes []string, work, waiting *prometheus.HistogramVec) *executionMeter {
	m := &executionMeter{
		settings: settings, total: total, continued: continued, outcomes: outcomes, work: work, waiting: waiting,
		series: map[executionKey]*executionSeries{}, others: map[string]*executionSeries{}, removed: map[string]*exchange.ExecutionCounts{},
		seats: seatsFor(settings, len(exchange.Phases)*len(outcomes)), continuedSeats: seatsFor(settings, len(exchange.Phases)), skippedSeats: seatsFor(settings, 1),
	}
	for _, phase := range exchange.Phases {
		m.removed[phase] = &exchange.ExecutionCounts{}
	}
	return m
}

// ---------------------------------------------------------------- exchange.Meter

// Executions returns the series of these labels, or the one for all others.
func (m *meter) Executions(labels chain.Labels, phase string) exchange.ExecutionMeter {
	if labels.Shadow {
		return m.shadows.find(labels, phase)
	}
	return m.applied.find(labels, phase)
}

func (m *executionMeter) find(labels chain.Labels, phase string) exchange.ExecutionMeter {
	if m.settings.WithoutOperations {
		labels.Operation = ""
	}
	key := executionKey{labels, phase}
	series := m.series[key]
	if series == nil && len(m.series)+len(exchange.Phases) >= m.settings.MaxSeries {
		series, key = m.others[phase], executionKey{chain.Labels{Policy: Other, API: Other, Operation: Other}, phase}
		if series == nil {
			series = m.newExecutionSeries(key)
			m.others[phase] = series
		}
		return series
	}
	if series == nil {
		series = m.newExecutionSeries(key)
		m.series[key] = series
	}
	series.users++
	return series
}

// Exchanges returns the series of these labels, or the one for all others.
func (m *meter) Exchanges(labels chain.Labels) exchange.OperationMeter {
	if m.settings.WithoutOperations {
		labels.Operation = ""
	}
	series := m.exchanges[labels]
	if series == nil && len(m.exchanges)+1 >= m.settings.MaxSeries {
		if m.otherExchange == nil {
			m.otherExchange = m.newExchangeSeries(chain.Labels{API: Other, Operation: Other})
		}
		return m.otherExchange
	}
	if series == nil {
		series = m.newExchangeSeries(labels)
		m.exchanges[labels] = series
	}
	series.users++
	return series
}
