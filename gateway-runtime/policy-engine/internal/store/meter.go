package store

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The operations, as labels of metrics.
const (
	opGet       = "get"
	opSet       = "set"
	opIncrement = "increment"
	opExpire    = "expire"
	opDelete    = "delete"
	opThrottle  = "throttle"
	opReserve   = "reserve"
	opSettle    = "settle"
)

// The outcomes of a call, as labels of metrics.
const (
	outcomeOK          = "ok"
	outcomeUnavailable = "unavailable"
	outcomeInvalid     = "invalid"
	outcomeFull        = "full"
)

// meter counts calls, and exports the state of the store.
type meter struct {
	store *Store
	calls map[string]operation
	count *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

// operation has the counters of an operation, so that a call needs no look-up by name.
type operation struct {
	outcomes map[string]prometheus.Counter
	took     prometheus.Observer
}

var (
	entriesDesc   = prometheus.NewDesc("gatewright_store_entries", "Entries of the store in the engine's memory.", nil, nil)
	bytesDesc     = prometheus.NewDesc("gatewright_store_bytes", "Bytes that these take.", nil, nil)
	limitDesc     = prometheus.NewDesc("gatewright_store_limit_bytes", "Bytes that these may take.", nil, nil)
	evictedDesc   = prometheus.NewDesc("gatewright_store_evictions_total", "Entries that were evicted before their end for lack of room.", nil, nil)
	connectedDesc = prometheus.NewDesc("gatewright_store_connected", "1 while the store answers.", nil, nil)
)

func newMeter(s *Store) *meter {
	m := &meter{
		store: s, calls: map[string]operation{},
		count: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatewright_store_calls_total",
			Help: "Calls of the store by policies."}, []string{"operation", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gatewright_store_call_duration_seconds",
			Help: "How long these took, in the engine.", Buckets: v1alpha.DefaultBuckets}, []string{"operation"}),
	}
	for _, name := range []string{opGet, opSet, opIncrement, opExpire, opDelete, opThrottle, opReserve, opSettle} {
		op := operation{outcomes: map[string]prometheus.Counter{}, took: m.took.WithLabelValues(name)}
		for _, outcome := range []string{outcomeOK, outcomeUnavailable, outcomeInvalid, outcomeFull} {
			op.outcomes[outcome] = m.count.WithLabelValues(name, outcome)
		}
		m.calls[name] = op
	}
	return m
}

// call begins a call. The function that it returns ends the call, with the error at that time.
func (m *meter) call(name string, err *error) func() {
	began := time.Now()
	return func() {
		op := m.calls[name]
		op.took.Observe(time.Since(began).Seconds())
		op.outcomes[outcomeOf(*err)].Inc()
	}
}

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return outcomeOK
	case errors.Is(err, v1alpha.ErrStoreInput):
		return outcomeInvalid
	case errors.Is(err, v1alpha.ErrStoreFull):
		return outcomeFull
	default:
		return outcomeUnavailable
	}
}

// Collector returns a collector of the store's state and of the counts of calls.
func (s *Store) Collector() prometheus.Collector { return s.meter }

// Describe sends the descriptions.
func (m *meter) Describe(to chan<- *prometheus.Desc) {
	m.count.Describe(to)
	m.took.Describe(to)
	for _, desc := range []*prometheus.Desc{entriesDesc, bytesDesc, limitDesc, evictedDesc, connectedDesc} {
		to <- desc
	}
}

// Collect sends the metrics.
func (m *meter) Collect(to chan<- prometheus.Metric) {
	m.count.Collect(to)
	m.took.Collect(to)
	memory := m.store.memory
	gauge := func(desc *prometheus.Desc, value int64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value))
	}
	gauge(entriesDesc, memory.entries.Load())
	gauge(bytesDesc, memory.held.Load())
	gauge(limitDesc, memory.limit.Load())
	to <- prometheus.MustNewConstMetric(evictedDesc, prometheus.CounterValue, float64(memory.evicted.Load()))
	connected := int64(1)
	if m.store.Standing() != nil {
		connected = 0
	}
	gauge(connectedDesc, connected)
}
