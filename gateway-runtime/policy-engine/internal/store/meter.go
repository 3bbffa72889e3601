package store

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/sdk/policy/v1alpha"
)

// The operations, as metrics name them.
const (
	opGet       = "get"
	opSet       = "set"
	opIncrement = "increment"
	opExpire    = "expire"
	opDelete    = "delete"
	opThrottle  = "throttle"
)

// The outcomes of a call, as metrics name them.
const (
	outcomeOK          = "ok"
	outcomeUnavailable = "unavailable"
	outcomeInvalid     = "invalid"
	outcomeFull        = "full"
)

// meter counts calls, and tells how the store stands when it is asked.
type meter struct {
	store *Store
	calls map[string]operation
	count *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

// operation has an operation's own counters, so that nobody looks them up by name for each call.
type operation struct {
	outcomes map[string]prometheus.Counter
	took     prometheus.Observer
}

var (
	entriesDesc   = prometheus.NewDesc("gatewright_store_entries", "Entries of the store in the engine's memory.", nil, nil)
	bytesDesc     = prometheus.NewDesc("gatewright_store_bytes", "Bytes that these take.", nil, nil)
	limitDesc     = prometheus.NewDesc("gatewright_store_limit_bytes", "Bytes that these may take.", nil, nil)
	evictedDesc   = prometheus.NewDesc("gatewright_store_evictions_total", "Entries that were given up before their end, for there was no room.", nil, nil)
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
	for _, name := range []string{opGet, opSet, opIncrement, opExpire, opDelete, opThrottle} {
		one := operation{outcomes: map[string]prometheus.Counter{}, took: m.took.WithLabelValues(name)}
		for _, outcome := range []string{outcomeOK, outcomeUnavailable, outcomeInvalid, outcomeFull} {
			one.outcomes[outcome] = m.count.WithLabelValues(name, outcome)
		}
		m.calls[name] = one
	}
	return m
}

// call begins a call; what it returns ends it, with the error that there is then.
func (m *meter) call(name string, err *error) func() {
	began := time.Now()
	return func() {
		one := m.calls[name]
		one.took.Observe(time.Since(began).Seconds())
		one.outcomes[outcomeOf(*err)].Inc()
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

// Collector tells how the store stands, and what has become of calls.
func (s *Store) Collector() prometheus.Collector { return s.meter }

// Describe describes.
func (m *meter) Describe(to chan<- *prometheus.Desc) {
	m.count.Describe(to)
	m.took.Describe(to)
	for _, one := range []*prometheus.Desc{entriesDesc, bytesDesc, limitDesc, evictedDesc, connectedDesc} {
		to <- one
	}
}

// Collect tells.
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
