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
	counters *exchange.Counters

	exchanges, applied, shadows *seriesSet // used by one goroutine at a time, as exchange.Meter guarantees

	identities, plans *valueCounts
}

// The labels of the histograms.
var (
	exchangeLabels  = []string{"api", "operation"}
	executionLabels = []string{"api", "operation", "policy", "phase"}
)

func newMeter(settings Settings, counters *exchange.Counters) *meter {
	return &meter{
		counters: counters,
		exchanges: newSeriesSet(settings, &chain.ExchangeCounters, false, durationHistograms{
			labels: exchangeLabels,
			work:   newHistograms("exchange_duration_seconds", "How long exchanges took, as the policy engine sees them.", exchangeLabels),
		}),
		applied: newSeriesSet(settings, &chain.ExecutionCounters, false, durationHistograms{
			labels: executionLabels,
			work:   newHistograms("execution_work_seconds", "How long policies' own functions ran; of a Go policy its whole turn.", executionLabels),
			waiting: newHistograms("execution_waiting_seconds",
				"What executions of Python policies took beside the policy's own function: queues, transport.", executionLabels),
		}),
		shadows: newSeriesSet(settings, &chain.ExecutionCounters, true, durationHistograms{
			labels: executionLabels,
			work:   newHistograms("shadow_execution_work_seconds", "How long the own functions of policies in shadow attachments ran.", executionLabels),
			waiting: newHistograms("shadow_execution_waiting_seconds",
				"What executions of Python policies in shadow attachments took beside the policy's own function.", executionLabels),
		}),
		identities: newValueCounts(settings, identifiedTotal, counters.Identities), plans: newValueCounts(settings, plannedTotal, counters.Plans),
	}
}

func (m *meter) sets() []*seriesSet { return []*seriesSet{m.exchanges, m.applied, m.shadows} }

func newHistograms(name, help string, labels []string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: nativeFactor,
		NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: nativeReset,
	}, labels)
}

// seatsFor returns the seats that remain beside the series for all others.
func seatsFor(settings Settings, others int) seats {
	return seats{limit: max(settings.MaxSeries-others, 0)}
}

// ---------------------------------------------------------------- exchange.Meter

// Executions returns the series of these labels, or the one for all others.
func (m *meter) Executions(labels chain.Labels, phase string) exchange.DurationMeter {
	if labels.Shadow {
		return m.shadows.find(labels, phase)
	}
	return m.applied.find(labels, phase)
}

// Exchanges returns the series of these labels, or the one for all others.
func (m *meter) Exchanges(labels chain.Labels) exchange.DurationMeter {
	return m.exchanges.find(labels, "")
}
