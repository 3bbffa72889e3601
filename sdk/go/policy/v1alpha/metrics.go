package v1alpha

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Metrics are the metrics of a policy's own. A Factory finds them in its Metadata:
//
//	refused, err := metadata.Metrics.Counter("keys_refused_total", "Requests without a valid key.", "reason")
//	…
//	refused.Inc("expired")
//
// A node's /metrics has it as gatewright_policy_keys_refused_total{policy="api-key:v1.0.0",reason="expired"}. Making the same
// metric again returns the same one, so that all attachments of a policy count together; a different one of that name is an
// error. An invalid observation (a wrong number of label values, NaN, a negative amount for a counter) is dropped, counted as
// refused and logged once, since a metric must not fail a request.
//
// A nil *Metrics, as in the Metadata of a test, makes metrics that are not exported. There an invalid observation panics.
type Metrics struct {
	log func(message string)

	mu  sync.Mutex
	all []*metric // in the order of their creation
}

// The bounds of a policy's metrics.
const (
	maxMetrics    = 200  // of one policy
	maxLabels     = 10   // of one metric
	maxLabelSets  = 1000 // sets of label values of one metric
	maxLabelValue = 256  // characters
	maxBuckets    = 100
	maxMetricName = 100  // characters; of a label's name too
	maxHelp       = 4096 // bytes
)

// DefaultBuckets are upper bounds in seconds, from 50 µs to 30 s.
var DefaultBuckets = []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 30}

// MetricKind is the kind of a metric.
type MetricKind string

// The kinds.
const (
	KindCounter   MetricKind = "counter"
	KindGauge     MetricKind = "gauge"
	KindHistogram MetricKind = "histogram"
)

// MetricSnapshot is a metric with its present values.
type MetricSnapshot struct {
	Name    string
	Help    string
	Kind    MetricKind
	Labels  []string       // names
	Bounds  []float64      // of a histogram: upper bounds of its buckets, growing, without +Inf
	Samples []MetricSample // one for each set of label values
	Refused uint64         // observations dropped
}

// MetricSample is the value of a metric for one set of label values.
type MetricSample struct {
	Labels  []string // values, in the order of the metric's label names
	Value   float64  // counter, gauge; the sum of a histogram
	Buckets []uint64 // of a histogram: observations in each bucket, not cumulative, the last one above all bounds
}

// NewMetrics is for code that runs policies: log is called once for each kind of refused observation of a metric.
func NewMetrics(log func(message string)) *Metrics { return &Metrics{log: log} }

// Snapshot returns all metrics with their present values.
func (m *Metrics) Snapshot() []MetricSnapshot {
	m.mu.Lock()
	metrics := slices.Clone(m.all)
	m.mu.Unlock()
	var snapshots []MetricSnapshot
	for _, metric := range metrics {
		snapshots = append(snapshots, metric.snapshot())
	}
	return snapshots
}

// Counter returns a metric that counts events. Its name ends with _total. labels are the names of its labels.
func (m *Metrics) Counter(name, help string, labels ...string) (*Counter, error) {
	base, err := m.add(KindCounter, name, help, nil, labels)
	return &Counter{base}, err
}

// Gauge returns a metric of a present amount. labels are the names of its labels.
func (m *Metrics) Gauge(name, help string, labels ...string) (*Gauge, error) {
	base, err := m.add(KindGauge, name, help, nil, labels)
	return &Gauge{base}, err
}

// Histogram returns a metric of the distribution of values. buckets are increasing upper bounds, in the unit of the
// values, without +Inf; nil is DefaultBuckets. labels are the names of its labels.
func (m *Metrics) Histogram(name, help string, buckets []float64, labels ...string) (*Histogram, error) {
	if buckets == nil {
		buckets = DefaultBuckets
	}
	if err := checkBuckets(buckets); err != nil {
		return nil, fmt.Errorf("%s: buckets: %w", name, err)
	}
	base, err := m.add(KindHistogram, name, help, buckets, labels)
	return &Histogram{base}, err
}

func (m *Metrics) add(kind MetricKind, name, help string, bounds []float64, labels []string) (*metric, error) {
	if err := errors.Join(checkMetricName(kind, name), checkHelp(help), checkLabels(labels)); err != nil {
		return nil, fmt.Errorf("metric %q: %w", name, err)
	}
	created := &metric{kind: kind, name: name, help: help, bounds: slices.Clone(bounds), labels: slices.Clone(labels), series: map[string]*series{}}
	if len(labels) == 0 {
		created.find(nil)
	}
	if m == nil {
		return created, nil
	}
	created.log = m.log
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, existing := range m.all {
		if existing.name != name {
			continue
		}
		if existing.kind != kind || !slices.Equal(existing.labels, labels) || !slices.Equal(existing.bounds, bounds) {
			return nil, fmt.Errorf("metric %q: expected the metric as it was first made, a %s with the labels %s%v; got another %s with the labels %s%v: give it another name",
				name, existing.kind, formatNames(existing.labels), existing.bounds, kind, formatNames(labels), bounds)
		}
		return existing, nil
	}
	if len(m.all) >= maxMetrics {
		return nil, fmt.Errorf("metric %q: expected at most %d metrics of one policy; use labels", name, maxMetrics)
	}
	m.all = append(m.all, created)
	return created, nil
}

func formatNames(names []string) string {
	if len(names) == 0 {
		return "none "
	}
	return strings.Join(names, ", ") + " "
}

// ---------------------------------------------------------------- kinds

// Counter only grows.
type Counter struct{ *metric }

// Inc adds 1 at these values of the labels, in the order of their names.
func (c *Counter) Inc(values ...string) { c.observe(1, values) }

// Add adds an amount, 0 or more.
func (c *Counter) Add(amount float64, values ...string) { c.observe(amount, values) }

// Value returns the count at these values; 0 if there is none. For tests.
func (c *Counter) Value(values ...string) float64 { return c.at(values).Value }

// Gauge goes up and down.
type Gauge struct{ *metric }

// Set sets the value at these values of the labels, in the order of their names.
func (g *Gauge) Set(value float64, values ...string) { g.set(value, values) }

// Add adds an amount, which may be below 0.
func (g *Gauge) Add(amount float64, values ...string) { g.observe(amount, values) }

// Value returns the value at these values of the labels; 0 if it was never set. For tests.
func (g *Gauge) Value(values ...string) float64 { return g.at(values).Value }

// Histogram counts values by buckets.
type Histogram struct{ *metric }

// Observe counts a value, in base units (seconds, bytes), at these values of the labels, in the order of their names.
func (h *Histogram) Observe(value float64, values ...string) { h.observe(value, values) }

// Count returns how many values were observed there. For tests.
func (h *Histogram) Count(values ...string) (count uint64) {
	for _, observations := range h.at(values).Buckets {
		count += observations
	}
	return count
}

// Sum returns the sum of the values observed there. For tests.
func (h *Histogram) Sum(values ...string) float64 { return h.at(values).Value }

// metric is the common part of all kinds.
type metric struct {
	kind   MetricKind
	name   string
	help   string
	bounds []float64
	labels []string
	log    func(message string) // nil: an invalid observation panics

	mu      sync.RWMutex
	series  map[string]*series // by seriesKey
	refused uint64
	logged  [2]bool // an invalid observation was logged; a lack of room for labels was logged
}

type series struct {
	labels []string

	mu      sync.Mutex
	value   float64
	buckets []uint64
}

// seriesKey joins label values by 0xff, a byte that UTF-8 does not contain.
func seriesKey(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, "\xff")
}

func (m *metric) observe(amount float64, values []string) {
	if math.IsNaN(amount) || math.IsInf(amount, 0) || (m.kind == KindCounter && amount < 0) {
		expected := "a finite number"
		if m.kind == KindCounter {
			expected = "a finite number from 0, for a counter only grows"
		}
		m.refuse(fmt.Sprintf("expected %s, got %v", expected, amount))
		return
	}
	at := m.find(values)
	if at == nil {
		return
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	at.value += amount
	if m.kind == KindHistogram {
		bucket, _ := slices.BinarySearch(m.bounds, amount)
		at.buckets[bucket]++
	}
}

func (m *metric) set(value float64, values []string) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		m.refuse(fmt.Sprintf("expected a finite number, got %v", value))
		return
	}
	if at := m.find(values); at != nil {
		at.mu.Lock()
		defer at.mu.Unlock()
		at.value = value
	}
}

// find returns the series of these label values, creating it if necessary, or nil if it refuses them.
func (m *metric) find(values []string) *series {
	key := seriesKey(values)
	if len(values) == len(m.labels) {
		m.mu.RLock()
		at := m.series[key]
		m.mu.RUnlock()
		if at != nil {
			return at
		}
	}
	if err := m.checkValues(values); err != nil {
		m.refuse(err.Error())
		return nil
	}
	return m.make(key, values)
}

func (m *metric) make(key string, values []string) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.series[key]; at != nil {
		return at
	}
	if len(m.series) >= maxLabelSets {
		m.refused++
		if !m.logged[1] && m.log != nil {
			m.logged[1] = true
			m.log(fmt.Sprintf("metric %s has %d sets of label values, and takes no others: leave out a label that has a value of its own for each client, path or request",
				m.name, len(m.series)))
		}
		return nil
	}
	s := &series{labels: slices.Clone(values)}
	if m.kind == KindHistogram {
		s.buckets = make([]uint64, len(m.bounds)+1)
	}
	m.series[key] = s
	return s
}

func (m *metric) checkValues(values []string) error {
	if len(values) != len(m.labels) {
		return fmt.Errorf("expected values for the labels %s, got %d: %q", strings.TrimSpace(formatNames(m.labels)), len(values), values)
	}
	for i, value := range values {
		if !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxLabelValue {
			return fmt.Errorf("%s: expected at most %d characters in UTF-8, got %.80q", m.labels[i], maxLabelValue, value)
		}
	}
	return nil
}

func (m *metric) refuse(message string) {
	message = fmt.Sprintf("an observation is dropped: %s: %s", m.name, message)
	if m.log == nil {
		panic(message)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused++
	if !m.logged[0] {
		m.logged[0] = true
		m.log(message)
	}
}

// at returns a copy of the series of these label values.
func (m *metric) at(values []string) MetricSample {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(values) != len(m.labels) || m.series[seriesKey(values)] == nil {
		return MetricSample{}
	}
	return m.series[seriesKey(values)].sample()
}

func (s *series) sample() MetricSample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return MetricSample{Labels: s.labels, Value: s.value, Buckets: slices.Clone(s.buckets)}
}

func (m *metric) snapshot() MetricSnapshot {
	m.mu.RLock()
	defer m.mu.RUnlock()
	snapshot := MetricSnapshot{Name: m.name, Help: m.help, Kind: m.kind, Labels: m.labels, Bounds: m.bounds, Refused: m.refused}
	for _, at := range m.series {
		snapshot.Samples = append(snapshot.Samples, at.sample())
	}
	return snapshot
}
