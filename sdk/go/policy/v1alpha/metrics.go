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
// A node's /metrics has it as gatewright_policy_keys_refused_total{policy="api-key:v1.0.0",reason="expired"}. The same
// metric made again is the same one, so that all attachments of a policy count together; another one of that name is an
// error. What is wrong with an observation (the number of label values, NaN, a counter that goes down) drops it, counts it as
// refused and has it logged once, for a metric must not fail a request.
//
// A nil *Metrics, as in the Metadata of a test, makes metrics that belong to nobody. There such an observation panics.
type Metrics struct {
	log func(message string)

	mu  sync.Mutex
	all []*metric // in the order they were made
}

// The bounds of what a policy may have.
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

// MetricKind is what kind of metric one is.
type MetricKind string

// The kinds.
const (
	KindCounter   MetricKind = "counter"
	KindGauge     MetricKind = "gauge"
	KindHistogram MetricKind = "histogram"
)

// MetricSnapshot is a metric, and what it is.
type MetricSnapshot struct {
	Name    string
	Help    string
	Kind    MetricKind
	Labels  []string       // names
	Bounds  []float64      // of a histogram: upper bounds of its buckets, growing, without +Inf
	Samples []MetricSample // one for each set of label values
	Refused uint64         // observations dropped
}

// MetricSample is what a metric is for one set of label values.
type MetricSample struct {
	Labels  []string // values, as the metric's names
	Value   float64  // counter, gauge; the sum of a histogram
	Buckets []uint64 // of a histogram: observations in each bucket, not added up, the last one above all bounds
}

// NewMetrics is for who runs policies: log is called once for each kind of refused observation of a metric.
func NewMetrics(log func(message string)) *Metrics { return &Metrics{log: log} }

// Snapshot is what all metrics are now.
func (m *Metrics) Snapshot() []MetricSnapshot {
	m.mu.Lock()
	all := slices.Clone(m.all)
	m.mu.Unlock()
	var snapshots []MetricSnapshot
	for _, each := range all {
		snapshots = append(snapshots, each.snapshot())
	}
	return snapshots
}

// Counter makes or finds a metric that counts what has happened. Its name ends with _total. labels are their names.
func (m *Metrics) Counter(name, help string, labels ...string) (*Counter, error) {
	made, err := m.add(KindCounter, name, help, nil, labels)
	return &Counter{made}, err
}

// Gauge makes or finds a metric of how much there is of something. labels are their names.
func (m *Metrics) Gauge(name, help string, labels ...string) (*Gauge, error) {
	made, err := m.add(KindGauge, name, help, nil, labels)
	return &Gauge{made}, err
}

// Histogram makes or finds a metric of how values are spread. buckets are upper bounds that grow, in the unit of what is
// observed, without +Inf; nil is DefaultBuckets. labels are their names.
func (m *Metrics) Histogram(name, help string, buckets []float64, labels ...string) (*Histogram, error) {
	if buckets == nil {
		buckets = DefaultBuckets
	}
	if err := checkBuckets(buckets); err != nil {
		return nil, fmt.Errorf("%s: buckets: %w", name, err)
	}
	made, err := m.add(KindHistogram, name, help, buckets, labels)
	return &Histogram{made}, err
}

func (m *Metrics) add(kind MetricKind, name, help string, bounds []float64, labels []string) (*metric, error) {
	if err := errors.Join(checkMetricName(kind, name), checkHelp(help), checkLabels(labels)); err != nil {
		return nil, fmt.Errorf("metric %q: %w", name, err)
	}
	made := &metric{kind: kind, name: name, help: help, bounds: slices.Clone(bounds), labels: slices.Clone(labels), series: map[string]*series{}}
	if len(labels) == 0 {
		made.find(nil)
	}
	if m == nil {
		return made, nil
	}
	made.log = m.log
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, there := range m.all {
		if there.name != name {
			continue
		}
		if there.kind != kind || !slices.Equal(there.labels, labels) || !slices.Equal(there.bounds, bounds) {
			return nil, fmt.Errorf("metric %q: expected the metric as it was first made, a %s with the labels %s%v; got another %s with the labels %s%v: give it another name",
				name, there.kind, joined(there.labels), there.bounds, kind, joined(labels), bounds)
		}
		return there, nil
	}
	if len(m.all) >= maxMetrics {
		return nil, fmt.Errorf("metric %q: expected at most %d metrics of one policy; use labels", name, maxMetrics)
	}
	m.all = append(m.all, made)
	return made, nil
}

func joined(names []string) string {
	if len(names) == 0 {
		return "none "
	}
	return strings.Join(names, ", ") + " "
}

// ---------------------------------------------------------------- what counts

// Counter only grows.
type Counter struct{ *metric }

// Inc adds 1 at these values of the labels, in the order of their names.
func (c *Counter) Inc(values ...string) { c.observe(1, values) }

// Add adds an amount, 0 or more.
func (c *Counter) Add(amount float64, values ...string) { c.observe(amount, values) }

// Value is what was counted at these values; 0 where nothing was. For tests.
func (c *Counter) Value(values ...string) float64 { return c.at(values).Value }

// Gauge goes up and down.
type Gauge struct{ *metric }

// Set is what it is from now on, at these values of the labels, in the order of their names.
func (g *Gauge) Set(value float64, values ...string) { g.set(value, values) }

// Add adds an amount, which may be below 0.
func (g *Gauge) Add(amount float64, values ...string) { g.observe(amount, values) }

// Value is what it is at these values; 0 where it was never set. For tests.
func (g *Gauge) Value(values ...string) float64 { return g.at(values).Value }

// Histogram counts values by buckets.
type Histogram struct{ *metric }

// Observe counts a value, in base units (seconds, bytes), at these values of the labels, in the order of their names.
func (h *Histogram) Observe(value float64, values ...string) { h.observe(value, values) }

// Count is how many values were observed there. For tests.
func (h *Histogram) Count(values ...string) (count uint64) {
	for _, in := range h.at(values).Buckets {
		count += in
	}
	return count
}

// Sum is what they come to. For tests.
func (h *Histogram) Sum(values ...string) float64 { return h.at(values).Value }

// metric is what all kinds have in common.
type metric struct {
	kind   MetricKind
	name   string
	help   string
	bounds []float64
	labels []string
	log    func(message string) // nil: an observation that is wrong panics

	mu      sync.RWMutex
	series  map[string]*series // by seriesKey
	refused uint64
	logged  [2]bool // that something was wrong with an observation, and that there was no room for its labels
}

type series struct {
	labels []string

	mu      sync.Mutex
	value   float64
	buckets []uint64
}

// seriesKey joins label values: 0xff is no part of UTF-8.
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

// find returns the series of these label values, which it makes where there is none, or nil where it refuses them.
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
	made := &series{labels: slices.Clone(values)}
	if m.kind == KindHistogram {
		made.buckets = make([]uint64, len(m.bounds)+1)
	}
	m.series[key] = made
	return made
}

func (m *metric) checkValues(values []string) error {
	if len(values) != len(m.labels) {
		return fmt.Errorf("expected values for the labels %s, got %d: %q", strings.TrimSpace(joined(m.labels)), len(values), values)
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

// at is a copy of what there is for these label values.
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
