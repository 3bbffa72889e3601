package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// Other is the value of the labels api, operation and policy for all that does not fit the bound on series.
const Other = "other"

// buckets are the upper bounds, in seconds, of classic histograms.
var buckets = []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 250e-3, 1, 5, 30}

// A native histogram's bucket is a tenth wider than the one before; it has 160 at most, and doubles their width for more.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
	nativeReset   = time.Hour
)

// meter has what the histograms and counters of exchanges and executions tell, one for each Settings. Counts are those of
// exchange.Counters, read at each scrape; it counts nothing itself.
type meter struct {
	settings Settings
	counters *exchange.Counters

	duration, work, waiting *prometheus.HistogramVec

	// One goroutine at a time uses these: exchange.Meter says so.
	executions      map[executionKey]*executionSeries
	otherExecutions map[string]*executionSeries          // by phase
	goneExecutions  map[string]*exchange.ExecutionCounts // by phase: of what went and was told as other
	executionSeats  seats                                // of executions_total
	continuedSeats  seats
	skippedSeats    seats

	exchanges     map[chain.Labels]*exchangeSeries
	otherExchange *exchangeSeries
	goneExchanges exchange.OperationCounts // of what went and was told as other
	exchangeSeats seats                    // of exchanges_total
	byteSeats     seats
}

type executionKey struct {
	labels chain.Labels
	phase  string
}

func newMeter(settings Settings, counters *exchange.Counters) *meter {
	vec := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: nativeFactor,
			NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: nativeReset,
		}, labels)
	}
	seats := func(others int) seats { return seats{limit: max(settings.MaxSeries-others, 0)} }
	m := &meter{
		settings: settings, counters: counters,
		duration: vec("exchange_duration_seconds", "How long exchanges took, as the policy engine sees them.", "api", "operation"),
		work: vec("execution_work_seconds", "How long policies' own functions ran; of a Go policy its whole turn.",
			"api", "operation", "policy", "phase"),
		waiting: vec("execution_waiting_seconds", "What executions of Python policies took beside the policy's own function: queues, transport.",
			"api", "operation", "policy", "phase"),
		executions: map[executionKey]*executionSeries{}, otherExecutions: map[string]*executionSeries{}, goneExecutions: map[string]*exchange.ExecutionCounts{},
		executionSeats: seats(len(exchange.Phases) * len(exchange.Outcomes)), continuedSeats: seats(len(exchange.Phases)), skippedSeats: seats(1),
		exchanges: map[chain.Labels]*exchangeSeries{}, exchangeSeats: seats(len(results)), byteSeats: seats(len(directions)),
	}
	for _, phase := range exchange.Phases {
		m.goneExecutions[phase] = &exchange.ExecutionCounts{}
	}
	return m
}

// ---------------------------------------------------------------- exchange.Meter

// Executions returns the series of these labels, or that of what does not fit.
func (m *meter) Executions(labels chain.Labels, phase string) exchange.ExecutionMeter {
	if m.settings.WithoutOperations {
		labels.Operation = ""
	}
	key := executionKey{labels, phase}
	series := m.executions[key]
	if series == nil && len(m.executions)+len(exchange.Phases) >= m.settings.MaxSeries {
		series, key = m.otherExecutions[phase], executionKey{chain.Labels{Policy: Other, API: Other, Operation: Other}, phase}
		if series == nil {
			series = m.newExecutionSeries(key)
			m.otherExecutions[phase] = series
		}
		return series
	}
	if series == nil {
		series = m.newExecutionSeries(key)
		m.executions[key] = series
	}
	series.users++
	return series
}

// Exchanges returns the series of these labels, or that of what does not fit.
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
